"""Allele frequencies and spectra against scikit-allel, scipy and enumeration; any cut is one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import scipy.stats
from founder_panels import Measure, founders_panel, note, value, values
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from haplobench import MetricResult, Panel, PanelError, Params, Reference, RunContext
from haplobench_fidelity.alleles import (
    allele_frequency,
    allele_frequency_spectrum,
    divergence,
    folded_spectrum,
    projected_spectrum,
)
from haplobench_fidelity.specs_sites import AlleleFrequencyParams, SpectrumParams


def holed(panel: Panel, share: float, seed: int = 0) -> Panel:
    haplotypes = panel.haplotypes.copy()
    haplotypes[np.random.default_rng(seed).random(haplotypes.shape) < share] = -1
    return replace(panel, haplotypes=haplotypes)


def allel_counts(panel: Panel) -> Any:
    allel = pytest.importorskip("allel")
    return allel.HaplotypeArray(panel.haplotypes.T).count_alleles(max_allele=1)


def flat(result: MetricResult) -> dict[tuple[str, ...], float | None]:
    return {
        (name, *labels): found
        for name in result.measurements
        for labels, found in values(result, name).items()
    }


@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_frequencies_are_those_of_scikit_allel(
    missing: float, founders: Reference, measure: Measure
) -> None:
    holdout = holed(founders.holdout, missing, 1)
    cohort = holed(founders_panel(120, 600, 5), missing, 2)
    real, synthetic = (allel_counts(panel).to_frequencies()[:, 1] for panel in (holdout, cohort))
    result = measure("allele-frequency", Reference(founders.train, holdout), cohort)
    expected_rmse = np.sqrt(np.mean((synthetic - real) ** 2))
    assert value(result, "rmse") == pytest.approx(expected_rmse, abs=1e-9)
    expected_r = scipy.stats.pearsonr(real, synthetic).statistic
    assert value(result, "r") == pytest.approx(expected_r, abs=1e-9)
    segregating = (real > 0) & (real < 1)
    lost = segregating & ((synthetic == 0) | (synthetic == 1))
    assert value(result, "sites_lost") == pytest.approx(lost.sum() / segregating.sum())


def test_frequencies_on_real_data_are_those_of_scikit_allel(
    chr1: Mapping[str, Any], measure: Measure
) -> None:
    founders, floor = chr1["reference"], chr1["floor"]
    real, synthetic = (
        allel_counts(panel).to_frequencies()[:, 1] for panel in (founders.holdout, floor)
    )
    result = measure("allele-frequency", founders, floor)
    expected = np.sqrt(np.mean((synthetic - real) ** 2))
    assert value(result, "rmse") == pytest.approx(expected, abs=1e-9)
    africans = [
        panel.select_samples(panel.superpopulation == "AFR") for panel in (founders.holdout, floor)
    ]
    x, y = (allel_counts(panel).to_frequencies()[:, 1] for panel in africans)
    found = values(result, "rmse_by_superpopulation")
    assert set(found) == {("AFR",), ("AMR",), ("EAS",), ("EUR",), ("SAS",)}
    assert found["AFR",] == pytest.approx(np.sqrt(np.mean((x - y) ** 2)), abs=1e-9)


def test_maf_bins_share_out_the_sites(founders: Reference, measure: Measure) -> None:
    cohort = founders_panel(120, 600, 5)
    result = measure("allele-frequency", founders, cohort, maf_bins=(0.0, 0.1, 0.2, 0.5))
    maf = founders.holdout.maf
    squares = (founders.holdout.frequencies - cohort.frequencies) ** 2
    for (label,), found in values(result, "rmse_by_maf").items():
        low, high = (float(edge) for edge in label.split("-"))
        inside = (maf > low) & (maf <= high)
        assert found == pytest.approx(np.sqrt(squares[inside].mean()))
    empty = measure("allele-frequency", founders, cohort, maf_bins=(0.0, 1e-6))
    assert values(empty, "rmse_by_maf") == {("0-1e-06",): None}


def test_superpopulations_are_found_through_populations(
    founders: Reference, measure: Measure
) -> None:
    cohort = founders_panel(120, 600, 5)
    labelled = measure("allele-frequency", founders, cohort)
    unnamed = replace(cohort, superpopulation=np.full(120, ""))
    assert flat(measure("allele-frequency", founders, unnamed)) == flat(labelled)
    bare = replace(unnamed, population=np.full(120, ""))
    found = measure("allele-frequency", founders, bare)
    assert values(found, "rmse_by_superpopulation") == {(): None}
    assert "no population labels" in note(found, "rmse_by_superpopulation")
    assert value(found, "rmse") == value(labelled, "rmse")
    some = measure("allele-frequency", founders, cohort.select_samples(np.arange(0, 120, 2)))
    by_label = values(some, "rmse_by_superpopulation")
    assert by_label["SBBB",] is None
    assert by_label["SAAA",] is not None


def test_other_sites_are_refused(founders: Reference, ctx: RunContext) -> None:
    with pytest.raises(PanelError, match="599 sites, expected the panel's 600"):
        allele_frequency(founders, founders_panel(10, 599, 1), AlleleFrequencyParams(), ctx)


def test_nothing_measured_is_not_applicable(founders: Reference, ctx: RunContext) -> None:
    nobody = founders_panel(10, 600, 1).select_samples(np.arange(0))
    for result in (
        allele_frequency(founders, nobody, AlleleFrequencyParams(), ctx),
        allele_frequency_spectrum(founders, nobody, SpectrumParams(), ctx),
    ):
        assert set(flat(result).values()) == {None}


def test_spectrum_is_that_of_scikit_allel(chr1: Mapping[str, Any]) -> None:
    allel = pytest.importorskip("allel")
    panel = chr1["reference"].holdout
    n = panel.n_haplotypes
    expected = allel.sfs_folded(allel_counts(panel), n=n)
    alternate = panel.allele_counts[0]
    np.testing.assert_array_equal(folded_spectrum(alternate, n), expected)
    found, n_sites = projected_spectrum(panel.allele_counts, n)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert n_sites == panel.n_sites


def test_projection_is_the_mean_over_all_subsets() -> None:
    rng = np.random.default_rng(0)
    haplotypes = (rng.random((8, 25)) < rng.random(25)).astype(np.int8)
    haplotypes[0, :5] = -1
    called = (haplotypes >= 0).sum(axis=0)
    counts = np.stack([(haplotypes == 1).sum(axis=0), called]).astype(np.int64)
    expected = np.zeros(3)
    for site in range(25):
        alleles = haplotypes[haplotypes[:, site] >= 0, site]
        subsets = [sum(chosen) for chosen in combinations(alleles.tolist(), 5)]
        for copies in subsets:
            expected[min(copies, 5 - copies)] += 1 / len(subsets)
    found, n_sites = projected_spectrum(counts, 5)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert n_sites == 25
    assert projected_spectrum(counts, 8)[1] == 20


def test_divergence_is_lin_s() -> None:
    rng = np.random.default_rng(1)
    p, q = rng.dirichlet(np.ones(20)), rng.dirichlet(np.ones(20))
    middle = (p + q) / 2
    expected = (scipy.stats.entropy(p, middle, base=2) + scipy.stats.entropy(q, middle, base=2)) / 2
    assert divergence(p, q) == pytest.approx(expected, abs=1e-12)
    assert divergence(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == pytest.approx(1)


def test_wasserstein_is_scipy_s_on_the_sites_themselves(
    founders: Reference, measure: Measure
) -> None:
    cohort = founders_panel(150, 600, 5)
    result = measure("allele-frequency-spectrum", founders, cohort, projection=0)
    real, synthetic = (panel.maf[(panel.maf > 0)] for panel in (founders.holdout, cohort))
    expected = scipy.stats.wasserstein_distance(real, synthetic)
    assert value(result, "wasserstein") == pytest.approx(expected, abs=1e-9)
    assert value(result, "site_ratio") == pytest.approx(synthetic.size / real.size)
    n = founders.holdout.n_haplotypes
    spectra = [
        folded_spectrum(panel.allele_counts[0], n)[1:] for panel in (founders.holdout, cohort)
    ]
    p, q = (spectrum / spectrum.sum() for spectrum in spectra)
    assert value(result, "jsd") == pytest.approx(divergence(p, q), abs=1e-9)
    assert value(result, "r") == pytest.approx(scipy.stats.pearsonr(p, q).statistic, abs=1e-9)


def test_cohorts_of_other_size_are_projected(founders: Reference, measure: Measure) -> None:
    small = founders_panel(40, 600, 5)
    result = measure("allele-frequency-spectrum", founders, small, projection=0)
    assert "projected to 80 haplotypes" in note(result, "jsd")
    assert value(result, "jsd") < 0.02


def test_fixed_sites_count_only_when_asked(founders: Reference, measure: Measure) -> None:
    haplotypes = founders.holdout.haplotypes.copy()
    haplotypes[:, ::2] = 0
    cohort = replace(founders.holdout, haplotypes=haplotypes)
    drop = measure("allele-frequency-spectrum", founders, cohort)
    keep = measure("allele-frequency-spectrum", founders, cohort, fixed="zero")
    assert value(keep, "jsd") > 10 * value(drop, "jsd")
    assert value(drop, "site_ratio") < 0.6


def test_cohorts_with_sites_of_their_own_meet_the_same_threshold(
    founders: Reference, measure: Measure, ctx: RunContext
) -> None:
    """Where the sites were chosen on the held-out people, as without training people."""
    other = founders_panel(150, 600, 5)
    moved = replace(other, positions=other.positions + 1)
    common = founders.holdout.common_sites(0.1)
    holdout, train = (panel.select_sites(common) for panel in (founders.holdout, founders.train))
    context = replace(ctx, min_maf=0.1)
    result = measure("allele-frequency-spectrum", Reference(train, holdout), moved, context)
    n_real, n_synthetic = ((panel.maf > 0.1).sum() for panel in (holdout, other))
    assert value(result, "site_ratio") == pytest.approx(n_synthetic / n_real)
    assert "MAF > 0.1 on both sides" in note(result, "jsd")


def neutral_people(n: int, seed: int, frequencies: NDArray[np.float64]) -> Panel:
    alleles = np.random.default_rng(seed).random((2 * n, frequencies.size)) < frequencies
    return Panel(
        haplotypes=alleles.astype(np.int8),
        positions=1 + np.arange(frequencies.size),
        contig="1",
        samples=np.array([f"p{i}" for i in range(n)]),
    )


@pytest.mark.parametrize("rarity", [1.0, 1.45])
@pytest.mark.parametrize(("n_train", "n_holdout"), [(200, 50), (60, 60)])
def test_sites_of_ones_own_are_judged_as_if_chosen_on_training_people(
    n_train: int, n_holdout: int, rarity: float, measure: Measure, ctx: RunContext
) -> None:
    """People of one population, held out and simulated; sites chosen on others of it.

    Of frequencies x with density x^-rarity from 1 in 8,000 to a half: 1 as in a population of
    constant size, more as in one that has grown.
    """
    ranks = np.random.default_rng(9).uniform(0, 1, (2, 30_000 if rarity == 1 else 120_000))
    low, high = np.log(1 / 8_000), np.log(0.5)
    less = 1 - rarity
    real, own = (
        np.exp(low + ranks * (high - low))
        if rarity == 1
        else (np.exp(less * low) + ranks * (np.exp(less * high) - np.exp(less * low))) ** (1 / less)
    )
    train, holdout = neutral_people(n_train, 1, real), neutral_people(n_holdout, 2, real)
    common = train.common_sites(0.02)
    reference = Reference(train.select_sites(common), holdout.select_sites(common))
    cohort = neutral_people(n_holdout, 3, own)
    moved = replace(cohort, positions=cohort.positions + 7)
    found = measure("allele-frequency-spectrum", reference, moved, replace(ctx, min_maf=0.02))
    assert value(found, "site_ratio") == pytest.approx(1, abs=0.03)
    assert value(found, "jsd") < 0.002
    assert f"MAF 0.02 in {2 * n_train} haplotypes" in note(found, "jsd")


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(order=st.permutations(range(40)))
@pytest.mark.parametrize(
    ("metric", "params"),
    [
        (allele_frequency, AlleleFrequencyParams()),
        (allele_frequency_spectrum, SpectrumParams()),
    ],
)
def test_the_order_of_people_changes_nothing(
    order: list[int], metric: Any, params: Params, founders: Reference, ctx: RunContext
) -> None:
    cohort = founders_panel(40, 600, 6)
    same = cohort.select_samples(np.array(order))
    assert flat(metric(founders, same, params, ctx)) == flat(metric(founders, cohort, params, ctx))


@pytest.mark.parametrize("edges", [(0.1,), (0.2, 0.1), (0.0, 0.6), (-0.1, 0.5)])
def test_impossible_maf_bins_are_refused(edges: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError):
        AlleleFrequencyParams(maf_bins=edges)
