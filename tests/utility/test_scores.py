"""Polygenic scores: weights against scikit-learn, real people at the floor, controls that fail."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from trait_panels import fair_coins, number, shuffled_sites, some_people, split_panel

from haplobench import Measurement, MetricResult, Panel, Reference, RunContext
from haplobench.testing import example_context
from haplobench_utility.scores import best_linear_prediction, polygenic_scores
from haplobench_utility.specs_studies import ScoreParams

N = 100


@pytest.fixture(scope="module")
def reference() -> Reference:
    return split_panel(400, N)


@pytest.fixture(scope="module")
def ctx(reference: Reference, tmp_path_factory: pytest.TempPathFactory) -> RunContext:
    return example_context(tmp_path_factory.mktemp("scores"), reference.train)


@pytest.fixture(scope="module")
def real(reference: Reference) -> Panel:
    return some_people(reference.train, N, 1)


def measure(reference: Reference, cohort: Panel, ctx: RunContext, **params: Any) -> MetricResult:
    return polygenic_scores(reference, cohort, ScoreParams(**({"n_traits": 50} | params)), ctx)


@pytest.mark.parametrize("n_sites", [300, 60])
def test_weights_are_ridge_regressions(reference: Reference, n_sites: int) -> None:
    from sklearn.linear_model import Ridge

    panel = some_people(reference.train, 120, 5).select_sites(np.arange(n_sites))
    rng = np.random.default_rng(0)
    y = rng.normal(size=(120, 2)) + panel.dosages()[:, [7]]
    p = panel.frequencies
    varying = (p > 0) & (p < 1)
    scale = np.sqrt(p * (1 - p))[varying]
    z = (panel.dosages() - 2 * p)[:, varying] / scale
    # The relationship matrix' mean diagonal is 1: h² of the variance is then all sites' together.
    penalty = (z**2).sum() / 120 * (1 - 0.4) / 0.4
    expected = Ridge(alpha=penalty).fit(z, y).coef_.T / scale[:, None]
    found = best_linear_prediction(panel, y, 0.4).values
    np.testing.assert_allclose(found[varying], expected, rtol=1e-6, atol=1e-9)
    assert (found[~varying] == 0).all()


def test_real_people_are_at_the_floor_and_cohorts_without_ld_teach_little(
    reference: Reference, real: Panel, ctx: RunContext
) -> None:
    floor = measure(reference, real, ctx)
    assert number(floor, "r2_ratio") == pytest.approx(1, abs=0.1)
    assert number(floor, "r2") > 0.2
    assert number(floor, "portability_ratio") == pytest.approx(1, abs=0.25)
    for cohort in (shuffled_sites(real), fair_coins(real)):
        lost = measure(reference, cohort, ctx)
        assert number(lost, "r2_ratio") < 0.6
    flat = measure(reference, real.with_haplotypes(np.zeros_like(real.haplotypes)), ctx)
    assert number(flat, "r2_ratio") == 0


@pytest.mark.slow
def test_real_against_real_is_one(reference: Reference, ctx: RunContext) -> None:
    ratios: dict[str, list[float]] = {}
    for seed in range(50):
        found = measure(reference, some_people(reference.train, N, 100 + seed), ctx)
        for name in ("r2_ratio", "portability_ratio"):
            ratios.setdefault(name, []).append(number(found, name))
    for name, each in ratios.items():
        low, high = np.quantile(each, [0.05, 0.95])
        assert low < 1 < high, (name, low, high)
        error = np.std(each) * (1 / 50 + 1 / ScoreParams().n_panels) ** 0.5
        assert abs(np.mean(each) - 1) < 3 * error, (name, np.mean(each), error)


def test_accuracy_is_the_squared_correlation_given_superpopulation(
    reference: Reference, real: Panel, ctx: RunContext
) -> None:
    from haplobench_utility.association import simulate_traits

    params = ScoreParams(n_traits=3)
    found = measure(reference, real, ctx, n_traits=3)
    traits = simulate_traits(reference.train, params, 3, params.n_causal)
    values = traits.values(real, ctx.rng("scores", real.digest))
    scores = best_linear_prediction(real, values, params.h2).scores(reference.holdout)
    truth = traits.genetic_values(reference.holdout)
    names = np.unique(reference.holdout.superpopulation)
    dummies = (reference.holdout.superpopulation[:, None] == names).astype(float)
    given = [
        side - dummies @ np.linalg.lstsq(dummies, side, rcond=None)[0] for side in (truth, scores)
    ]
    r = np.array([np.corrcoef(*pair)[0, 1] for pair in zip(given[0].T, given[1].T, strict=True)])
    assert number(found, "r2") == pytest.approx(float((r * np.abs(r)).mean()), rel=1e-6)
    by_name = found.measurements["r2_by_superpopulation"]
    assert not isinstance(by_name, Measurement)
    assert [one.labels["superpopulation"] for one in by_name] == names.tolist()
    here = reference.holdout.superpopulation == names[0]
    r = np.array([np.corrcoef(truth[here, i], scores[here, i])[0, 1] for i in range(3)])
    assert by_name[0].value == pytest.approx(float((r * np.abs(r)).mean()), rel=1e-6)


def test_portability_needs_superpopulations(
    reference: Reference, real: Panel, ctx: RunContext
) -> None:
    empty = np.full(N, "")
    unlabelled = replace(real, superpopulation=empty, population=empty)
    found = measure(reference, unlabelled, ctx)
    for name in ("portability", "portability_ratio"):
        one = found.measurements[name]
        assert isinstance(one, Measurement)
        assert one.value is None
        assert "fewer than two superpopulations" in one.note
    assert number(found, "r2_ratio") == pytest.approx(1, abs=0.1)


def test_what_cannot_be_measured_says_why(
    reference: Reference, real: Panel, ctx: RunContext
) -> None:
    for one in measure(reference, real.select_samples([0]), ctx).measurements.values():
        assert isinstance(one, Measurement)
        assert one.value is None
        assert "too few people" in one.note


def test_without_training_people_nothing_stands_for_real_panels(
    reference: Reference, ctx: RunContext
) -> None:
    """Real panels would be tested on themselves, and strangers would seem to teach less."""
    itself = Reference(reference.holdout, reference.holdout)
    found = measure(itself, some_people(reference.train, N, 1), ctx)
    for name in ("r2", "portability"):
        assert number(found, name) > 0
        ratio = found.measurements[f"{name}_ratio"]
        assert isinstance(ratio, Measurement)
        assert ratio.value is None
        assert "no training people" in ratio.note
    by_name = found.measurements["r2_ratio_by_superpopulation"]
    assert isinstance(by_name, list)
    assert {one.labels["superpopulation"]: one.value for one in by_name} == dict.fromkeys(
        ("AFR", "EUR")
    )
