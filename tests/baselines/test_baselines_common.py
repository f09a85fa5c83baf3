"""Random draws of the baselines keep probabilities exactly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from haplobench_baselines.common import Bernoulli

N = 24  # people


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
