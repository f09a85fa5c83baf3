"""Adversarial accuracy against scikit-learn's neighbours, and the kin of made-up relatives."""

from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from haplobench import Measurement, Panel, Reference, RunContext
from haplobench.testing import example_context, example_panel
from haplobench_privacy.cohorts import cohorts
from haplobench_privacy.neighbours import (
    adversarial_accuracies,
    adversarial_accuracy,
    error_of_people,
    kinship,
    privacy_loss,
)
from haplobench_privacy.specs_distances import DistanceParams


@pytest.fixture
def ctx(tmp_path: Path) -> RunContext:
    return RunContext(seed=1, artifacts=tmp_path, scratch=tmp_path)


def parts(real: NDArray[np.int8], synthetic: NDArray[np.int8], tie: float) -> tuple[float, float]:
    """Both parts at equal numbers, through scikit-learn."""

    def nearest(a: NDArray[np.int8], b: NDArray[np.int8], own: bool) -> NDArray[np.float64]:
        finder = NearestNeighbors(n_neighbors=1, metric="manhattan", algorithm="brute").fit(b)
        found, _ = finder.kneighbors(None if own else a)
        return np.rint(found[:, 0])

    def share(other: NDArray[np.float64], own: NDArray[np.float64]) -> float:
        return float(((other > own) + tie * (other == own)).mean())

    return (
        share(nearest(real, synthetic, False), nearest(real, real, True)),
        share(nearest(synthetic, real, False), nearest(synthetic, synthetic, True)),
    )


def panels(
    n_train: int, n_holdout: int, n_synthetic: int, seed: int, n_sites: int = 40
) -> list[Panel]:
    panel = example_panel(n_train + n_holdout + n_synthetic, n_sites=n_sites, seed=seed)
    cuts = np.cumsum([0, n_train, n_holdout, n_synthetic])
    return [panel.select_samples(np.arange(a, b)) for a, b in pairwise(cuts)]


def values(measured: object) -> float:
    assert isinstance(measured, Measurement)
    assert measured.value is not None
    return measured.value


@pytest.mark.parametrize("seed", range(4))
def test_equal_numbers_are_scikit_learns(seed: int, ctx: RunContext) -> None:
    train, holdout, synthetic = panels(30, 25, 25, seed)
    result = adversarial_accuracies(Reference(train, holdout), synthetic, DistanceParams(), ctx)
    found = result.measurements
    half = parts(holdout.haplotypes, synthetic.haplotypes, 0.5)
    strict = parts(holdout.haplotypes, synthetic.haplotypes, 0.0)
    assert half != strict  # the sites are few enough for ties
    assert [values(found[name]) for name in ("aa_truth", "aa_syn")] == pytest.approx(half)
    assert [values(found[name]) for name in ("aa_truth_strict", "aa_syn_strict")] == pytest.approx(
        strict
    )


@pytest.mark.parametrize(("n_real", "n_synthetic"), [(3, 5), (5, 3), (2, 4)])
def test_unequal_numbers_are_the_mean_over_all_subsamples(
    n_real: int, n_synthetic: int, ctx: RunContext
) -> None:
    _, real, synthetic = panels(4, n_real, n_synthetic, 7, n_sites=12)
    data = cohorts(Reference(real, real), synthetic, 100, ctx)
    found = adversarial_accuracy(data, real)
    size = min(real.n_haplotypes, synthetic.n_haplotypes)

    def expected(tie: float) -> NDArray[np.float64]:
        drawn = [
            parts(real.haplotypes[list(a)], synthetic.haplotypes[list(b)], tie)
            for a in combinations(range(real.n_haplotypes), size)
            for b in combinations(range(synthetic.n_haplotypes), size)
        ]
        return np.mean(drawn, axis=0)

    assert found.size == size
    assert [found.truth.mean(), found.synthetic.mean()] == pytest.approx(list(expected(0.5)))
    assert [found.truth_strict.mean(), found.synthetic_strict.mean()] == pytest.approx(
        list(expected(0.0))
    )


def test_privacy_loss_of_a_copy_is_a_half_and_of_unseen_people_none(ctx: RunContext) -> None:
    train, holdout, unseen = panels(150, 150, 150, 3, n_sites=300)
    loss = {}
    for name, people in (("copy", train), ("unseen", unseen)):
        result = privacy_loss(
            Reference(train, holdout),
            train.with_haplotypes(people.haplotypes),
            DistanceParams(),
            ctx,
        )
        loss[name] = result.measurements["privacy_loss"]
    assert values(loss["copy"]) == pytest.approx(0.5, abs=0.06)
    assert abs(values(loss["unseen"])) < 0.08
    error = loss["unseen"].standard_error  # type: ignore[union-attr]
    assert error is not None
    assert 0.005 < error < 0.06


def test_the_error_by_real_people_is_the_jackknifes(ctx: RunContext) -> None:
    train, holdout, unseen = panels(20, 12, 25, 3, n_sites=40)
    data = cohorts(Reference(train, holdout), unseen, 1000, ctx)
    for real in (data.train, data.holdout):
        people = np.repeat(np.arange(real.n_samples), 2)
        left_out = [
            parts(real.haplotypes[people != person], unseen.haplotypes, 0.5)[1]
            for person in range(real.n_samples)
        ]
        expected = np.sqrt((real.n_samples - 1) * np.var(left_out))
        assert error_of_people(data, real) == pytest.approx(expected)
        assert expected > 0


def test_a_copy_of_a_part_scores_its_share(ctx: RunContext) -> None:
    train, holdout = panels(200, 50, 2, 5, n_sites=300)[:2]
    result = privacy_loss(
        Reference(train, holdout), train.select_samples(np.arange(0, 200, 4)), DistanceParams(), ctx
    )
    # n of N copied: n / 2N, here 1/8.
    assert values(result.measurements["privacy_loss"]) == pytest.approx(0.125, abs=0.06)


def child(panel: Panel, i: int, j: int) -> NDArray[np.int8]:
    """The two haplotypes of a child of two people, without recombination."""
    return panel.haplotypes[[2 * i, 2 * j]]


def test_children_of_training_people_are_first_degree(tmp_path: Path) -> None:
    panel = example_panel(240, n_sites=1500, seed=9)
    train, holdout = (panel.select_samples(part) for part in np.split(np.arange(240), [160]))
    pairs = np.arange(160).reshape(-1, 2)
    children = np.concatenate([child(train, int(i), int(j)) for i, j in pairs])
    result = kinship(
        Reference(train, holdout),
        train.with_haplotypes(children),
        DistanceParams(),
        example_context(tmp_path, train),
    )
    found = {name: one.value for name, one in result.measurements.items()}  # type: ignore[union-attr]
    assert found["duplicates"] < 0.2
    assert found["first_degree"] > 0.75
    assert found["closer_than_unseen"] > 0.9  # type: ignore[operator]
