"""Tests of differences between two sides, and control of false alarms over many of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = Sequence[float] | NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A difference, its interval and its two-sided p-value (None: no estimate of its noise)."""

    difference: float
    low: float | None = None
    high: float | None = None
    p_value: float | None = None


def paired(differences: Floats, confidence: float = 0.95) -> Estimate:
    """Student's paired t test of (n,) differences of seeds, head less base.

    With the 5 to 20 seeds that a suite can afford, intervals of a percentile bootstrap are too
    narrow (Hesterberg, The American Statistician 69, 371-386, 2015), so the t interval is used.
    Where all differences are equal there is no noise: p is 0, or 1 if they are 0.
    """
    values = np.asarray(differences, np.float64)
    mean = float(values.mean())
    if values.size < 2:
        return Estimate(mean)
    deviation = float(values.std(ddof=1))
    return _student(mean, deviation / math.sqrt(values.size), values.size - 1.0, confidence)


def two_sample(base: Floats, head: Floats, confidence: float = 0.95) -> Estimate:
    """Welch's t test of the difference of means, head less base; for sides without pairs.

    Welch, B. L. Biometrika 34, 28-35 (1947).
    """
    first, second = np.asarray(base, np.float64), np.asarray(head, np.float64)
    difference = float(second.mean() - first.mean())
    if first.size < 2 or second.size < 2:
        return Estimate(difference)
    parts = np.array([first.var(ddof=1) / first.size, second.var(ddof=1) / second.size])
    variance = float(parts.sum())
    if variance == 0:
        return _student(difference, 0.0, 1.0, confidence)
    freedom = variance**2 / float((parts**2 / np.array([first.size - 1, second.size - 1])).sum())
    return _student(difference, math.sqrt(variance), freedom, confidence)


def against_noise(
    difference: float, deviation: float, freedom: float, confidence: float = 0.95
) -> Estimate:
    """One value a side, each with the standard deviation that other draws have shown.

    `freedom`: degrees of freedom of that standard deviation.
    """
    return _student(difference, deviation * math.sqrt(2), freedom, confidence)


def _student(difference: float, error: float, freedom: float, confidence: float) -> Estimate:
    from scipy.special import stdtr, stdtrit

    # Sums of rounded numbers: what is equal but for its last digits has no noise.
    if error <= 1e-12 * abs(difference) or error == 0:
        return Estimate(difference, difference, difference, 0.0 if difference else 1.0)
    half = float(stdtrit(freedom, 0.5 + confidence / 2)) * error
    p_value = 2 * float(stdtr(freedom, -abs(difference) / error))
    return Estimate(difference, difference - half, difference + half, p_value)


def ranks(base: Floats, head: Floats, confidence: float = 0.95) -> Estimate:
    """Mann-Whitney test; the difference is that of the medians.

    The interval is the one that inverts the test (order statistics of all head-less-base
    differences, normal approximation), widened where need be to hold the difference itself.
    """
    from scipy.special import ndtri
    from scipy.stats import mannwhitneyu

    first, second = np.asarray(base, np.float64), np.asarray(head, np.float64)
    difference = float(np.median(second) - np.median(first))
    if first.size < 2 or second.size < 2:
        return Estimate(difference)
    if np.ptp(np.concatenate([first, second])) == 0:
        return Estimate(0.0, 0.0, 0.0, 1.0)
    p_value = float(mannwhitneyu(first, second, alternative="two-sided").pvalue)
    pairs = np.sort((second[:, None] - first[None, :]).ravel())
    spread = math.sqrt(pairs.size * (first.size + second.size + 1) / 12)
    cut = pairs.size / 2 - float(ndtri(0.5 + confidence / 2)) * spread
    at = min(max(0, math.floor(cut)), (pairs.size - 1) // 2)
    low, high = float(pairs[at]), float(pairs[pairs.size - 1 - at])
    return Estimate(difference, min(low, difference), max(high, difference), p_value)


def benjamini_hochberg(p_values: Floats) -> NDArray[np.float64]:
    """P-values (n,) adjusted so that those up to q hold a share of at most q false alarms.

    Benjamini, Y. & Hochberg, Y. Journal of the Royal Statistical Society B 57, 289-300 (1995).
    Where nothing has changed at all, the probability of any alarm is at most q.
    """
    values = np.asarray(p_values, np.float64)
    order = np.argsort(values, kind="stable")
    scaled = values[order] * values.size / np.arange(1, values.size + 1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(1.0, np.minimum.accumulate(scaled[::-1])[::-1])
    return adjusted


def holm(p_values: Floats) -> NDArray[np.float64]:
    """P-values (n,) adjusted so that the probability of any false alarm up to q is at most q.

    Holm, S. Scandinavian Journal of Statistics 6, 65-70 (1979).
    """
    values = np.asarray(p_values, np.float64)
    order = np.argsort(values, kind="stable")
    scaled = values[order] * np.arange(values.size, 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(scaled))
    return adjusted
