"""Markov chain: joint frequencies of order + 1 adjacent sites, and smoothing."""

from __future__ import annotations

import numpy as np
import pytest
from baseline_cases import context, fitted, panel, rows, sampled
from scipy import stats

from haplobench import PluginError
from haplobench.testing import example_panel
from haplobench_baselines.markov import smooth

TRAIN = example_panel(n_samples=60, n_sites=40, populations=())


def word_p_values(real, drawn, length):
    """Chi-square p-value of the words at each window of `length` sites against `real` shares."""
    weights = 1 << np.arange(length)
    found = []
    for start in range(real.shape[1] - length + 1):
        window = slice(start, start + length)
        shares = np.bincount(real[:, window] @ weights, minlength=1 << length) / len(real)
        counts = np.bincount(drawn[:, window] @ weights, minlength=1 << length)
        assert counts[shares == 0].sum() == 0, "a word that the training panel doesn't have"
        kept = shares > 0
        if kept.sum() > 1:
            found.append(stats.chisquare(counts[kept], shares[kept] * len(drawn)).pvalue)
    return np.array(found)


@pytest.mark.parametrize("order", [1, 2, 4, 9])
def test_words_of_order_plus_one_sites_have_the_training_shares(order, tmp_path):
    """Without smoothing this holds exactly for the model: only chance is left."""
    ctx = context(tmp_path, seed=order)
    chain = fitted("markov", TRAIN, ctx, order=order, smoothing=0)
    p = word_p_values(TRAIN.haplotypes, sampled(chain, ctx, 5000), order + 1)
    assert p.size > 25
    assert p.min() * p.size > 0.001
    assert stats.kstest(p, "uniform").pvalue > 1e-4


def test_longer_words_do_not(tmp_path):
    ctx = context(tmp_path)
    chain = fitted("markov", TRAIN, ctx, order=1, smoothing=0)
    with pytest.raises(AssertionError):
        assert word_p_values(TRAIN.haplotypes, sampled(chain, ctx, 5000), 6).min() > 1e-6


def test_an_order_as_long_as_the_panel_copies_it(tmp_path):
    train = panel(np.random.default_rng(2).integers(0, 2, (20, 12)))
    ctx = context(tmp_path)
    drawn = sampled(fitted("markov", train, ctx, order=12, smoothing=0), ctx, 3000)
    assert rows(drawn) == rows(train.haplotypes)


def test_fixed_sites_stay_fixed(tmp_path):
    alleles = np.random.default_rng(3).integers(0, 2, (30, 20))
    alleles[:, 4], alleles[:, 9] = 0, 1
    ctx = context(tmp_path)
    drawn = sampled(fitted("markov", panel(alleles), ctx, order=3, smoothing=2.0), ctx, 2000)
    assert not drawn[:, 4].any()
    assert drawn[:, 9].all()


@pytest.mark.parametrize("smoothing", [0, 0.5, 3])
def test_probabilities_against_the_recursion_written_out(smoothing, tmp_path):
    order = 3
    train = panel(np.random.default_rng(4).random((30, 9)) < 0.35)
    table = fitted("markov", train, context(tmp_path), order=order, smoothing=smoothing).table

    def probability(site, context_alleles):
        """`context_alleles` are the nearest sites to the left, nearest first."""
        chosen = train.haplotypes
        for back, allele in enumerate(context_alleles, 1):
            left = chosen[:, site - back] if site >= back else np.zeros(len(chosen))
            chosen = chosen[left == allele]
        ones, n = int(chosen[:, site].sum()), len(chosen)
        if not context_alleles:
            return ones / n
        shorter = probability(site, context_alleles[:-1])
        return (ones + smoothing * shorter) / (n + smoothing) if n else shorter

    for site in range(9):
        for code in range(1 << order):
            alleles = [code >> bit & 1 for bit in range(order)]
            assert table[site, code] / 65535 == pytest.approx(probability(site, alleles), abs=1e-5)


def test_strong_smoothing_forgets_the_context():
    counts = np.random.default_rng(0).integers(0, 20, (5, 16, 2))
    frequencies = counts.sum(axis=1)[:, 1] / counts.sum(axis=(1, 2))
    assert np.allclose(smooth(counts, 1e9), frequencies[:, None], atol=1e-6)


def test_a_table_too_large_names_the_order_that_fits(tmp_path):
    train = panel(np.zeros((2, 40_000)), step=1)
    with pytest.raises(PluginError, match=r"order 16 needs 4\.9 GiB.*set order to 15 or less"):
        fitted("markov", train, context(tmp_path), order=16)


@pytest.mark.parametrize("n_sites", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("order", [3, 4, 9])
def test_fewer_sites_than_the_order_are_fine(tmp_path, n_sites, order):
    train = panel(np.random.default_rng(4).integers(0, 2, (20, n_sites)))
    ctx = context(tmp_path)
    drawn = sampled(fitted("markov", train, ctx, order=order, smoothing=0), ctx, 2000)
    assert drawn.shape == (2000, n_sites)
    if order >= n_sites - 1:
        assert rows(drawn) == rows(train.haplotypes)
