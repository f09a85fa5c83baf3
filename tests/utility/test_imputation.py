"""Imputation and augmentation: by hand, on panels whose answer is known, and at the edges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from haplobench import Measurement, MetricResult, Panel, Reference, RunContext, SampleRequest
from haplobench.data.split import split_panel
from haplobench.datasets import EmbeddedParams
from haplobench.datasets.embedded import Embedded
from haplobench.plugin.metrics import apply_metric
from haplobench.registry import load_registry, resolve
from haplobench.runner.floor import floor_cohort
from haplobench.testing import example_context, example_panel
from haplobench_utility.imputation import SiteSums, typed_sites
from haplobench_utility.specs_studies import AUGMENTATION, IMPUTATION, ImputationParams

METRICS = {spec.name: spec for spec in (IMPUTATION, AUGMENTATION)}


@pytest.fixture(scope="module")
def reference() -> Reference:
    panel = example_panel(200, 400, seed=3)
    people = np.arange(200)
    return Reference(panel.select_samples(people[:140]), panel.select_samples(people[140:]))


@pytest.fixture
def ctx(tmp_path: Path, reference: Reference) -> RunContext:
    return example_context(tmp_path, reference.train)


def measure(
    name: str, reference: Reference, cohort: Panel, ctx: RunContext, **params: Any
) -> MetricResult:
    spec = METRICS[name]
    result: MetricResult = apply_metric(
        spec, resolve(spec.target), reference, cohort, spec.params(**params), ctx
    )
    return result


def one(result: MetricResult, name: str, **labels: str) -> Measurement:
    found = result.measurements[name]
    every: Sequence[Measurement] = [found] if isinstance(found, Measurement) else found
    (match,) = [m for m in every if dict(m.labels) == labels]
    return match


def value(result: MetricResult, name: str, **labels: str) -> float:
    found = one(result, name, **labels).value
    assert found is not None
    return found


def drawn_by_site(reference: Reference, n: int) -> Panel:
    rng = np.random.default_rng(1)
    alleles = rng.random((n, reference.train.n_sites)) < reference.train.frequencies
    return reference.train.with_haplotypes(alleles.astype(np.int8))


# --- sums and sites ---------------------------------------------------------------------------


def test_sums_against_numpy_site_by_site() -> None:
    rng = np.random.default_rng(0)
    truth = (rng.random((40, 30)) < 0.3).astype(np.int8)
    imputed = np.clip(truth * 0.7 + rng.random((40, 30)) * 0.3, 0, 1).astype(np.float32)
    truth[:, 0] = 1
    imputed[:, 1] = 0.25
    sums = SiteSums.of(imputed[:20], truth[:20], 2) + SiteSums.of(imputed[20:], truth[20:], 2)
    x = imputed.astype(np.float64).reshape(20, 2, 30).sum(axis=1)
    y = truth.reshape(20, 2, 30).sum(axis=1)
    r = np.array([np.corrcoef(x[:, i], y[:, i])[0, 1] for i in range(2, 30)])
    np.testing.assert_allclose(sums.r2[2:], r**2, rtol=1e-6)
    assert sums.r2[0] == sums.r2[1] == 0
    assert sums.varies.tolist() == [False] + [True] * 29
    assert sums.aggregate_r2 == pytest.approx(np.corrcoef(x.ravel(), y.ravel())[0, 1] ** 2)
    within = (x - x.mean(axis=0)).ravel(), (y - y.mean(axis=0)).ravel()
    assert sums.slope == pytest.approx(np.polyfit(*within, 1)[0])
    p = imputed.astype(np.float64).mean(axis=0)
    expected = imputed.astype(np.float64).var(axis=0) / (p * (1 - p))
    np.testing.assert_allclose(sums.estimated_r2, expected, rtol=1e-5, atol=1e-9)
    called = np.rint(x)
    either = (called > 0) | (y > 0)
    assert sums.wrong.sum() == (called != y).sum()
    assert sums.counted.sum() == either.sum()


def test_an_array_is_even_and_common() -> None:
    rng = np.random.default_rng(0)
    positions = np.sort(rng.choice(np.arange(1, 1_000_000), 2000, replace=False))
    maf = rng.beta(0.4, 2, 2000) / 2
    typed = typed_sites(positions, maf, ImputationParams())
    assert typed.size == 200
    assert (maf[typed] >= 0.05).all()
    # A site drawn at random among common ones would leave gaps of some 6 times the mean.
    gaps = np.diff(positions[typed])
    assert gaps.max() < 3.2 * gaps.mean()
    assert (np.diff(typed) > 0).all()
    few = typed_sites(positions, np.where(np.arange(2000) < 50, 0.2, 0.01), ImputationParams())
    assert few.tolist() == list(range(50))


def test_random_sites_are_drawn_by_their_seed() -> None:
    maf = np.where(np.arange(300) % 3 == 0, 0.0, 0.01)
    drawn = [
        typed_sites(np.arange(1, 301), maf, ImputationParams(typed="random", typed_seed=seed))
        for seed in (0, 0, 1)
    ]
    assert drawn[0].tolist() == drawn[1].tolist() != drawn[2].tolist()
    assert drawn[0].size == 30
    assert (maf[drawn[0]] > 0).all()


# --- what is known of cohorts -----------------------------------------------------------------


def test_held_out_people_impute_themselves(reference: Reference, ctx: RunContext) -> None:
    cohort = reference.train.with_haplotypes(
        reference.holdout.haplotypes,
        population=reference.holdout.population,
        superpopulation=reference.holdout.superpopulation,
    )
    result = measure("imputation", reference, cohort, ctx)
    assert value(result, "r2") > 0.95
    assert value(result, "r2_ratio") > 1.05
    assert value(result, "discordance") < 0.03
    assert {dict(m.labels)["superpopulation"] for m in result.measurements["r2_by_superpopulation"]} == {"AFR", "EUR"}  # type: ignore[union-attr]  # noqa: E501  # fmt: skip


def test_sites_drawn_one_by_one_impute_little(reference: Reference, ctx: RunContext) -> None:
    cohort = drawn_by_site(reference, reference.holdout.n_haplotypes)
    result = measure("imputation", reference, cohort, ctx)
    assert value(result, "r2") < 0.3
    ratio = one(result, "r2_ratio")
    assert ratio.high is not None
    assert ratio.high < 0.5
    assert value(result, "calibration_slope") < 0.5
    # It has frequencies right, and that is what the aggregate shows.
    common = value(result, "aggregate_r2", maf="0.05-0.5")
    assert common > value(result, "r2_by_maf", maf="0.05-0.5") + 0.1
    gain = one(measure("augmentation", reference, cohort, ctx), "gain")
    assert gain.high is not None
    assert gain.high < 0


def test_a_collapsed_cohort_imputes_nothing(reference: Reference, ctx: RunContext) -> None:
    everyone = np.repeat(reference.train.haplotypes[:1], 40, axis=0)
    result = measure("imputation", reference, reference.train.with_haplotypes(everyone), ctx)
    assert value(result, "r2") == 0
    assert one(result, "calibration_slope").value is None
    one_person = measure(
        "imputation", reference, reference.train.select_samples(np.array([0])), ctx
    )
    assert 0 < value(one_person, "r2") < value(one_person, "r2_ratio") < 1.5


@pytest.mark.parametrize("changed", ["haploid", "unlabelled"])
def test_haploid_and_unlabelled_people(changed: str, reference: Reference, ctx: RunContext) -> None:
    def change(panel: Panel) -> Panel:
        if changed == "haploid":
            return panel.as_haploid()
        return panel.with_haplotypes(panel.haplotypes, samples=panel.samples)

    real = Reference(change(reference.train), change(reference.holdout))
    cohort = change(reference.train.select_samples(np.arange(60)))
    result = measure("imputation", real, cohort, ctx)
    assert value(result, "r2_ratio") == pytest.approx(1, abs=0.1)
    assert value(measure("augmentation", real, cohort, ctx), "gain") > 0
    if changed == "unlabelled":
        assert "no superpopulations" in one(result, "r2_by_superpopulation").note


def test_missing_alleles_cost_their_sites(reference: Reference, ctx: RunContext) -> None:
    cohort = reference.train.select_samples(np.arange(60))
    alleles = cohort.haplotypes.copy()
    alleles[5, 100:150] = -1
    holed = replace(cohort, haplotypes=alleles)
    result = one(measure("imputation", reference, holed, ctx), "r2")
    assert "50 sites with missing alleles left out" in result.note
    left = np.setdiff1d(np.arange(400), np.arange(100, 150))
    without = Reference(reference.train.select_sites(left), reference.holdout.select_sites(left))
    expected = measure("imputation", without, cohort.select_sites(left), ctx)
    assert result.value == value(expected, "r2")
    alleles[5] = -1
    result = one(measure("imputation", reference, replace(cohort, haplotypes=alleles), ctx), "r2")
    assert result.value is None
    assert result.note.startswith("0 sites without missing alleles")


def test_sites_that_never_vary(reference: Reference, ctx: RunContext) -> None:
    def fixed(panel: Panel) -> Panel:
        return replace(panel, haplotypes=np.zeros_like(panel.haplotypes))

    real = Reference(fixed(reference.train), fixed(reference.holdout))
    for name in METRICS:
        result = measure(name, real, fixed(reference.train), ctx)
        for measurement in result.measurements.values():
            assert isinstance(measurement, Measurement)
            assert measurement.value is None
            assert measurement.note


def test_more_people_than_are_taken_are_said(reference: Reference, ctx: RunContext) -> None:
    train = reference.train
    large = train.with_haplotypes(np.concatenate([train.haplotypes, train.haplotypes]))
    result = one(measure("imputation", reference, large, ctx, max_people=20), "r2_ratio")
    assert "140 of 280 people of the cohort" in result.note
    assert "20 of 60 held-out people" in result.note
    assert "without interval" in result.note
    assert result.low is None
    cut = one(measure("imputation", reference, train, ctx, max_sites=100), "r2")
    assert "the middle 100 of 400 sites" in cut.note
    assert (
        "no recombination map"
        in one(
            measure("imputation", reference, train, replace(ctx, recombination_map=None)), "r2"
        ).note
    )


def test_without_training_people_nothing_stands_for_real_panels(
    reference: Reference, ctx: RunContext
) -> None:
    """`bench evaluate` without --train has the held-out people on both sides."""
    real = Reference(reference.holdout, reference.holdout)
    result = measure("imputation", real, reference.train.select_samples(np.arange(80)), ctx)
    assert value(result, "r2") > 0.15
    assert one(result, "r2").note.startswith("160 synthetic haplotypes")
    ratio = one(result, "r2_ratio")
    assert ratio.value is None
    assert "no training people" in ratio.note
    gain = one(measure("augmentation", real, reference.train, ctx), "gain")
    assert gain.value is None
    assert "no training people" in gain.note


def test_one_population_is_augmented_by_its_own(reference: Reference, ctx: RunContext) -> None:
    cohort = reference.train.select_samples(np.arange(60))
    result = measure("augmentation", reference, cohort, ctx, population="YRI", people=10)
    gain = one(result, "gain")
    assert gain.note.startswith("10 real and 30 synthetic people of YRI")
    assert gain.value == pytest.approx(value(result, "r2_with") - value(result, "r2_alone"))
    assert result.series["curve"]["added"].tolist() == [0, 10, 30]
    nobody = one(measure("augmentation", reference, cohort, ctx, population="CHB"), "gain")
    assert nobody.value is None
    assert "of CHB" in nobody.note


def test_real_panels_have_ratios_of_one(reference: Reference, ctx: RunContext) -> None:
    """50 draws of real people: unbiased, and 1 is inside nineteen of twenty intervals or so."""
    ratios, inside = [], 0
    for draw in range(50):
        real, cohort = floor_cohort(reference.train, reference.holdout, "train", draw, 1, people=30)
        ratio = one(measure("imputation", real, cohort, ctx), "r2_ratio")
        assert ratio.value is not None
        assert ratio.low is not None
        assert ratio.high is not None
        ratios.append(ratio.value)
        inside += ratio.low <= 1 <= ratio.high
    error = np.std(ratios, ddof=1) * (1 / 50 + 1 / 10) ** 0.5
    assert np.mean(ratios) == pytest.approx(1, abs=3 * error)
    assert inside >= 41


def test_specs_are_light_and_named() -> None:
    metrics = load_registry(["haplobench_utility"]).metrics
    assert set(METRICS) <= set(metrics)
    assert [need.missing() for need in ImputationParams(engine="own").needed()] == []
    needs = ImputationParams(engine="minimac4").needed()
    assert {getattr(need, "name", "") for need in needs} == {"minimac4", "pysam"}


@pytest.mark.slow
def test_controls_and_mosaics_on_real_people(tmp_path: Path) -> None:
    """The package's panel: copies and mosaics are at the floor, sites drawn one by one aren't.

    Each generator as a suite would have it, a cohort of the held-out people's number.
    """
    dataset = Embedded().load(EmbeddedParams(region="20:1000000-2500000"), None)  # type: ignore[arg-type]
    split = split_panel(dataset.panel, 0.2)
    train = dataset.panel.select_samples(split.train)
    common = train.common_sites(0.01)
    holdout = dataset.panel.select_samples(split.holdout).select_sites(common)
    real = Reference(train.select_sites(common), holdout)
    ctx = RunContext(1, tmp_path, tmp_path, recombination_map=dataset.recombination_map)
    generators = load_registry(["haplobench_baselines"]).generators

    def cohort(name: str) -> Panel:
        spec = generators[name]
        fitted = resolve(spec.target)().fit(real.train, spec.params(), ctx)
        request = SampleRequest(holdout.n_haplotypes, populations=holdout.haplotype_populations)
        alleles = np.concatenate(list(fitted.sample(request, ctx)))
        return real.train.with_haplotypes(
            alleles, population=holdout.population, superpopulation=holdout.superpopulation
        )

    found = {
        name: (
            one(measure("imputation", real, cohort(name), ctx), "r2_ratio"),
            value(measure("augmentation", real, cohort(name), ctx), "gain"),
        )
        for name in ("copycat", "li-stephens", "independent")
    }
    floor = [
        value(measure("augmentation", *floor_cohort(*panels, "train", draw, 1), ctx), "gain")
        for draw in range(3)
        for panels in [(real.train, real.holdout)]
    ]
    for name in ("copycat", "li-stephens"):
        ratio, gain = found[name]
        assert ratio.value == pytest.approx(1, abs=0.06)
        assert gain > 0.5 * min(floor) > 0
    assert found["copycat"][0].value == pytest.approx(1, abs=0.03)
    ratio, gain = found["independent"]
    assert ratio.value is not None
    assert ratio.value < 0.3
    assert gain < 0
