"""Private hidden Markov model: its gradient, what a person may move, noise as wide as claimed."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from peer_cases import clusters, context, fitted, gaussian_epsilon, panel, sampled

from haplobench.noise import NoiseSource
from haplobench_peers.private_hmm import Chain, nearest_probabilities

CHAIN = Chain.random(5, 2, 3, np.random.default_rng(4))


def log_likelihood(logs, alleles):
    """Over all paths of CHAIN's states, with probabilities from log odds `logs`."""

    def softmax(values):
        odds = np.exp(values)
        return odds / odds.sum(axis=-1, keepdims=True)

    start, moves = softmax(logs[:3]), softmax(logs[3:21].reshape(2, 3, 3))
    ones = 1 / (1 + np.exp(-logs[21:].reshape(5, 3)))
    chances = np.where(np.array(alleles)[:, None] == 1, ones, 1 - ones)
    whole = 0.0
    for path in product(range(3), repeat=3):
        chance = start[path[0]] * moves[0][path[:2]] * moves[1][path[1:]]
        whole += chance * np.prod([chances[site, path[site // 2]] for site in range(5)])
    return math.log(whole)


def test_gradient_is_the_slope_of_the_likelihood_of_all_paths():
    alleles = np.array([[1, 0, 0, 1, 1], [0, 0, 1, 1, 0]], np.int8)
    odds = np.log(CHAIN.alleles / (1 - CHAIN.alleles))
    logs = np.concatenate([np.log(CHAIN.start), np.log(CHAIN.moves).ravel(), odds.ravel()])
    slopes = [
        sum(
            log_likelihood(logs + nudge, row) - log_likelihood(logs - nudge, row) for row in alleles
        )
        / 2e-5
        for nudge in 1e-5 * np.eye(logs.size)
    ]
    step = 2.0**-30
    summed = CHAIN.clipped_gradient(alleles, 2, 1e3, step)
    np.testing.assert_allclose(summed * step, slopes, atol=1e-6)


@pytest.mark.parametrize("ploidy", [1, 2])
def test_a_person_moves_the_sum_by_no_more_than_the_clip(ploidy):
    alleles = np.random.default_rng(1).integers(0, 2, (40, 5)).astype(np.int8)
    clip, step = 0.4, 1e-6
    whole = CHAIN.clipped_gradient(alleles, ploidy, clip, step)
    moved = [
        np.linalg.norm(
            whole
            - CHAIN.clipped_gradient(
                np.delete(alleles, range(first, first + ploidy), axis=0), ploidy, clip, step
            )
        )
        for first in range(0, 40, ploidy)
    ]
    assert max(moved) <= clip / step
    assert max(moved) > 0.999 * clip / step


@pytest.mark.parametrize("epsilon", [0.5, 8.0])
def test_noise_is_as_wide_as_claimed(epsilon, tmp_path, monkeypatch):
    asked = []

    def silent(self, deviation, n):
        asked.append((deviation, n))
        return np.zeros(n, np.int64)

    monkeypatch.setattr(NoiseSource, "discrete_gaussian", silent)
    train = panel(clusters(400, 30)[0])
    ctx = context(tmp_path)
    model = fitted("dp-hmm", train, ctx, epsilon=epsilon, delta=1e-6, iterations=5, clip=2.0)
    statement = model.privacy_statement()
    (charge,) = statement.charges
    # Five Gaussian mechanisms of one multiplier are one of a root of five less.
    assert charge.steps == len(asked) == 5
    assert gaussian_epsilon(charge.noise_multiplier / math.sqrt(5), 1e-6) == pytest.approx(
        epsilon, rel=1e-4
    )
    size = model.chain.size
    assert {n for _, n in asked} == {size}
    # In steps of a millionth of the clip, shared out among the numbers.
    steps = 2**20 * math.sqrt(size)
    assert asked[0][0] == pytest.approx(charge.noise_multiplier * steps, rel=1e-6)
    assert (statement.epsilon, statement.unit) == (epsilon, "person")
    assert (statement.noise_source, statement.n_records) == ("entropy", train.n_samples)


def test_no_two_fits_share_their_noise(tmp_path):
    train, ctx = panel(clusters(60, 12)[0]), context(tmp_path)
    first, second = (fitted("dp-hmm", train, ctx, epsilon=1.0) for _ in range(2))
    assert not np.array_equal(first.chain.alleles, second.chain.alleles)
    assert np.array_equal(sampled(first, ctx, 20), sampled(first, ctx, 20))


def test_sites_of_a_cluster_go_together(tmp_path):
    alleles, _ = clusters(800, 24)
    ctx = context(tmp_path)
    params = {"states": 8, "iterations": 25, "window": 4}
    drawn = sampled(fitted("dp-hmm", panel(alleles), ctx, **params), ctx, 4000)
    real, made = (np.corrcoef(rows.T)[np.triu_indices(24, 1)] for rows in (alleles, drawn))
    assert np.corrcoef(real, made)[0, 1] > 0.9
    assert np.abs(drawn.mean(axis=0) - alleles.mean(axis=0)).max() < 0.05


def test_states_are_fewer_the_more_noise_there_is(tmp_path):
    train, ctx = panel(clusters(2000, 64)[0]), context(tmp_path)
    states = [
        fitted("dp-hmm", train, ctx, epsilon=epsilon, states=None).chain.start.size
        for epsilon in (0.1, 8.0, math.inf)
    ]
    assert states[0] == 2
    assert states[1] > 2
    assert states[2] == 12


def test_a_killed_fit_goes_on(tmp_path):
    train = panel(clusters(60, 12)[0])
    whole = fitted("dp-hmm", train, context(tmp_path), iterations=4)
    kept = tmp_path / "kept"
    kept.mkdir()

    def killer(share: float, words: str) -> None:
        if share == 0.5:
            raise InterruptedError

    ctx = context(tmp_path, checkpoint=kept)
    with pytest.raises(InterruptedError):
        fitted("dp-hmm", train, replace(ctx, progress=killer), iterations=4)
    seen: list[float] = []
    again = replace(ctx, progress=lambda share, words: seen.append(share))
    resumed = fitted("dp-hmm", train, again, iterations=4)
    assert seen == [0.75, 1.0]
    assert np.array_equal(resumed.chain.alleles, whole.chain.alleles)


def test_rows_become_the_nearest_probabilities():
    rows = nearest_probabilities(np.array([[0.6, 0.6, -0.4], [2.0, 0.0, 0.0]]), 0.0)
    np.testing.assert_allclose(rows, [[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])
