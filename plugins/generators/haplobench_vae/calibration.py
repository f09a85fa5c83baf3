"""The temperature at which a model's samples are most like the haplotypes it was trained on.

Alleles' logits are divided by it. At a high temperature alleles of one haplotype are drawn too
freely of each other: samples lack LD and have haplotypes that nobody carries; at a low one both
turn round.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

USUAL = 0.65
"""The temperature of a model of which samples tell nothing."""
_TRIED = (0.4, 0.6, 0.85, 1.2)
# How much of each is as bad as the others: of LD, of the logarithm of distinct haplotypes, and of
# distance from the usual temperature.
_LD, _DISTINCT, _AWAY = 0.02, 0.1, 0.15
_MIN_MAF = 0.05
_LAGS = 2 ** np.arange(9)  # LD sites
_WORD, _GROUP = 20, 100  # sites, haplotypes


@dataclass(frozen=True)
class Calibration:
    """A temperature, and how samples differ there from training haplotypes.

    `ld_excess`: LD that samples have beyond theirs, a share of it.
    `distinct_excess`: the same of distinct haplotypes.
    `at_end`: whether no temperature beyond it was tried.
    """

    temperature: float
    ld_excess: float
    distinct_excess: float
    at_end: bool


def calibrate(
    real: NDArray[np.int8], cohort: Callable[[float], NDArray[np.int8]]
) -> Calibration | None:
    """The temperature T in 0.4-1.2 at which samples are most like `real` haplotypes.

    `real` is (n, n_sites) int8, negative where missing, in random order; `cohort` gives as many
    samples, of the same populations in the same order, at a temperature, always with the same
    random numbers. It is asked at four temperatures; between them a cubic stands for each excess.

    T is where (LD / .02)² + (ln distinct / .1)² + ((T - .65) / .15)² is least. LD is the excess of
    mean r² over distances, each weighted by its own r²: a prior that recombines too much lacks LD
    where there is little, which no temperature mends. Distinct are haplotypes of 20 sites among
    100 people's, samples over real ones. Where one of them hardly depends on the temperature, the
    others decide, and where none does, it is .65: so it varies little from one choice of people to
    another (`benchmarks/calibration_spread.py`). None where fewer than two sites have a MAF
    over 5 %.
    """
    missing = real < 0
    frequencies = (real == 1).sum(0) / np.maximum((~missing).sum(0), 1)
    sites = np.flatnonzero(np.minimum(frequencies, 1 - frequencies) > _MIN_MAF)
    if sites.size < 2:
        return None
    ld, distinct = r2_by_lag(real[:, sites]), distinct_words(real, missing)
    excess = []
    for temperature in _TRIED:
        sampled = cohort(temperature)
        excess.append(
            (
                ld @ (r2_by_lag(sampled[:, sites]) - ld) / (ld @ ld),
                np.log(distinct_words(sampled, missing) / distinct),
            )
        )
    tried = np.linspace(_TRIED[0], _TRIED[-1], 801)
    # Through all four.
    curves = np.vander(tried, 4) @ np.linalg.solve(np.vander(_TRIED, 4), np.array(excess))
    misfit = ((curves / (_LD, _DISTINCT)) ** 2).sum(axis=1) + ((tried - USUAL) / _AWAY) ** 2
    best = int(misfit.argmin())
    return Calibration(
        round(float(tried[best]), 4),
        round(float(curves[best, 0]), 5),
        round(float(np.expm1(curves[best, 1])), 5),
        best in (0, tried.size - 1),
    )


def r2_by_lag(haplotypes: NDArray[np.int8]) -> NDArray[np.float64]:
    """Mean r² of sites 1, 2, 4, … 256 columns apart, as far as there are: (n_lags,) float64.

    `haplotypes` is (n, n_sites) int8, negative where missing (taken as average). A column
    that doesn't vary has r² 0 with every other.
    """
    called = haplotypes >= 0
    counts = np.maximum(called.sum(0), 1)
    means = (haplotypes == 1).sum(0) / counts
    centred = np.where(called, haplotypes - means, 0).astype(np.float32)
    deviation = np.sqrt((centred**2).mean(0))
    standard = centred / np.where(deviation > 0, deviation, 1)
    lags = [int(k) for k in _LAGS if k < standard.shape[1]]
    n = standard.shape[0]
    r2 = [
        np.mean((np.einsum("ns,ns->s", standard[:, :-k], standard[:, k:]) / n) ** 2) for k in lags
    ]
    return np.array(r2, np.float64)


def distinct_words(haplotypes: NDArray[np.int8], missing: NDArray[np.bool_]) -> int:
    """Distinct haplotypes of 20 adjacent sites, summed over the panel and groups of 100 rows.

    Few rows, so that the number depends on common haplotypes too and not on the panel's size.
    Sites left over at the end and rows left over by the last group don't count, unless there are
    no others. Alleles (n, n_sites) int8 are taken as the reference's where they are `missing`
    (n, n_sites) bool.
    """
    n, n_sites = haplotypes.shape
    length = min(_WORD, n_sites)
    words = np.zeros((n, n_sites // length), np.int32)
    for i in range(length):
        one = (haplotypes[:, i::length] == 1) & ~missing[:, i::length]
        words |= one[:, : words.shape[1]].astype(np.int32) << i
    size = min(_GROUP, n)
    groups = np.sort(words[: n // size * size].reshape(n // size, size, -1), axis=1)
    return int(groups[:, 0].size + np.count_nonzero(np.diff(groups, axis=1)))
