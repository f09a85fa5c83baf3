"""Demography against closed forms, scipy, moments, and simulations of known size and rate."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import hypergeom, spearmanr
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

from haplobench import MetricResult, Panel, RecombinationMap, Reference
from haplobench.testing.panels import haploid
from haplobench_utility.cohorts import window_starts
from haplobench_utility.demography import (
    demography,
    excess_by_distance,
    expected_spectrum,
    fit_history,
    folded_projection,
    inbreeding,
    local_rates,
    pairwise_kinship,
    size_by_ld,
)
from haplobench_utility.specs_structure import DEMOGRAPHY, DemographyParams

SIZE, LENGTH, MUTATION = 10_000, 2_000_000, 2e-8
# cM/Mb of stretches of 100 kb, a hotspot among them now and then.
STRETCHES = np.tile([0.2, 1.0, 0.4, 3.0, 0.4], LENGTH // 500_000)


def measure(
    cohort: Panel, folder: Path, real: Reference | None = None, **changes: Any
) -> MetricResult:
    real = real or reference()
    ctx = context(folder, real.train, **changes)
    params = DemographyParams(window_bp=20_000, step_bp=10_000)
    return demography(real, cohort, params, ctx)


@cache
def constant() -> tuple[Panel, RecombinationMap]:
    """50 people of a population of 10,000 over 2 Mb of uneven recombination."""
    msprime = pytest.importorskip("msprime")
    edges = np.linspace(0, LENGTH, STRETCHES.size + 1)
    rates = msprime.RateMap(position=edges, rate=STRETCHES * 1e-8)
    trees = msprime.sim_ancestry(50, population_size=SIZE, recombination_rate=rates, random_seed=11)
    model = msprime.BinaryMutationModel()
    trees = msprime.sim_mutations(trees, rate=MUTATION, model=model, random_seed=12)
    panel = Panel(
        np.ascontiguousarray(trees.genotype_matrix().T.astype(np.int8)),
        trees.tables.sites.position.astype(np.int64) + 1,
        "1",
        np.array([f"p{i}" for i in range(50)]),
    )
    cm = np.concatenate([[0.0], np.cumsum(STRETCHES * np.diff(edges) / 1e6)])
    return panel.select_sites(panel.maf > 0), RecombinationMap(edges.astype(np.int64) + 1, cm)


# --- the spectrum -----------------------------------------------------------------------------


def test_spectrum_of_a_constant_size_is_theta_over_copies() -> None:
    n = 40
    one = np.ones(1)
    copies = np.arange(1, n // 2 + 1)
    folded = 1 / copies + np.where(copies < n / 2, 1 / (n - copies), 0)
    np.testing.assert_allclose(expected_spectrum(n, one, one)[0], folded, rtol=1e-9)
    # A change long ago is a change of everything, a change just now of nothing.
    np.testing.assert_allclose(expected_spectrum(n, 5 * one, 500 * one)[0], 5 * folded, rtol=1e-9)
    np.testing.assert_allclose(expected_spectrum(n, 5 * one, 1e-9 * one)[0], folded, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("now", "time"), [(3.0, 0.3), (0.2, 0.1), (10.0, 0.02)])
def test_spectrum_after_a_change_equals_moments(now: float, time: float) -> None:
    moments = pytest.importorskip("moments")
    n = 40
    expected = moments.Demographics1D.two_epoch((now, time), [n]).fold()[1 : n // 2 + 1]
    own = expected_spectrum(n, np.array([now]), np.array([time]))[0]
    np.testing.assert_allclose(own, np.asarray(expected), rtol=2e-3)
    counts = np.repeat(np.arange(1, 60), 3)
    spectrum = moments.Spectrum(np.bincount(counts, minlength=61))
    projected = spectrum.project([n]).fold()[1 : n // 2 + 1]
    np.testing.assert_allclose(folded_projection(counts, 60, n), np.asarray(projected), rtol=1e-9)


def test_projection_is_hypergeometric_sampling() -> None:
    counts = np.array([0, 1, 7, 15, 29, 30, 18])
    found = folded_projection(counts, 30, 12)
    expected = np.zeros(6)
    for count in counts:
        chances = hypergeom(30, count, 12).pmf(np.arange(13))
        for copies in range(1, 12):
            expected[min(copies, 12 - copies) - 1] += chances[copies]
    np.testing.assert_allclose(found, expected, atol=1e-10)
    whole = folded_projection(counts, 30, 30)
    np.testing.assert_allclose(whole[[0, 6, 11, 14]], [2, 1, 1, 1], atol=1e-9)


@pytest.mark.parametrize(("now", "time"), [(4.0, 0.2), (0.25, 0.1)])
def test_a_change_of_size_is_inferred(now: float, time: float) -> None:
    spectrum = 1e6 * expected_spectrum(40, np.array([now]), np.array([time]))[0]
    history = fit_history(spectrum, np.arange(20) >= 2, 40)
    assert history is not None
    assert history.now == pytest.approx(now, rel=0.1)
    assert history.time == pytest.approx(time, rel=0.1)
    assert history.theta == pytest.approx(1e6, rel=0.02)
    sizes = history.sizes(np.array([1.0, 1e9]), 25.0)
    np.testing.assert_allclose(sizes, [1e4 * now, 1e4], rtol=0.1)
    assert fit_history(np.zeros(20), np.arange(20) >= 2, 40) is None


def test_size_of_a_simulated_population() -> None:
    panel, at = constant()
    spectrum = folded_projection(panel.allele_counts[0], 100, 40)
    history = fit_history(spectrum, np.arange(1, 21) >= 3, 40)
    assert history is not None
    times = np.array([1_000.0, 5_000.0, 20_000.0])
    sizes = history.sizes(times, MUTATION * LENGTH)
    assert np.exp(np.log(sizes).mean()) == pytest.approx(SIZE, rel=0.3)
    common = panel.select_sites(panel.maf >= 0.05)
    matrix = common.haplotypes
    edges = np.geomspace(1e-4, 5e-3, 6)
    rng = np.random.default_rng(1)
    by_ld = size_by_ld(
        *excess_by_distance(matrix, at.at(common.positions) / 100, edges, 4_000, rng)
    )
    assert np.exp(np.log(by_ld).mean()) == pytest.approx(SIZE, rel=0.3)


# --- linkage disequilibrium -------------------------------------------------------------------


def test_excess_is_r2_over_chance_of_the_pairs_at_a_distance() -> None:
    holdout = reference().holdout
    panel = holdout.select_sites(holdout.maf >= 0.05)
    panel = panel.select_sites(np.arange(120))
    matrix, at = panel.haplotypes, panel.positions * 1e-8
    r2 = np.corrcoef(matrix.T) ** 2
    distance = np.abs(at[:, None] - at[None, :])
    edges = np.array([5e-5, 1e-4, 3e-4])
    rng = np.random.default_rng(0)
    found = excess_by_distance(matrix, at, edges, 40_000, rng)
    for i in range(2):
        within = np.triu((distance >= edges[i]) & (distance < edges[i + 1]), 1)
        # Each first site weighs the same, whatever the number of its partners.
        rows = within.any(axis=1)
        partners = within[rows].sum(axis=1)
        expected = ((r2 * within)[rows].sum(axis=1) / partners).mean() - 1 / matrix.shape[0]
        assert found[1][i] == pytest.approx(expected, abs=0.01)
        assert edges[i] <= found[0][i] <= edges[i + 1]
    nothing = excess_by_distance(matrix, at, np.array([1.0, 2.0]), 10, rng)
    assert np.isnan(nothing).all()


def test_rates_follow_the_map_that_was_simulated() -> None:
    panel, at = constant()
    common = panel.select_sites(panel.maf >= 0.05)
    starts = window_starts(panel, 50_000, 50_000)
    rates = local_rates(common.haplotypes, common.positions, starts, 50_000)
    mapped = at.at(starts + 50_000) - at.at(starts)
    assert spearmanr(rates, mapped).statistic > 0.6
    # 4 N r per bp.
    assert 0.5 < np.median(rates / (4 * SIZE * mapped / 100 / 50_000)) < 2


def test_a_window_of_few_sites_has_no_rate() -> None:
    matrix = np.eye(8, dtype=np.int8)
    positions = np.array([1, 5, 9, 14, 110, 120, 130, 140])
    assert np.isnan(local_rates(matrix, positions, np.array([1, 101]), 100)).all()
    assert np.isnan(local_rates(np.empty((4, 0), np.int8), positions[:0], np.array([1]), 9)[0])


# --- kinship ----------------------------------------------------------------------------------


def test_kinship_of_pairs_and_inbreeding() -> None:
    allel = pytest.importorskip("allel")
    panel = real_cohort()
    dosages = panel.dosages()[:6].astype(int)
    pairs = [(i, j) for i in range(6) for j in range(i + 1, 6)]
    least = {p: min((dosages[p[0]] == 1).sum(), (dosages[p[1]] == 1).sum()) for p in pairs}
    squared = [((dosages[i] - dosages[j]) ** 2).sum() for i, j in pairs]
    expected = [0.5 - d / (4 * least[p]) for d, p in zip(squared, pairs, strict=True)]
    np.testing.assert_allclose(pairwise_kinship(panel.dosages()[:6]), expected, rtol=1e-5)
    assert pairwise_kinship(panel.dosages()[:1]).size == 0
    genotypes = allel.GenotypeArray(
        panel.haplotypes.reshape(panel.n_samples, 2, -1).transpose(2, 0, 1)
    )
    seen = allel.heterozygosity_observed(genotypes).sum()
    awaited = allel.heterozygosity_expected(
        genotypes.count_alleles().to_frequencies(), ploidy=2
    ).sum()
    n = panel.n_haplotypes
    assert inbreeding(panel, panel.dosages()) == pytest.approx(1 - seen / (awaited * n / (n - 1)))


def test_children_among_the_cohort_are_seen(tmp_path: Path) -> None:
    cohort = real_cohort()
    haplotypes = np.array(cohort.haplotypes)
    haplotypes[1::4] = haplotypes[2::4]  # every other person is the next one's child
    kin = measure(replace(cohort, haplotypes=haplotypes), tmp_path)
    strangers = measure(cohort, tmp_path)
    # 30 of 1,770 pairs, and others whom they make look alike.
    gain = value(kin, "related_difference") - value(strangers, "related_difference")
    assert 0.7 * 1000 * 30 / 1770 < gain < 3 * 1000 * 30 / 1770


# --- the metric -------------------------------------------------------------------------------


def test_real_people_agree_and_controls_do_not(tmp_path: Path) -> None:
    floor = [measure(real_cohort(seed=seed), tmp_path) for seed in range(4)]
    for name, ideal, far in (
        ("theta_ratio", 1, 0.15),
        ("ld_size_ratio", 1, 0.4),
        ("rate_rank", 1, 0.25),
        ("history_rmse", 0, 1),
        ("related_difference", 0, 40),
        ("inbreeding_difference", 0, 0.05),
    ):
        mean = np.mean([value(result, name) for result in floor])
        assert mean == pytest.approx(ideal, abs=far), name
    alone = measure(independent(real_cohort()), tmp_path)
    assert value(alone, "ld_size_ratio") > 10
    assert value(alone, "rate_rank") < 0.3
    assert value(alone, "inbreeding_difference") < -0.05
    noise = measure(random_sequence(real_cohort()), tmp_path)
    assert value(noise, "theta_ratio") > 1.3
    assert value(noise, "history_rmse") > max(value(result, "history_rmse") for result in floor)
    same = measure(reference().holdout, tmp_path)
    for submetric in DEMOGRAPHY.submetrics:
        if submetric.name != "rate_map_rank" and submetric.ideal is not None:
            assert only(same, submetric.name).value == pytest.approx(submetric.ideal, abs=1e-6)


def test_cohorts_with_sites_of_their_own(tmp_path: Path) -> None:
    cohort = real_cohort()
    moved = replace(cohort, positions=cohort.positions + 3)
    result = measure(moved, tmp_path)
    assert value(result, "theta_ratio") == pytest.approx(
        value(measure(cohort, tmp_path), "theta_ratio"), abs=0.02
    )
    away = measure(replace(cohort, positions=cohort.positions + 10_000_000), tmp_path)
    for name in ("history_rmse", "ld_size_ratio", "rate_rank", "inbreeding_difference"):
        assert only(away, name).value is None
        assert only(away, name).note


def test_what_can_not_be_told_says_why(tmp_path: Path) -> None:
    gaps = measure(with_missing(real_cohort()), tmp_path)
    assert only(gaps, "theta_ratio").note == "alleles of the synthetic panel are missing"
    one = measure(real_cohort().select_samples(np.arange(1)), tmp_path)
    assert "needs four haplotypes" in only(one, "theta_ratio").note
    unmapped = measure(real_cohort(), tmp_path, recombination_map=None)
    for name in ("ld_size_ratio", "rate_map_rank"):
        assert only(unmapped, name).note == "no recombination map"
    assert value(unmapped, "rate_rank") > 0.5
    halves = Reference(haploid(reference().train), haploid(reference().holdout))
    alone = measure(haploid(real_cohort()), tmp_path, halves)
    assert "diploid" in only(alone, "related_difference").note
    assert value(alone, "ld_size_ratio") == pytest.approx(1, abs=0.5)
    cohort = real_cohort()
    flat = measure(replace(cohort, haplotypes=np.zeros_like(cohort.haplotypes)), tmp_path)
    assert value(flat, "theta_ratio") == 0
    assert only(flat, "history_rmse").value is None
    unphased = Reference(reference().train, replace(reference().holdout, phased=False))
    without = measure(replace(cohort, phased=False), tmp_path, unphased)
    assert value(without, "ld_size_ratio") == pytest.approx(1, abs=0.6)
