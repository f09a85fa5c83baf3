"""Leak list: p-values and adjustment against scipy, and what is found among planted copies.

The tail's p-values against exponentials, distances against brute force.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from haplobench import Measurement, MetricResult, Panel, Reference
from haplobench.testing import example_context, example_panel
from haplobench_privacy.cohorts import cohorts
from haplobench_privacy.evidence import copy_distances, paired
from haplobench_privacy.leak_list import EVIDENCE, find_copies, find_leaks, leak_list, tail_p
from haplobench_privacy.specs_attacks import LeakListParams


def test_p_values_of_people_like_held_out_ones_are_uniform() -> None:
    rng = np.random.default_rng(4)
    found = []
    for _ in range(60):
        evidence = rng.standard_t(3, (3, 59)) * np.array([[1.0], [20.0], [0.1]])
        evidence[1] = np.round(evidence[1])
        found.append(find_leaks(evidence[:, :20], evidence[:, 20:]).p)
    p = np.concatenate(found)
    # Never too small: at each level no more than its share, within what chance allows.
    for level in (0.05, 0.1, 0.25, 0.5):
        slack = 4 * np.sqrt(level * (1 - level) / 60)
        assert (p <= level).mean() <= level + slack
    assert p.mean() == pytest.approx(0.5, abs=0.05)


def test_blocks_of_people_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    train, holdout = rng.normal(size=(4, 30)), rng.normal(size=(4, 11))
    whole = find_leaks(train, holdout)
    monkeypatch.setattr("haplobench_privacy.leak_list._BLOCK_VALUES", 40)
    cut = find_leaks(train, holdout)
    for name in ("strength", "strongest", "p", "unseen"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(cut, name))


def test_copied_people_are_named(tmp_path: Path) -> None:
    panel = example_panel(420, n_sites=400, seed=31)
    train, holdout, unseen = (
        panel.select_samples(part) for part in np.split(np.arange(420), [150, 300])
    )
    copied = np.arange(0, 150, 5)
    mixed = unseen.haplotypes.copy()
    for i in copied:
        mixed[2 * (i % 120) : 2 * (i % 120) + 2] = train.haplotypes[2 * i : 2 * i + 2]
    result = leak_list(
        Reference(train, holdout),
        train.with_haplotypes(mixed),
        LeakListParams(),
        example_context(tmp_path, train),
    )
    table = result.series["people"]
    names = {str(name) for name in train.samples[copied]}
    flagged = {str(name) for name in table["sample"][table["flagged"]]}
    kept = {
        str(train.samples[i])
        for i in copied
        if (mixed[2 * (i % 120)] == train.haplotypes[2 * i]).all()
    }
    assert len(kept) >= 20
    assert kept <= flagged
    assert len(flagged - names) <= 0.2 * len(flagged)
    assert _value(result, "flagged") == len(flagged)
    assert _value(result, "people_copied") >= len(kept)
    assert set(table["strongest"]) <= set(EVIDENCE)
    assert (np.diff(table["p"]) >= 0).all()
    np.testing.assert_array_equal(table["rank"], np.arange(1, 151))
    assert all(len(column) == 150 for column in table.values())
    # Benjamini and Hochberg's own definition: the least rate at which the step-up rule rejects.
    steps = 150 * table["p"] / np.arange(1, 151)
    expected = [min(1.0, steps[table["p"] >= p].min()) for p in table["p"]]
    np.testing.assert_allclose(table["q"], expected)


def _value(result: MetricResult, name: str) -> float:
    found = result.measurements[name]
    assert isinstance(found, Measurement)
    assert found.value is not None
    return found.value


def _shared_out(panel: Panel) -> tuple[Panel, Panel, Panel]:
    """Three hundred people as training people, held-out people and strangers."""
    train, holdout, unseen = np.split(np.arange(300), [160, 220])
    return panel.select_samples(train), panel.select_samples(holdout), panel.select_samples(unseen)


def _listed(train: Panel, holdout: Panel, cohort: Panel, tmp_path: Path) -> MetricResult:
    context = example_context(tmp_path, train)
    return leak_list(Reference(train, holdout), cohort, LeakListParams(), context)


@pytest.mark.parametrize("alone", ["both", "one of each", "flipped"])
def test_a_single_copied_person_is_named(tmp_path: Path, alone: str) -> None:
    rng = np.random.default_rng(8)
    # Nobody shares a stretch with anybody: sites drawn one by one.
    panel = example_panel(300, n_sites=2000, seed=8)
    panel = panel.with_haplotypes((rng.random((600, 2000)) < 0.3).astype(np.int8))
    train, holdout, unseen = _shared_out(panel)
    cohort = unseen.haplotypes.copy()
    copy = train.haplotypes[14:16].copy()
    if alone == "flipped":
        copy ^= (rng.random(copy.shape) < 0.01).astype(np.int8)
    cohort[[4, 5] if alone != "one of each" else [4, 9]] = copy
    result = _listed(train, holdout, unseen.with_haplotypes(cohort), tmp_path)
    table = result.series["people"]
    assert table["sample"][table["flagged"]].tolist() == [train.samples[7]]
    assert table["sample"][0] == train.samples[7]
    told = str(table["evidence"][0])
    # The frequencies of 0.3 leave nobody an allele of his own.
    assert "private" not in told
    assert not table["private_alleles"].any()
    assert ("a person copied" in told) == (alone == "both")
    assert ("a haplotype copied" in told) == (alone != "flipped")
    assert "nearly copied" in told
    assert _value(result, "copies_named") == 1


def test_private_alleles_are_named_where_somebody_is(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    panel = example_panel(300, n_sites=2000, seed=8)
    rows = (rng.random((600, 2000)) < 0.3).astype(np.int8)
    rows[:, ::100] = 0
    rows[14, ::100] = 1  # the person's alone, 20 alleles
    panel = panel.with_haplotypes(rows)
    train, holdout, unseen = _shared_out(panel)
    cohort = unseen.haplotypes.copy()
    cohort[[4, 5]] = train.haplotypes[14:16]
    cohort[4, :500:100] = 0  # five of them are lost
    result = _listed(train, holdout, unseen.with_haplotypes(cohort), tmp_path)
    table = result.series["people"]
    assert table["sample"][table["flagged"]].tolist() == [train.samples[7]]
    assert str(table["evidence"][0]).endswith("; 15 of 20 private alleles held")
    assert (table["private_alleles"][0], table["private_alleles_held"][0]) == (20, 15)
    assert not table["private_alleles"][1:].any()


def test_without_power_nobody_flagged_is_no_green_zero(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    # Ten sites: everybody meets their own haplotypes in others.
    panel = example_panel(300, n_sites=10, seed=3)
    panel = panel.with_haplotypes((rng.random((600, 10)) < 0.3).astype(np.int8))
    train, holdout, unseen = _shared_out(panel)
    context = example_context(tmp_path, train)
    result = leak_list(Reference(train, holdout), unseen, LeakListParams(), context)
    flagged = result.measurements["flagged"]
    assert isinstance(flagged, Measurement)
    assert flagged.value is None
    assert flagged.note == "with 60 held-out people nobody can be told"


def test_tail_p_values_of_an_exponential_hold_far_beyond_the_sample() -> None:
    rng = np.random.default_rng(1)
    level, found = 1e-4, []
    for _ in range(400):
        null = rng.exponential(size=60)
        # Where the p-value crosses the level, an exponential says how probable more is.
        grid = np.linspace(0, 60, 6001)
        at = grid[np.searchsorted(-tail_p(null, grid, 0.2, 10), -level)]
        found.append(np.exp(-at))
    assert 0.3 * level < np.mean(found) <= 1.5 * level


def test_tail_p_values_inside_the_sample_are_ranks() -> None:
    null = np.arange(100.0)
    assert tail_p(null, np.array([50.0]), 0.2, 10)[0] == 51 / 101
    values = np.linspace(-5, 300, 500)
    assert (np.diff(tail_p(null, values, 0.2, 10)) <= 0).all()
    assert tail_p(np.zeros(20), np.zeros(3), 0.2, 10).tolist() == [1.0] * 3


def test_tail_p_values_of_ties_are_never_below_their_share() -> None:
    # No width at all: a larger value is one of 21, however much larger.
    assert tail_p(np.zeros(20), np.array([1e-9, 1, 50.0]), 0.2, 10).tolist() == [1 / 21] * 3
    # Half the sample at the value itself: as many are as large.
    null = np.repeat([0.0, 1.0], 40)
    assert tail_p(null, np.array([1.0]), 0.1, 4)[0] == 41 / 81
    # A geometric sample is an exponential on a grid; P(X >= x) = .3^x.
    rng = np.random.default_rng(3)
    found = [tail_p(rng.geometric(0.7, 60) - 1.0, np.arange(1, 6.0), 0.2, 10) for _ in range(400)]
    assert (np.exp(np.log(found).mean(axis=0)) >= 0.3 ** np.arange(1, 6)).all()


@pytest.mark.parametrize("n_sites", [1, 2])
def test_the_only_carrier_of_a_panel_of_few_sites_is_nobodys_copy(
    n_sites: int, tmp_path: Path
) -> None:
    panel = example_panel(150, n_sites=n_sites, seed=1)
    alleles = np.zeros_like(panel.haplotypes)
    # One training person and one of the cohort have the rare allele twice, nobody else has it.
    alleles[[0, 1, 200, 201]] = 1
    train, holdout, cohort = (
        panel.with_haplotypes(alleles).select_samples(part)
        for part in np.split(np.arange(150), [60, 100])
    )
    result = _listed(train, holdout, cohort, tmp_path)
    assert not result.series["people"]["flagged"].any()
    assert _value(result, "copies_named") == 0
    assert _value(result, "least_q") > 0.05


@pytest.mark.parametrize("ploidy", [1, 2, 3])
def test_people_lie_side_by_side_as_fits_best(ploidy: int) -> None:
    from itertools import permutations

    block = np.random.default_rng(2).integers(0, 50, (4 * ploidy, 5 * ploidy))
    apart = paired(block, ploidy)
    for i in range(4):
        for j in range(5):
            part = block[i * ploidy : (i + 1) * ploidy, j * ploidy : (j + 1) * ploidy]
            ways = [sum(part[a, b] for a, b in enumerate(o)) for o in permutations(range(ploidy))]
            assert apart[i, j] == min(ways)


def test_distances_to_the_cohort_against_brute_force(
    people: tuple[Panel, Panel, Panel], tmp_path: Path
) -> None:
    train, holdout, unseen = people
    context = example_context(tmp_path, train)
    data = cohorts(Reference(train, holdout), unseen, 10_000, context)
    apart = (train.haplotypes[:, None] != unseen.haplotypes[None]).sum(axis=2)
    found = copy_distances(data, train)
    np.testing.assert_array_equal(found[:, :2], apart.min(axis=1).reshape(-1, 2))
    np.testing.assert_array_equal(found[:, 2], paired(apart, 2).min(axis=1))


def test_unseen_people_are_no_copies(people: tuple[Panel, Panel, Panel], tmp_path: Path) -> None:
    train, holdout, unseen = people
    context = example_context(tmp_path, train)
    data = cohorts(Reference(train, holdout), unseen, 10_000, context)
    copies = find_copies(data, np.random.default_rng(1))
    assert copies.p.shape == (train.n_samples, 5)
    assert (copies.p.min(axis=1) * 5 * train.n_samples > 0.05).all()
