"""Private marginals: noise as wide as claimed, counts that move no further than that, a chain."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peer_cases import clusters, context, fitted, gaussian_epsilon, panel, sampled
from scipy import optimize

from haplobench import PanelError
from haplobench.noise import NoiseSource
from haplobench_peers.marginals import nearest_counts, probabilities, window_counts


@pytest.mark.parametrize("ploidy", [1, 2])
@pytest.mark.parametrize("epsilon", [0.5, 8.0])
def test_noise_is_as_wide_as_claimed(epsilon, ploidy, tmp_path, monkeypatch):
    asked = []

    def silent(self, deviation, n):
        asked.append((deviation, n))
        return np.zeros(n, np.int64)

    monkeypatch.setattr(NoiseSource, "discrete_gaussian", silent)
    alleles, _ = clusters(400, 30)
    train = panel(alleles, ploidy=ploidy)
    model = fitted(
        "dp-marginals", train, context(tmp_path), epsilon=epsilon, delta=1e-6, given=3, drawn=4
    )
    statement = model.privacy_statement()
    (charge,) = statement.charges
    assert gaussian_epsilon(charge.noise_multiplier, 1e-6) == pytest.approx(epsilon, rel=1e-4)
    # Eight windows of four sites: one cell a haplotype in each.
    ((deviation, n),) = asked
    assert n == 8 * 2**7
    assert deviation >= charge.noise_multiplier * ploidy * math.sqrt(8)
    assert deviation == pytest.approx(charge.noise_multiplier * ploidy * math.sqrt(8), abs=4.1)
    assert (statement.epsilon, statement.delta, statement.unit) == (epsilon, 1e-6, "person")
    assert (statement.noise_source, statement.n_records) == ("entropy", train.n_samples)


@settings(max_examples=40, deadline=None)
@given(
    n_sites=st.integers(1, 12),
    widths=st.tuples(st.integers(0, 4), st.integers(1, 4)),
    seed=st.integers(0, 2**20),
    alike=st.booleans(),
)
def test_a_person_moves_the_counts_by_no_more_than_claimed(n_sites, widths, seed, alike):
    before, drawn = min(widths[0], n_sites - 1), min(widths[1], n_sites)
    alleles = np.random.default_rng(seed).integers(0, 2, (10, n_sites)).astype(np.int8)
    if alike:
        alleles[1] = alleles[0]
    counts = window_counts(alleles, before, drawn)
    fewer = window_counts(alleles[2:], before, drawn)
    assert (counts.sum(axis=(1, 2)) == 10).all()
    assert np.linalg.norm(counts - fewer) <= 2 * math.sqrt(len(counts)) + 1e-9
    if alike:
        assert np.linalg.norm(counts - fewer) == pytest.approx(2 * math.sqrt(len(counts)))


def test_no_two_fits_share_their_noise(tmp_path):
    train, ctx = panel(clusters(60, 12)[0]), context(tmp_path)
    first, second = (fitted("dp-marginals", train, ctx, epsilon=1.0) for _ in range(2))
    assert not np.array_equal(first.cumulative, second.cumulative)
    assert np.array_equal(sampled(first, ctx, 20), sampled(first, ctx, 20))


@settings(max_examples=25, deadline=None)
@given(noisy=st.lists(st.integers(-40, 60), min_size=1, max_size=6), total=st.integers(1, 50))
def test_counts_are_the_nearest_that_could_be(noisy, total):
    start = np.full(len(noisy), total / len(noisy))
    best = optimize.minimize(
        lambda x: ((x - noisy) ** 2).sum(),
        start,
        bounds=[(0, None)] * len(noisy),
        constraints={"type": "eq", "fun": lambda x: x.sum() - total},
        options={"ftol": 1e-12},
    )
    counts = nearest_counts(np.array(noisy, float), total)
    assert counts.sum() == pytest.approx(total)
    assert counts.min() >= 0
    np.testing.assert_allclose(counts, best.x, atol=1e-3 * total)


def test_alleles_before_that_nobody_has_borrow_from_shorter_ones():
    counts = np.zeros((3, 4, 2), np.int64)
    counts[0, 0], counts[1, 0], counts[1, 1] = (5, 5), (4, 1), (0, 5)
    counts[2, 0], counts[2, 1], counts[2, 3] = (4, 0), (0, 1), (2, 3)
    last = probabilities(counts, 10, 3)[2, :, 0]
    assert last == pytest.approx([1, 0, 1, 0.4])  # 10 has nobody: of 0 alone, four of four have 0


def test_a_chain_of_two_sites_has_the_pairs_of_neighbours(tmp_path):
    alleles, _ = clusters(2000, 24)
    ctx = context(tmp_path)
    model = fitted("dp-marginals", panel(alleles), ctx, epsilon=math.inf, given=1, drawn=1)
    n = 8000
    drawn = sampled(model, ctx, n)
    for site in range(23):
        real, made = (np.bincount(2 * a[:, site] + a[:, site + 1], minlength=4) / len(a)
                      for a in (alleles, drawn))  # fmt: skip
        assert (np.abs(made - real) < 4.8 * np.sqrt(real * (1 - real) / n) + 1e-9).all()
    statement = model.privacy_statement()
    assert math.isinf(statement.epsilon)
    assert statement.noise_source == "none"


@pytest.mark.parametrize(("people", "sites", "widths"), [(1752, 247, (8, 4)), (300, 2293, (1, 1))])
def test_the_less_noise_the_wider_the_windows(people, sites, widths, tmp_path):
    alleles = np.random.default_rng(1).integers(0, 2, (2 * people, sites)).astype(np.int8)
    model = fitted(
        "dp-marginals", panel(alleles), context(tmp_path), epsilon=8.0, given=None, drawn=None
    )
    assert model.cumulative.shape[1:] == (2 ** widths[0], 2 ** widths[1])


def test_a_delta_that_publishes_somebody_is_refused(tmp_path):
    with pytest.raises(PanelError, match=r"delta is 0.05 for 30 people, expected below 1 / 30"):
        fitted(
            "dp-marginals", panel(clusters(60, 8)[0]), context(tmp_path), epsilon=1.0, delta=0.05
        )
