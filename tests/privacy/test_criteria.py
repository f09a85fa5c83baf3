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
from scipy.stats import permutation_test
from sklearn.metrics import balanced_accuracy_score

from haplobench import Measurement, MetricResult, Panel, Reference
from haplobench.data.bits import pack_bits
from haplobench.registry import resolve
from haplobench.testing import example_context, example_panel
from haplobench_privacy.criteria import (
    STRATA,
    Hidden,
    _Accuracy,
    _difference,
    _judge,
    _matched,
    _unique,
    attribute_inference,
)
from haplobench_privacy.specs_attacks import AttributeParams
from haplobench_privacy.specs_distances import LINKABILITY, SINGLING_OUT

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


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.sampled_from([128, 192, 512]))
def test_guesses_are_votes_of_the_nearest_at_the_shown_sites_around(seed: int, window: int) -> None:
    rng = np.random.default_rng(seed)
    n_sites = int(rng.integers(6, 400))
    founders = (rng.random((5, n_sites)) < 0.4).astype(np.int8)
    targets, known = (
        (founders[rng.integers(0, 5, n)] ^ (rng.random((n, n_sites)) < 0.02)).astype(np.int8)
        for n in (7, 13)
    )
    maf = rng.uniform(0.01, 0.5, n_sites)
    drawn = Hidden.draw(maf, 20, window, rng)
    assert np.array_equal(np.sort(np.concatenate([drawn.hidden, drawn.shown])), np.arange(n_sites))
    assert drawn.hidden.size == min(20, n_sites // 5)
    found = drawn.guesses(targets, known)
    for j, (site, (low, high)) in enumerate(zip(drawn.hidden, drawn.words, strict=True)):
        around = drawn.shown[64 * low : 64 * high]
        # The window holds the hidden site's neighbours.
        assert around[0] < site or low == 0
        assert around[-1] > site or 64 * high >= drawn.shown.size
        distance = (targets[:, None, around] != known[None, :, around]).sum(axis=2)
        nearest = distance == distance.min(axis=1, keepdims=True)
        expected = (nearest * known[None, :, site]).sum(axis=1) / nearest.sum(axis=1)
        np.testing.assert_allclose(found[:, j], expected)


def test_hidden_sites_are_spread_over_frequencies() -> None:
    maf = np.concatenate([np.full(800, 0.02), np.full(100, 0.1), np.full(100, 0.4)])
    drawn = Hidden.draw(maf, 90, 256, np.random.default_rng(0))
    for _, low, high in STRATA:
        assert ((maf[drawn.hidden] >= low) & (maf[drawn.hidden] < high)).sum() == 30


def test_accuracy_is_the_balanced_accuracy() -> None:
    rng = np.random.default_rng(1)
    truth = (rng.random((60, 1)) < 0.2).astype(np.int8)
    guesses = np.where(rng.random((60, 1)) < 0.8, truth, 1 - truth).astype(float)
    right = _judge(guesses, truth, truth.mean(axis=0), 2)
    value, _, n = right.mean(np.array([True]))
    assert value == pytest.approx(balanced_accuracy_score(truth[:, 0], guesses[:, 0]))
    assert n == 30
    # An even vote is half right; the commoner allele everywhere is half right too.
    for constant in (0.0, 0.5, 1.0):
        same = _judge(np.full_like(guesses, constant), truth, truth.mean(axis=0), 2)
        assert same.mean(np.array([True]))[0] == pytest.approx(0.5)


def test_the_error_is_the_spread_over_people() -> None:
    rng = np.random.default_rng(2)
    frequency = np.array([0.3, 0.1, 0.5])
    values, errors = [], []
    for _ in range(300):
        truth = (rng.random((80, 3)) < frequency).astype(np.int8)
        guesses = np.where(rng.random((80, 3)) < 0.7, truth, 1 - truth).astype(float)
        value, error, _ = _judge(guesses, truth, frequency, 2).mean(np.ones(3, bool))
        values.append(value)
        errors.append(error)
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.15)


@pytest.mark.parametrize("n", [60, 240])
def test_chance_is_that_of_people_shared_out_at_random(n: int) -> None:
    rng = np.random.default_rng(3)
    # Few people carry rare alleles, whose guesses weigh the most.
    weight = 1 + 20 * (rng.random((300, 1)) < 0.06)
    right = weight * (rng.random((300, 1)) < 0.5)
    here = np.ones(1, bool)

    def value(order: NDArray[np.int64]) -> Measurement:
        sides = (_Accuracy(right[rows], weight[rows]) for rows in np.split(order, [n]))
        return _difference(*sides, here)

    drawn = [value(rng.permutation(300)) for _ in range(4000)]
    values = np.array([one.value for one in drawn])
    errors = np.array([one.standard_error for one in drawn])
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(values.std(), rel=0.1)
    for level in (0.05, 0.01, 0.002):
        false = np.mean([one.p <= level for one in drawn])
        assert false <= 1.4 * level + 3 * np.sqrt(level / 4000), level


def test_a_p_value_is_that_of_permutations() -> None:
    rng = np.random.default_rng(4)
    sides = rng.gamma(0.5, size=(90, 1)) * [1.0], rng.gamma(0.5, size=(30, 1)) * [1.0]
    sides[1][:3] -= 0.9  # held-out people fare worse
    ones = [np.ones_like(side) for side in sides]
    found = _difference(
        *(_Accuracy(a, b) for a, b in zip(sides, ones, strict=True)), np.ones(1, bool)
    )
    exact = permutation_test(
        [side[:, 0] for side in sides],
        lambda a, b: a.mean() - b.mean(),
        alternative="greater",
        n_resamples=20_000,
        rng=rng,
    )
    assert found.value == pytest.approx(exact.statistic)
    assert found.p == pytest.approx(exact.pvalue, abs=0.02)


def test_more_people_than_wanted_are_subsampled(tmp_path: Path) -> None:
    panel = example_panel(120, n_sites=200, seed=4)
    train, holdout = (panel.select_samples(part) for part in np.split(np.arange(120), [80]))
    result = attribute_inference(
        Reference(train, holdout),
        train,
        AttributeParams(max_people=30),
        example_context(tmp_path, train),
    )
    found = result.measurements
    leak = found["leak"][0]  # type: ignore[index]
    assert leak.n == 60
    assert {one.labels.get("maf", "") for one in found["leak"]} >= {"", "over 20 %"}  # type: ignore[union-attr]
    assert found["hidden_sites"].value <= 40  # type: ignore[union-attr, operator]
