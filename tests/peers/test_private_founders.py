"""Private founders: what a person may move, noise as wide as claimed, LD for few people."""

from __future__ import annotations

import math

import msprime
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from peer_cases import clusters, context, fitted, gaussian_epsilon, panel, sampled

from haplobench.noise import NoiseSource
from haplobench_peers import FoundersParams, private_founders
from haplobench_peers.common import Budget
from haplobench_peers.private_founders import (
    Moments,
    person_sum,
    posterior_frequencies,
    with_frequency,
)

VALUES = st.floats(-1e6, 1e6, allow_subnormal=False)
NO_NOISE = FoundersParams(epsilon=math.inf)


@given(arrays(float, (5, 7), elements=VALUES), st.floats(1e-3, 1e3), st.integers(0, 4))
def test_a_person_moves_a_sum_by_no_more_than_the_clip(vectors, clip, who):
    whole, step = person_sum(iter(vectors), 7, clip)
    without, same = person_sum(iter(np.delete(vectors, who, axis=0)), 7, clip)
    assert step == same
    assert np.linalg.norm(whole - without) <= clip / step


@pytest.mark.parametrize("ploidy", [1, 2])
def test_moments_are_those_of_all_pairs_up_to_the_reach(ploidy, monkeypatch):
    # Nobody is cut.
    monkeypatch.setattr(private_founders, "_FREQUENCY_CLIP", 2.0)
    monkeypatch.setattr(private_founders, "_MOMENT_CLIP", 20.0)
    train = panel(np.random.default_rng(2).integers(0, 2, (20, 11)), ploidy=ploidy)
    moments = Moments.of(train, 4, Budget.of(train, NO_NOISE, "dp-founders"))
    less = train.haplotypes - moments.frequencies
    products = less.T @ less
    for first in range(11):
        for second in range(first, 11):
            if first // 4 == second // 4:
                found = moments.inside[first // 4, first % 4, second % 4]
            elif second // 4 == first // 4 + 1 and second - first <= 4:
                found = moments.across[first // 4, first % 4, second % 4]
            else:
                continue
            assert found == pytest.approx(products[first, second], abs=1e-3)
    assert np.count_nonzero(moments.across[0]) == 10
    # Without noise the frequencies are the counted ones, to a step of the grid.
    np.testing.assert_allclose(moments.frequencies, train.frequencies, atol=0.01)
    assert moments.haplotypes == pytest.approx(20, rel=0.05)


@pytest.mark.parametrize("epsilon", [0.5, 8.0])
def test_noise_is_as_wide_as_claimed(epsilon, tmp_path, monkeypatch):
    asked = []

    def silent(self, deviation, n):
        asked.append((deviation, n))
        return np.zeros(n, np.int64)

    monkeypatch.setattr(NoiseSource, "discrete_gaussian", silent)
    train = panel(clusters(400, 30)[0])
    model = fitted("dp-founders", train, context(tmp_path), epsilon=epsilon, delta=1e-6)
    statement = model.privacy_statement()
    multipliers = [charge.noise_multiplier for charge in statement.charges]
    # Gaussian mechanisms one after the other: precisions add up.
    together = sum(1 / multiplier**2 for multiplier in multipliers) ** -0.5
    assert gaussian_epsilon(together, 1e-6) == pytest.approx(epsilon, rel=1e-4)
    # 30 alleles and their witness; in four blocks of 8 sites, pairs inside and across.
    assert [n for _, n in asked] == [31, 4 * 36 + 3 * 36]
    for (deviation, n), multiplier in zip(asked, multipliers, strict=True):
        # In steps of a millionth of the clip, shared out among the numbers.
        assert deviation == pytest.approx(multiplier * 2**20 * math.sqrt(n), rel=1e-6)
    assert (statement.epsilon, statement.unit) == (epsilon, "person")
    assert (statement.noise_source, statement.n_records) == ("entropy", train.n_samples)


def test_no_two_fits_share_their_noise(tmp_path):
    train, ctx = panel(clusters(60, 12)[0]), context(tmp_path)
    first, second = (fitted("dp-founders", train, ctx, epsilon=1.0) for _ in range(2))
    assert not np.array_equal(first.alleles, second.alleles)
    assert np.array_equal(sampled(first, ctx, 20), sampled(first, ctx, 20))


def test_without_noise_a_fit_is_repeatable(tmp_path):
    train, ctx = panel(clusters(60, 12)[0]), context(tmp_path)
    first, second = (fitted("dp-founders", train, ctx) for _ in range(2))
    assert np.array_equal(first.alleles, second.alleles)


def test_sites_of_a_cluster_go_together(tmp_path):
    alleles, _ = clusters(800, 24)
    ctx = context(tmp_path)
    model = fitted("dp-founders", panel(alleles), ctx, epsilon=8.0, founders=None, iterations=300)
    drawn = sampled(model, ctx, 4000)
    real, made = (np.corrcoef(rows.T)[np.triu_indices(24, 1)] for rows in (alleles, drawn))
    assert np.corrcoef(real, made)[0, 1] > 0.95
    assert np.abs(drawn.mean(axis=0) - alleles.mean(axis=0)).max() < 0.1


def near_r(alleles, reach=32):
    """Signed r of pairs of sites up to `reach` apart; 0 for a site that doesn't vary."""
    less = alleles - alleles.mean(axis=0)
    less /= np.maximum(less.std(axis=0), 1e-9) * math.sqrt(len(less))
    return np.concatenate(
        [(less[:, :-gap] * less[:, gap:]).sum(axis=0) for gap in range(1, reach + 1)]
    )


def test_few_simulated_people_keep_more_ld_than_by_other_private_peers(tmp_path):
    tree = msprime.sim_mutations(
        msprime.sim_ancestry(
            400, population_size=1e4, sequence_length=1.5e5, recombination_rate=1e-8, random_seed=5
        ),
        rate=1.5e-8,
        random_seed=5,
    )
    alleles = np.minimum(tree.genotype_matrix().T, 1).astype(np.int8)
    common = np.minimum(alleles[:400].mean(axis=0), 1 - alleles[:400].mean(axis=0)) > 0.05
    train, held_out = alleles[:400, common], alleles[400:, common].astype(float)
    ctx = context(tmp_path)

    def kept(name, **params):
        drawn = sampled(fitted(name, panel(train), ctx, epsilon=8.0, **params), ctx, 2000)
        return np.corrcoef(near_r(held_out), near_r(drawn.astype(float)))[0, 1]

    few = {"reach": 64, "founders": None, "iterations": 300}
    founders = kept("dp-founders", **few)
    assert founders > 0.85
    assert founders > kept("dp-marginals", given=None, drawn=None) + 0.1
    assert founders > kept("dp-hmm", states=None, iterations=16, window=16) + 0.1


def test_founders_are_fewer_the_more_noise_there_is(tmp_path):
    train, ctx = panel(clusters(2000, 64)[0]), context(tmp_path)
    params = {"founders": None, "iterations": 1, "members": 1}
    numbers = [
        fitted("dp-founders", train, ctx, epsilon=epsilon, **params).alleles.shape[2]
        for epsilon in (0.1, math.inf)
    ]
    assert numbers == [16, 64]


def test_noisy_frequencies_are_drawn_towards_rare_ones():
    noisy = np.array([-0.1, 0.1, 0.5, 0.9])
    sure, _ = posterior_frequencies(noisy, 1e-3)
    np.testing.assert_allclose(sure[1:], noisy[1:], atol=0.003)
    mean, variance = posterior_frequencies(noisy, 0.1)
    assert (mean > 0).all()
    assert mean[2] < 0.5
    assert (np.diff(mean) > 0).all()
    assert (variance < 1.2 * 0.1**2).all()


@given(st.integers(0, 2**32 - 1))
def test_sharpened_founders_keep_a_sites_frequency(seed):
    rng = np.random.default_rng(seed)
    odds, frequency = rng.normal(0, 8, (2, 5, 6)), rng.uniform(0.01, 0.99, 5)
    chances = with_frequency(odds, frequency)
    np.testing.assert_allclose(chances.mean(axis=2), np.tile(frequency, (2, 1)), atol=1e-6)
    assert (np.argsort(chances, axis=2, kind="stable") == np.argsort(odds, axis=2)).mean() > 0.5
