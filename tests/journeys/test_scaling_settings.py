"""Suites that ask for weak scaling: the work of a cell grows with its ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from haplobench import SuiteError
from haplobench.data.prepared import Prepared
from haplobench.registry import load_registry
from haplobench.runner.plan import plan_cells
from haplobench.runner.worker.prepare import part_prepared
from haplobench.suite.load import load_suite
from haplobench.testing import example_panel

HEAD = """
name: scaling
datasets: [embedded]
metrics: [time]
generators:
"""


def suite(folder: Path, *generators: str) -> Any:
    path = folder / "scaling.yaml"
    path.write_text(HEAD + "".join(f"  - {line}\n" for line in generators))
    return load_suite(path, [], load_registry())


def test_work_grows_with_the_ranks(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="more than one rank needs torch")
    found = suite(
        tmp_path,
        "{name: vae, label: strong, world_size: [1, 2, 4]}",
        "{name: vae, label: weak, world_size: [1, 2, 4], "
        "scaling: {mode: weak, per_rank: {batch_size: 16}}}",
    )
    cells = {cell.name: cell for cell in plan_cells(found)}
    strong, weak = (
        [cells[f"embedded/{label}/seed1{tail}"].generator for tail in ("", "/ranks2", "/ranks4")]
        for label in ("strong", "weak")
    )
    assert [entry.train_share for entry in strong] == [1, 1, 1]
    assert [entry.train_share for entry in weak] == [0.25, 0.5, 1]
    assert [entry.params["batch_size"] for entry in weak] == [16, 32, 64]
    assert len({entry.params["batch_size"] for entry in strong}) == 1
    assert len({cell.cell_id for cell in cells.values()}) == len(cells)
    (again,) = [
        entry
        for entry in load_suite(_written(tmp_path, found), [], load_registry()).generators
        if entry.label == "weak"
    ]
    assert again.scaling.per_rank == {"batch_size": 16}


def _written(folder: Path, found: Any) -> Path:
    path = folder / "resolved.yaml"
    path.write_text(found.to_yaml())
    return path


def test_a_parameter_per_rank_is_checked_for_every_world_size(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="more than one rank needs torch")
    with pytest.raises(SuiteError) as caught:
        suite(tmp_path, "{name: vae, world_size: [1, 2], scaling: {per_rank: {layers: 10}}}")
    assert "per_rank" in str(caught.value.problems)


def test_a_part_of_the_people_has_all_populations_in_proportion() -> None:
    train, holdout = example_panel(n_samples=120), example_panel(n_samples=20, seed=1)
    whole = Prepared(
        train, holdout, np.arange(0, 120, 10), np.ones(train.n_sites, bool), None, None, {}
    )
    part = part_prepared(whole, 0.25)
    assert part.train.n_samples == 30
    assert set(part.train.samples) <= set(train.samples)
    for name in np.unique(train.population):
        before, after = ((panel.population == name).sum() for panel in (train, part.train))
        assert abs(after - before / 4) <= 1
    assert part.validation.size == 3
    assert part.holdout is holdout
