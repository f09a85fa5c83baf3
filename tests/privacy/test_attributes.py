"""Attribute inference against brute force and scikit-learn, and its controls."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import permutation_test
from sklearn.metrics import balanced_accuracy_score

from haplobench import Measurement, Reference
from haplobench.testing import example_context, example_panel
from haplobench_privacy.attributes import (
    STRATA,
    Hidden,
    _Accuracy,
    _difference,
    _judge,
    attribute_inference,
)
from haplobench_privacy.specs.attacks import AttributeParams


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
