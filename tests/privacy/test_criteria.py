"""Linkability and singling out: anonymeter's numbers, loops, and people who weren't trained on.

anonymeter 1.1.0 wants numpy < 1.27 and can't share an environment with haplobench's pins. Its
numbers for the table of `anonymeter_table.py` are therefore written down here; the slow test
installs it by itself and asks it again.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import anonymeter_table
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from haplobench import Measurement, MetricResult, Panel, Reference
from haplobench.data.bits import pack_bits
from haplobench.registry import resolve
from haplobench.testing import example_context, example_panel
from haplobench_privacy.criteria import _matched, _unique
from haplobench_privacy.specs.distances import LINKABILITY, SINGLING_OUT

# What anonymeter_table.py prints.
ANONYMETER = {
    "linked_train": 40,
    "singled_out_train": 98,
    "linked_holdout": 0,
    "singled_out_holdout": 88,
    "risk": 0.19396092503207857,
    "low": 0.13617254957766545,
    "high": 0.2517493004864917,
}


def values(result: MetricResult) -> dict[str, Measurement]:
    found = {}
    for name, one in result.measurements.items():
        assert isinstance(one, Measurement)
        found[name] = one
    return found


def measure(spec: object, reference: Reference, cohort: Panel, folder: Path) -> MetricResult:
    ctx = example_context(folder, reference.train)
    return resolve(spec.target)(reference, cohort, spec.params(), ctx)  # type: ignore[attr-defined]


def haploid(rows: NDArray[np.int8], name: str) -> Panel:
    return Panel(
        haplotypes=rows,
        positions=np.arange(1, rows.shape[1] + 1),
        contig="1",
        samples=np.array([f"{name}{i}" for i in range(rows.shape[0])]),
        ploidy=1,
    )


def test_linkability_is_anonymeters(tmp_path: Path) -> None:
    train, holdout, cohort = (
        haploid(rows, name) for rows, name in zip(anonymeter_table.table(), "thc", strict=True)
    )
    found = values(measure(LINKABILITY, Reference(train, holdout), cohort, tmp_path))
    assert found["success"].value == ANONYMETER["linked_train"] / train.n_samples
    assert found["control"].value == ANONYMETER["linked_holdout"] / holdout.n_samples
    assert found["risk"].value == pytest.approx(ANONYMETER["risk"], abs=1e-12)
    assert found["risk"].low == pytest.approx(ANONYMETER["low"], abs=1e-12)
    assert found["risk"].high == pytest.approx(ANONYMETER["high"], abs=1e-12)
    # One guess in the cohort for each half.
    assert found["baseline"].value == pytest.approx(1 / cohort.n_samples)
    assert found["excess_linked"].p is not None
    assert found["excess_linked"].p < 1e-5


def test_predicates_single_out_whom_anonymeter_singles_out() -> None:
    predicates = anonymeter_table.predicates()
    train, holdout, _ = anonymeter_table.table()
    for people, name in ((train, "train"), (holdout, "holdout")):
        sites = pack_bits(np.ascontiguousarray(people.T))
        carried = np.ones(predicates.shape, bool)
        matched = _matched(sites, predicates, carried, len(people), len(people), 1)
        assert (matched[:, 0] == 1).sum() == ANONYMETER[f"singled_out_{name}"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_anonymeter_still_says_so(tmp_path: Path) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    installed = subprocess.run(
        [str(python), "-m", "pip", "install", "--quiet", "anonymeter==1.1.0"],
        env={name: value for name, value in os.environ.items() if name != "PIP_CONSTRAINT"},
        capture_output=True,
        text=True,
    )
    if installed.returncode:
        pytest.skip(f"anonymeter can't be installed: {installed.stderr[-300:]}")
    script = Path(anonymeter_table.__file__)
    said = subprocess.run(
        [str(python), "-W", "ignore", str(script)], check=True, capture_output=True, text=True
    )
    assert json.loads(said.stdout.splitlines()[-1]) == pytest.approx(ANONYMETER)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_predicates_are_unique_in_the_cohort_and_fit_whom_a_loop_finds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cohort = rng.random((70, 40)) < 0.3
    found = _unique(
        pack_bits(np.ascontiguousarray(cohort.T.astype(np.int8))), rng.random((70, 2, 6)), 25
    )
    real = rng.random((100, 40)) < 0.3
    packed = pack_bits(np.ascontiguousarray(real.T.astype(np.int8)))
    carried = rng.random(found.shape) < 0.7
    matched = _matched(packed, found, carried, 50, 30, 2)
    made = 0
    for i, predicate in enumerate(found):
        sites = predicate[predicate >= 0]
        if not sites.size:
            continue
        made += 1
        assert np.flatnonzero(cohort[:, sites].all(axis=1)).tolist() == [i // 2]
        assert sites[-1] - sites[0] < 25
        assert (np.diff(sites) > 0).all()
        fits = (real[:, sites] == carried[i, : sites.size]).all(axis=1)
        people = np.unique(np.flatnonzero(fits) // 2)
        assert matched[i, 0] == (people < 30).sum()
        assert matched[i, 1] == (people >= 30).sum()
        if people.size:
            assert matched[i, 2] == people[-1]
    assert made > 10


def test_copies_are_linked_and_singled_out(
    people: tuple[Panel, Panel, Panel], tmp_path: Path
) -> None:
    train, holdout, _ = people
    copy = train.with_haplotypes(train.haplotypes[::-1].copy())
    reference = Reference(train, holdout)
    linked = values(measure(LINKABILITY, reference, copy, tmp_path))
    assert linked["success"].value == 1
    assert (linked["excess_linked"].value or 0) > 0.5
    singled = values(measure(SINGLING_OUT, reference, copy, tmp_path))
    assert (singled["auc"].value or 0) > 0.75
    assert (singled["auc"].p or 1) < 1e-6
    success, control = singled["success"].value, singled["control"].value
    assert success is not None
    assert control is not None
    # Each is unique in the cohort, so exactly one training haplotype has it.
    assert success == pytest.approx(1)
    assert control < 0.6


def test_p_values_of_unseen_people_are_no_alarm(tmp_path: Path) -> None:
    panel = example_panel(130, n_sites=256, seed=9)
    rng = np.random.default_rng(10)
    p: dict[str, list[float]] = {"excess_linked": [], "auc": []}
    for _ in range(100):
        parts = np.split(rng.permutation(130), [50, 90])
        train, holdout, unseen = (panel.select_samples(part) for part in parts)
        for spec, name in ((LINKABILITY, "excess_linked"), (SINGLING_OUT, "auc")):
            one = values(measure(spec, Reference(train, holdout), unseen, tmp_path))[name].p
            assert one is not None
            p[name].append(one)
    for name, found in p.items():
        assert np.mean(np.array(found) <= 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 100), name


def test_what_cannot_be_halved_or_told_apart_says_so(tmp_path: Path) -> None:
    panel = example_panel(40, n_sites=60)
    reference = Reference(
        panel.select_samples(np.arange(30)), panel.select_samples(np.arange(30, 40))
    )
    found = values(measure(LINKABILITY, reference, reference.train, tmp_path))
    assert "fewer than 65 sites" in found["excess_linked"].note
    same = panel.with_haplotypes(np.zeros_like(panel.haplotypes))
    found = values(measure(SINGLING_OUT, reference, same, tmp_path))
    assert "no variation" in found["auc"].note
