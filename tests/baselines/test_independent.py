"""Independent sites: the frequencies of the training panel, and no LD."""

from __future__ import annotations

import numpy as np
import pytest
from baseline_cases import context, fitted, panel, sampled, worst_z
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from haplobench_baselines.common import Bernoulli


def test_frequencies_are_the_training_panels(tmp_path):
    train = panel(np.random.default_rng(0).random((40, 500)) < np.linspace(0, 1, 500))
    ctx = context(tmp_path)
    n = 10_000
    drawn = sampled(fitted("independent", train, ctx), ctx, n)
    assert worst_z(drawn.sum(axis=0, dtype=np.int64), n, train.frequencies) < 4.5


def test_missing_alleles_do_not_count(tmp_path):
    alleles = np.array([[1, 0], [-1, 0], [-1, 1], [1, 1]])
    assert fitted("independent", panel(alleles), context(tmp_path)).frequencies.tolist() == [1, 0.5]


def test_no_ld_between_sites(tmp_path):
    """r² of independent sites has mean 1 / (n - 1), even where training sites are copies."""
    site = np.random.default_rng(1).random((60, 1)) < 0.4
    train = panel(np.repeat(site, 150, axis=1))
    ctx = context(tmp_path)
    n = 500
    r = np.corrcoef(sampled(fitted("independent", train, ctx), ctx, n).T)
    r2 = r[np.triu_indices(150, 1)] ** 2
    assert r2.mean() * (n - 1) == pytest.approx(1, abs=0.06)


@given(st.floats(0, 1))
def test_probabilities_are_kept_exactly(p):
    bernoulli = Bernoulli.of(np.array([p]))
    assert (float(bernoulli.high[0]) + bernoulli.rest[0]) / 65536 == p
    assert 0 <= bernoulli.rest[0] <= 1


@pytest.mark.parametrize("p", [0.4 / 65536, 0.5 + 0.6 / 65536, 1 - 0.5 / 65536])
def test_probabilities_below_the_first_16_bits(p):
    """Only the second number can make these come out right."""
    n_rows, n_columns = 500_000, 40
    bernoulli = Bernoulli.of(np.full(n_columns, p))
    ones = int(bernoulli.draw(n_rows, np.random.default_rng(5)).sum(dtype=np.int64))
    assert stats.binomtest(ones, n_rows * n_columns, p).pvalue > 1e-4
    if p < 0.01 or p > 0.99:  # elsewhere chance hides the difference
        rounded = [np.floor(p * 65536) / 65536, np.ceil(p * 65536) / 65536]
        assert all(stats.binomtest(ones, n_rows * n_columns, q).pvalue < 1e-4 for q in rounded)
