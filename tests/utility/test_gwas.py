"""Association studies: real people at the floor, controls that fail, and errors at their level."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trait_panels import (
    fair_coins,
    number,
    repeated,
    shuffled_sites,
    some_people,
    split_panel,
)

from haplobench import Measurement, MetricResult, Panel, Reference, RunContext
from haplobench.testing import example_context
from haplobench_utility.association import covariate_basis, linear, principal_components
from haplobench_utility.gwas import _errors, _wilson, gwas
from haplobench_utility.specs_studies import GWAS, GwasParams

N = 100
FEW = {"n_traits": 40, "n_null": 40, "n_single": 30, "n_case_control": 3, "n_panels": 6}


@pytest.fixture(scope="module")
def reference() -> Reference:
    return split_panel(400, N)


@pytest.fixture(scope="module")
def ctx(reference: Reference, tmp_path_factory: pytest.TempPathFactory) -> RunContext:
    return example_context(tmp_path_factory.mktemp("gwas"), reference.train)


@pytest.fixture(scope="module")
def real(reference: Reference) -> Panel:
    return some_people(reference.train, N, 1)


def measure(reference: Reference, cohort: Panel, ctx: RunContext, **params: Any) -> MetricResult:
    return gwas(reference, cohort, GwasParams(**(FEW | params)), ctx)


def test_real_people_are_at_the_floor_and_cohorts_without_ld_find_nothing(
    reference: Reference, real: Panel, ctx: RunContext
) -> None:
    floor = measure(reference, real, ctx)
    assert number(floor, "effect_correlation_ratio") == pytest.approx(1, abs=0.12)
    assert number(floor, "power_ratio") == pytest.approx(1, abs=0.3)
    assert number(floor, "calibration") > 0.8
    assert number(floor, "replication") > 0.3
    assert number(floor, "credible_coverage") > 0.8
    assert number(floor, "case_control_correlation") > 0.2
    for cohort in (shuffled_sites(real), fair_coins(real)):
        lost = measure(reference, cohort, ctx)
        assert abs(number(lost, "effect_correlation_ratio")) < 0.1
        assert number(lost, "power") < 0.1 * number(floor, "power")
        assert abs(number(lost, "calibration")) < 0.15
        assert number(lost, "replication") < 0.2
        assert number(lost, "credible_size_ratio") < 0.7
        # What can't see LD: the errors of a study.
        assert number(lost, "type_one_error_05") == pytest.approx(0.05, abs=0.01)


def test_type_one_error_is_within_its_interval(reference: Reference, real: Panel) -> None:
    basis = covariate_basis(principal_components(real, 2))
    inside = dict.fromkeys(("type_one_error_05", "type_one_error_001"), 0)
    for seed in range(100):
        traits = np.random.default_rng(seed).standard_normal((N, 50))
        found = _errors(linear(real, traits, basis))
        for name, level in (("type_one_error_05", 0.05), ("type_one_error_001", 0.001)):
            low, high = found[name].low, found[name].high
            assert low is not None
            assert high is not None
            inside[name] += low <= level <= high
    # 95 of 100, and its own sampling error.
    assert inside["type_one_error_05"] >= 89
    assert inside["type_one_error_001"] >= 89
    # Relatives' noise that goes together, as if each had been measured twice, is seen.
    twice = repeated(real, 2)
    traits = np.tile(np.random.default_rng(0).standard_normal((N, 50)), (2, 1))
    seen = _errors(linear(twice, traits, np.vstack([basis, basis]) / 2**0.5))
    assert seen["type_one_error_05"].low > 0.1  # type: ignore[operator]
    assert number(MetricResult(seen), "inflation") > 1.5


def test_stratification_is_corrected_by_components(
    reference: Reference, real: Panel, ctx: RunContext
) -> None:
    corrected = measure(reference, real, ctx)
    bare = measure(reference, real, ctx, n_pcs=0)
    assert number(bare, "stratified_inflation") > 1.3
    assert number(corrected, "stratified_inflation") < number(bare, "stratified_inflation") - 0.2
    assert number(bare, "inflation") == pytest.approx(1, abs=0.15)
    unlabelled = replace(real, superpopulation=np.full(N, ""), population=np.full(N, ""))
    none = measure(reference, unlabelled, ctx).measurements["stratified_inflation"]
    assert isinstance(none, Measurement)
    assert none.value is None
    assert "not labelled" in none.note


@pytest.mark.slow
def test_real_against_real_is_one(reference: Reference, ctx: RunContext) -> None:
    ratios: dict[str, list[float]] = {}
    for seed in range(50):
        cohort = some_people(reference.train, N, 100 + seed)
        found = measure(reference, cohort, ctx)
        for name in ("effect_correlation_ratio", "power_ratio", "credible_size_ratio"):
            ratios.setdefault(name, []).append(number(found, name))
    for name, each in ratios.items():
        low, high = np.quantile(each, [0.05, 0.95])
        assert low < 1 < high, (name, low, high)
        # Six panels make what the ratio is over uncertain, fifty what it is of.
        error = np.std(each) * (1 / 50 + 1 / FEW["n_panels"]) ** 0.5
        assert abs(np.mean(each) - 1) < 3 * error, (name, np.mean(each), error)


def test_a_cohort_without_variation_finds_nothing(
    reference: Reference, real: Panel, ctx: RunContext
) -> None:
    flat = measure(reference, real.with_haplotypes(np.zeros_like(real.haplotypes)), ctx)
    for name in ("effect_correlation_ratio", "power", "replication", "calibration"):
        assert number(flat, name) == 0
    assert set(flat.measurements) == {one.name for one in GWAS.submetrics}
    error = flat.measurements["type_one_error_05"]
    assert isinstance(error, Measurement)
    assert error.value is None
    assert "no site of the cohort varies" in error.note


def test_what_cannot_be_measured_says_why(
    reference: Reference, real: Panel, ctx: RunContext
) -> None:
    alleles = np.array(real.haplotypes)
    alleles[3, 3] = -1
    cohorts = {
        "too few people in the synthetic panel: 5": real.select_samples(np.arange(5)),
        "missing alleles in the synthetic panel": real.with_haplotypes(alleles),
    }
    for why, cohort in cohorts.items():
        for one in measure(reference, cohort, ctx).measurements.values():
            assert isinstance(one, Measurement)
            assert one.value is None
            assert why in one.note
    none_typed = measure(reference, real, ctx, n_case_control=1, prevalence=0.0001)
    cases = none_typed.measurements["case_control_correlation"]
    assert isinstance(cases, Measurement)
    assert cases.value is None
    assert "too few cases" in cases.note


def test_a_cohort_larger_than_the_training_panel_is_compared_with_all_of_it(
    reference: Reference, ctx: RunContext
) -> None:
    large = repeated(reference.train, 2)
    power = measure(reference, large, ctx).measurements["power_ratio"]
    assert isinstance(power, Measurement)
    assert "real panels have all 400 training people" in power.note


def test_many_sites_are_thinned(reference: Reference, real: Panel, ctx: RunContext) -> None:
    found = measure(reference, real, ctx, max_sites=150)
    correlation = found.measurements["effect_correlation"]
    assert isinstance(correlation, Measurement)
    assert "150 of 300 sites" in correlation.note
    assert number(found, "effect_correlation_ratio") == pytest.approx(1, abs=0.2)


def test_wilson_interval_equals_scipy() -> None:
    from scipy.stats import binomtest, norm

    expected = binomtest(7, 120).proportion_ci(method="wilson")
    assert _wilson(7 / 120, 120, float(norm.ppf(0.975))) == pytest.approx(
        (expected.low, expected.high)
    )


def test_the_same_seed_gives_the_same_numbers(
    reference: Reference, real: Panel, ctx: RunContext, tmp_path: Path
) -> None:
    first, again = (measure(reference, real, ctx) for _ in range(2))
    assert first.measurements == again.measurements
    other = measure(reference, real, replace(ctx, seed=9))
    assert number(other, "effect_correlation") != number(first, "effect_correlation")


def test_without_training_people_nothing_stands_for_real_panels(
    reference: Reference, ctx: RunContext
) -> None:
    """Real panels would be tested on themselves, and strangers would seem to find less."""
    itself = Reference(reference.holdout, reference.holdout)
    found = measure(itself, some_people(reference.train, N, 1), ctx)
    for name in ("effect_correlation", "power", "credible_size"):
        assert number(found, name) > 0
        ratio = found.measurements[f"{name}_ratio"]
        assert isinstance(ratio, Measurement)
        assert ratio.value is None
        assert "no training people" in ratio.note
