"""The built-in quality and error profile against its own definition, by scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from haplobench_reads.illumina import (
    LOWEST_QUALITY,
    SUBSTITUTIONS,
    TOP_QUALITY,
    QualityProfile,
    substitute,
)

N = 20_000
# So many tests of one seed: no false alarm, and any real departure is far beyond it.
P = 1e-5


@pytest.mark.parametrize("mate", [0, 1])
def test_qualities_follow_the_gamma_law_of_every_cycle(mate: int) -> None:
    profile = QualityProfile.illumina(12, mate)
    drawn = profile.draw(N, np.random.default_rng(mate))
    edges = TOP_QUALITY - np.arange(LOWEST_QUALITY, TOP_QUALITY) - 0.5  # borders of rounding
    for cycle in range(12):
        below = TOP_QUALITY - profile.mean[cycle]
        shape, scale = (below / profile.sd[cycle]) ** 2, profile.sd[cycle] ** 2 / below
        cumulative = stats.gamma(shape, scale=scale).cdf(edges)
        # P(Q = 2), P(Q = 3), …, P(Q = 41), of the amount below the top quality.
        expected = -np.diff(np.concatenate([[1.0], cumulative, [0.0]])) * N
        found = np.bincount(drawn[:, cycle], minlength=TOP_QUALITY + 1)[LOWEST_QUALITY:]
        rare = expected < 10
        expected, found = (np.append(x[~rare], x[rare].sum()) for x in (expected, found))
        expected += (found.sum() - expected.sum()) / expected.size
        assert stats.chisquare(found, expected).pvalue > P


def test_quality_declines_towards_the_3_prime_end_and_more_so_in_second_reads() -> None:
    first, second = (
        QualityProfile.illumina(150, mate).draw(N // 4, np.random.default_rng(0)).mean(axis=0)
        for mate in (0, 1)
    )
    for mean in (first, second):
        assert mean[:3].mean() < mean[15:25].mean()
        assert mean[20] > mean[60] > mean[149] + 0.5
    assert second[30:].mean() < first[30:].mean()


def test_a_shift_moves_the_mean() -> None:
    plain, shifted = (QualityProfile.illumina(100, 0, shift).mean for shift in (0.0, -5.0))
    np.testing.assert_allclose(shifted, plain - 5)


def test_errors_of_every_cycle_are_as_many_as_the_qualities_say() -> None:
    rng = np.random.default_rng(1)
    qualities = QualityProfile.illumina(40, 1, shift=-8).draw(N, rng)
    codes = np.zeros(qualities.shape, np.uint8)
    substitute(codes, qualities, rng)
    p = 10 ** (qualities / -10.0)
    z = ((codes != 0).sum(axis=0) - p.sum(axis=0)) / np.sqrt((p * (1 - p)).sum(axis=0))
    assert stats.chi2(40).sf((z**2).sum()) > P
    assert np.abs(z).max() < 5
    # Errors rise with the cycle as qualities fall.
    assert (codes != 0)[:, -8:].mean() > 1.5 * (codes != 0)[:, 8:16].mean()


def test_substitutions_follow_the_matrix_and_leave_n() -> None:
    rng = np.random.default_rng(2)
    true = np.repeat(np.arange(5, dtype=np.uint8), 4000)[:, None]
    codes = true.copy()
    substitute(codes, np.zeros(codes.shape, np.uint8), rng)  # quality 0: always wrong
    np.testing.assert_allclose(SUBSTITUTIONS.sum(axis=1), 1)
    for base in range(4):
        called = np.bincount(codes[true == base], minlength=4)
        assert called[base] == 0
        others = np.arange(4) != base
        expected = SUBSTITUTIONS[base][others] * 4000
        assert stats.chisquare(called[others], expected).pvalue > P
    assert (codes[true == 4] == 4).all()
