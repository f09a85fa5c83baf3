"""Scans for selection against scikit-allel, and cohorts in which there is nothing to find."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from structured_people import (
    context,
    independent,
    only,
    random_sequence,
    real_cohort,
    reference,
    value,
    with_missing,
)

from haplobench import MetricResult, Panel, Reference
from haplobench.testing.panels import haploid
from haplobench_utility.selection import h12, homozygous_lengths, selection_scan, standardised
from haplobench_utility.specs_structure import SELECTION_SCAN, SelectionScanParams

SMALL = {"window_bp": 10_000, "step_bp": 5_000}


def measure(
    cohort: Panel, folder: Path, real: Reference | None = None, **params: Any
) -> MetricResult:
    real = real or reference()
    settings = SelectionScanParams(**{**SMALL, **params})
    return selection_scan(real, cohort, settings, context(folder, real.train))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(4, 30), st.integers(2, 60))
def test_scores_equal_scikit_allel(seed: int, n: int, n_sites: int) -> None:
    allel = pytest.importorskip("allel")
    rng = np.random.default_rng(seed)
    founders = rng.integers(0, 2, (4, n_sites))
    haplotypes = founders[rng.integers(0, 4, n)]
    flips = rng.random(haplotypes.shape) < 0.1
    haplotypes = np.where(flips, 1 - haplotypes, haplotypes).astype(np.int8)
    positions = np.cumsum(rng.integers(1, 500, n_sites))
    lengths = homozygous_lengths(haplotypes, np.diff(positions).astype(np.float64))
    carriers = haplotypes.sum(axis=0)
    known = (carriers > 1) & (carriers < n - 1)
    keep = {"gap_scale": 0, "max_gap": 0, "use_threads": False, "min_maf": 0}
    with np.errstate(all="ignore"):
        ihs = allel.ihs(haplotypes.T, positions, include_edges=True, **keep)
        nsl = allel.nsl(haplotypes.T, use_threads=False)
    finite = known & np.isfinite(ihs)
    np.testing.assert_allclose(lengths.ihs[finite], ihs[finite], atol=1e-9)
    np.testing.assert_allclose(lengths.nsl[known], nsl[known], atol=1e-9)
    assert np.isnan(lengths.nsl[~known]).all()
    weights = rng.integers(0, 2**63, n_sites, dtype=np.uint64)
    expected = allel.garud_h(haplotypes.T)[1]
    assert h12(haplotypes, weights) == pytest.approx(expected, abs=1e-12)


def test_scores_are_standardised_among_sites_of_like_frequency() -> None:
    allel = pytest.importorskip("allel")
    rng = np.random.default_rng(4)
    n, counts = 200, rng.integers(10, 101, 3_000)
    scores = rng.normal(counts / 50, 1 + counts / 100)
    scores[:50] = np.nan
    own = standardised(scores, counts, n, 0.05)
    edges = np.linspace(0.05, 0.5, 10) * n - 1e-6
    edges[-1] = n / 2
    expected, _ = allel.standardize_by_allele_count(scores, counts, bins=edges, diagnostics=False)
    np.testing.assert_allclose(own[50:], expected[50:], atol=1e-12)
    assert np.isnan(own[:50]).all()
    # Whichever allele is called the alternate one; at half of all, neither is rarer.
    turned = standardised(-scores, n - counts, n, 0.05)
    np.testing.assert_allclose(turned[counts < 90], own[counts < 90])
    assert np.isnan(standardised(np.ones(5), np.full(5, 50), n, 0.05)).all()


def test_a_sweep_is_the_top_window_of_every_scan(tmp_path: Path) -> None:
    """One haplotype at seven of ten people's over 60 kb, as a sweep leaves it."""
    holdout = reference().holdout

    def swept(panel: Panel) -> Panel:
        haplotypes = np.array(panel.haplotypes)
        inside = (panel.positions >= 170_000) & (panel.positions < 230_000)
        many = np.random.default_rng(2).permutation(panel.n_haplotypes)
        many = many[: panel.n_haplotypes * 7 // 10]
        haplotypes[np.ix_(many, inside)] = haplotypes[many[0]][inside]
        return replace(panel, haplotypes=haplotypes)

    real = Reference(reference().train, swept(holdout))
    result = selection_scan(
        real, swept(real_cohort()), SelectionScanParams(**SMALL), context(tmp_path, real.train)
    )
    windows = result.series["windows"]
    for name in ("h12", "ihs", "nsl"):
        for side in ("real", "synthetic"):
            top = windows["start_bp"][np.nanargmax(windows[f"{side}_{name}"])]
            assert 155_000 <= top < 235_000, (name, side)
    neutral = measure(real_cohort(), tmp_path, real)
    assert value(result, "h12_top") > value(neutral, "h12_top")


def test_real_people_agree_and_controls_do_not(tmp_path: Path) -> None:
    floor = [measure(real_cohort(seed=seed), tmp_path) for seed in range(3)]
    least = min(value(result, "h12_rank") for result in floor)
    assert least > 0.8
    for control in (independent(real_cohort()), random_sequence(real_cohort())):
        assert value(measure(control, tmp_path), "h12_rank") < least - 0.3
    same = measure(reference().holdout, tmp_path)
    assert all(only(same, s.name).value == pytest.approx(1) for s in SELECTION_SCAN.submetrics)


def test_cohorts_with_sites_of_their_own(tmp_path: Path) -> None:
    cohort = real_cohort()
    thinned = cohort.select_sites(np.arange(0, cohort.n_sites, 2))
    elsewhere = replace(thinned, positions=thinned.positions + 1)
    assert value(measure(elsewhere, tmp_path), "h12_rank") > 0.4
    # Nothing of the region: every window is alike.
    away = replace(cohort, positions=cohort.positions + 10_000_000)
    result = measure(away, tmp_path)
    assert value(result, "h12_rank") == 0
    assert only(result, "ihs_rank").value is None
    assert "fewer than 10 windows" in only(result, "ihs_rank").note


def test_what_can_not_be_scanned_says_why(tmp_path: Path) -> None:
    gaps = measure(with_missing(real_cohort()), tmp_path)
    assert only(gaps, "h12_rank").note == "alleles of the synthetic panel are missing"
    few = measure(real_cohort().select_samples(np.arange(1)), tmp_path)
    assert "needs four haplotypes" in only(few, "h12_rank").note
    short = measure(real_cohort(), tmp_path, window_bp=390_000)
    assert "windows" in only(short, "h12_rank").note
    cohort = real_cohort()
    flat = replace(cohort, haplotypes=np.zeros_like(cohort.haplotypes))
    assert value(measure(flat, tmp_path), "h12_rank") == 0
    halves = Reference(haploid(reference().train), haploid(reference().holdout))
    assert value(measure(haploid(real_cohort()), tmp_path, halves), "h12_rank") > 0.7


def test_of_many_haplotypes_some_are_drawn_and_the_map_counts(tmp_path: Path) -> None:
    some = measure(real_cohort(), tmp_path, max_haplotypes=60)
    assert only(some, "h12_rank").note == "60 haplotypes a side"
    assert value(some, "h12_rank") > 0.6
    ctx = context(tmp_path, reference().train, recombination_map=None)
    without = selection_scan(reference(), real_cohort(), SelectionScanParams(**SMALL), ctx)
    # A map of one rate changes the unit of lengths, and no ratio.
    rank = value(measure(real_cohort(), tmp_path), "ihs_rank")
    assert value(without, "ihs_rank") == pytest.approx(rank)
