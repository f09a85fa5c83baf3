"""A student: smaller, like its teacher, kept in its place, and no dearer in privacy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from secure_helpers import parameters

from haplobench import SampleRequest
from haplobench.testing import example_context, example_panel
from haplobench_federated.generator import Federated, FittedFederated

TEACHER = {"window": 10, "codes": 12}


STUDENT = {"window": 10, "codes": 4, "people": 300, "steps": 100}


def fit(folder: Path, **changes: Any) -> FittedFederated:
    folder.mkdir(parents=True, exist_ok=True)
    panel = example_panel(n_samples=96, n_sites=60, seed=3)
    params = parameters(
        **({"rounds": 8, "local_steps": 5} | changes),
        learning_rate=0.1,
        model=TEACHER,
    )
    return Federated().fit(panel, params, example_context(folder, panel, 0))


def alleles(fitted: FittedFederated, folder: Path, n: int = 1500) -> Any:
    panel = example_panel(n_samples=96, n_sites=60, seed=3)
    ctx = example_context(folder, panel, 5)
    return np.concatenate(list(fitted.sample(SampleRequest(n), ctx))).astype(float)


def size(fitted: FittedFederated) -> int:
    return sum(value.numel() for value in fitted.model.state_dict().values())


def test_a_student_is_smaller_and_draws_what_its_teacher_draws(tmp_path: Path) -> None:
    teacher = fit(tmp_path / "teacher")
    student = fit(tmp_path / "student", edge={"student": STUDENT})
    assert size(student) < size(teacher) / 2
    assert student.params.codes == 4
    assert student.params.temperature == 1.0
    of_teacher, of_student = (alleles(one, tmp_path) for one in (teacher, student))
    # Of a frequency near 1/2 among 1,500 the deviation is 0.013; the student is fitted to 600.
    assert np.abs(of_teacher.mean(axis=0) - of_student.mean(axis=0)).mean() < 0.04
    kept = (of_teacher.mean(axis=0) > 0.1) & (of_teacher.mean(axis=0) < 0.9)
    near = np.eye(60, k=1, dtype=bool)[np.ix_(kept, kept)]
    ld = [np.corrcoef(one[:, kept].T)[near] for one in (of_teacher, of_student)]
    assert np.corrcoef(*ld)[0, 1] > 0.7


def test_a_student_is_saved_and_loaded_and_keeps_the_statement(tmp_path: Path) -> None:
    private = {"privacy": "local", "noise_multiplier": 1.0, "epsilon": None, "accountant": "rdp"}
    short = private | {"rounds": 1, "local_steps": 1}
    teacher = fit(tmp_path / "teacher", **short)
    student = fit(tmp_path / "student", edge={"student": STUDENT | {"steps": 10}}, **short)
    assert student.privacy_statement() == teacher.privacy_statement()
    (tmp_path / "model").mkdir()
    student.save(tmp_path / "model")
    panel = example_panel(n_samples=96, n_sites=60, seed=3)
    again = Federated().load(tmp_path / "model", example_context(tmp_path, panel, 0))
    assert np.array_equal(alleles(again, tmp_path, 64), alleles(student, tmp_path, 64))
