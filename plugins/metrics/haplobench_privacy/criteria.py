"""Two of the three criteria of Europe's data protection authorities: linkability, singling out.

The third, inference, is `attribute-inference`. Success against training people is held against
that against held-out people (control) and that of guessing (baseline), as Giomi et al. (2023) do.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import hypergeom

from haplobench import Measurement, MetricResult, Panel, Reference, RunContext
from haplobench.hamming import popcount
from haplobench.kernels import compiled
from haplobench_privacy.cohorts import Cohorts, cohorts
from haplobench_privacy.evidence import centred, haplotype_pairs, packed_sites
from haplobench_privacy.roc import area_evidence, share_evidence, wilson
from haplobench_privacy.specs.distances import (
    LINKABILITY,
    SINGLING_OUT,
    DistanceParams,
    SinglingOutParams,
)


def linkability(
    reference: Reference, cohort: Panel, params: DistanceParams, ctx: RunContext
) -> MetricResult:
    """Whether both halves of a person's haplotype are nearest to one synthetic haplotype."""
    data = cohorts(reference, cohort, params.max_haplotypes, ctx)
    if data.packed(data.train).shape[1] < 2:
        return LINKABILITY.not_applicable(f"fewer than 65 sites to halve; {data.size_note}")
    (train, guessed), (holdout, _) = (_linked(data, one) for one in (data.train, data.holdout))
    return MetricResult(
        {
            "excess_linked": share_evidence(train, holdout, note=data.size_note),
            **_rates(train.sum(), train.size, holdout.sum(), holdout.size),
            "baseline": Measurement(float(guessed.mean()), train.size),
        }
    )


def _linked(data: Cohorts, panel: Panel) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Whether each person is linked, and how probable that is for as many guesses at random."""
    pairs = haplotype_pairs(data, panel)
    missed = hypergeom.pmf(0, data.synthetic.n_haplotypes, *pairs.halves)
    linked = (pairs.linked > 0).reshape(-1, panel.ploidy).any(axis=1)
    return np.asarray(linked), 1 - missed.reshape(-1, panel.ploidy).prod(axis=1)


def _rates(success: float, n: int, control: float, n_control: int) -> dict[str, Measurement]:
    """Success rates with Wilson's intervals, and the risk: the excess over what was possible.

    (a - c) / (1 - c) of the middles a and c of the intervals for training and held-out people;
    its error follows from the half widths. After Giomi et al. (2023), section 3.
    """
    (low_a, high_a), (low_c, high_c) = wilson(success, n), wilson(control, n_control)
    a, c = (low_a + high_a) / 2, (low_c + high_c) / 2
    risk = (a - c) / (1 - c)
    reach = np.hypot((high_a - low_a) / 2 / (1 - c), (high_c - low_c) / 2 * (1 - a) / (1 - c) ** 2)
    low, value, high = (float(np.clip(x, 0, 1)) for x in (risk - reach, risk, risk + reach))
    return {
        "success": Measurement(float(success / n), n, low=low_a, high=high_a),
        "control": Measurement(float(control / n_control), n_control, low=low_c, high=high_c),
        "risk": Measurement(value, n + n_control, low=low, high=high),
    }


def singling_out(
    reference: Reference, cohort: Panel, params: SinglingOutParams, ctx: RunContext
) -> MetricResult:
    """Whether what is unique in the cohort fits one training person alone."""
    data = cohorts(reference, cohort, params.max_haplotypes, ctx)
    rng = ctx.rng("singling-out", "predicates")
    counts = data.synthetic.allele_counts[0][data.sites]
    m = data.synthetic.n_haplotypes
    sites = np.flatnonzero((counts > 0) & (counts < m))
    if not sites.size:
        return SINGLING_OUT.not_applicable(f"the cohort has no variation; {data.size_note}")
    flip = np.asarray(2 * counts[sites] > m)
    rarer = packed_sites(data, (data.synthetic,), sites, flip)
    drawn = rng.random((m, params.per_haplotype, params.alleles + 1))
    predicates = np.unique(_unique(rarer, drawn, params.window), axis=0)
    predicates = predicates[predicates[:, 0] >= 0]
    if not predicates.shape[0]:
        return SINGLING_OUT.not_applicable(f"nothing in the cohort is unique; {data.size_note}")
    used, place = np.unique(predicates, return_inverse=True)
    place = place.reshape(predicates.shape) - (used[0] < 0)
    used = used[used >= 0]
    real = packed_sites(data, (data.train, data.holdout), sites[used], flip[used])
    n_train, n_holdout, ploidy = data.train.n_samples, data.holdout.n_samples, data.train.ploidy
    carried = np.ones(place.shape, bool)
    matched = _matched(real, place, carried, n_train + n_holdout, n_train, ploidy)
    # A guess has the cohort's allele frequencies at the same sites.
    frequency = np.bitwise_count(rarer[used]).sum(axis=1) / m
    guess = _matched(
        real,
        place,
        rng.random(place.shape) < frequency[place],
        n_train + n_holdout,
        n_train,
        ploidy,
    )
    alone = matched[matched[:, 0] + matched[:, 1] == 1, 2]
    singled = np.bincount(alone, minlength=n_train + n_holdout).astype(np.float64)
    labels = data.train.population, data.holdout.population
    scored = centred(singled[:n_train], singled[n_train:], *labels)
    n, size = place.shape[0], min(n_train, n_holdout)

    def success(found: NDArray[np.int64], side: int, people: int) -> float:
        """Predicates that fit exactly one of `size` people drawn, expected over all draws."""
        return float(hypergeom.pmf(1, people, found[:, side], size).sum())

    return MetricResult(
        {
            "auc": area_evidence(*scored, note=f"{n} predicates; {data.size_note}"),
            **_rates(success(matched, 0, n_train), n, success(matched, 1, n_holdout), n),
            "baseline": Measurement(success(guess, 0, n_train) / n, n),
            "predicates": Measurement(float(n)),
        }
    )


@compiled
def _unique(rarer: Any, drawn: Any, window: int) -> Any:
    """Rarer alleles of a synthetic haplotype that no other has together, or -1 throughout.

    `drawn` (n_haplotypes, n, alleles + 1), uniform from 0 to 1: of each predicate, the first
    number places a window of sites, the others draw alleles that the haplotype carries there,
    until they are unique. (n_haplotypes n, alleles) int64: rows of `rarer` in increasing order,
    -1 after the last.
    """
    each, most = drawn.shape[1], drawn.shape[2] - 1
    n_sites, n_words = rarer.shape
    window = min(window, n_sites)
    predicates = np.full((drawn.shape[0] * each, most), -1, np.int64)
    carried = np.empty(window, np.int64)
    both = np.empty(n_words, np.uint64)
    for q in range(predicates.shape[0]):
        haplotype = q // each
        uniform = drawn[haplotype, q % each]
        first = int(uniform[0] * (n_sites - window + 1))
        size = 0
        for site in range(first, first + window):
            if (rarer[site, haplotype // 64] >> np.uint64(haplotype % 64)) & np.uint64(1):
                carried[size] = site
                size += 1
        both[:] = ~np.uint64(0)
        for k in range(min(most, size)):
            other = k + int(uniform[k + 1] * (size - k))
            carried[k], carried[other] = carried[other], carried[k]
            left = 0
            for w in range(n_words):
                both[w] &= rarer[carried[k], w]
                left += popcount(both[w])
            if left == 1:
                predicates[q, : k + 1] = np.sort(carried[: k + 1])
                break
    return predicates


@compiled
def _matched(real: Any, place: Any, carried: Any, n: int, n_train: int, ploidy: int) -> Any:
    """Training and held-out people of whom a haplotype fits, and the last of them.

    `place` (n, alleles) int64: rows of `real`, -1 after the last; `carried`: whether the rarer
    allele is asked for or the other. (n, 3) int64.
    """
    found = np.zeros((place.shape[0], 3), np.int64)
    fits = np.empty(real.shape[1], np.uint64)
    for q in range(place.shape[0]):
        fits[:] = ~np.uint64(0)
        for k in range(place.shape[1]):
            if place[q, k] < 0:
                break
            for w in range(real.shape[1]):
                alleles = real[place[q, k], w]
                fits[w] &= alleles if carried[q, k] else ~alleles
        last = -1
        for w in range(real.shape[1]):
            word = fits[w]
            while word:
                low = word & (~word + np.uint64(1))
                word ^= low
                person = (64 * w + popcount(low - np.uint64(1))) // ploidy
                if person == last or person >= n:
                    continue
                last = person
                found[q, 0 if person < n_train else 1] += 1
                found[q, 2] = person
    return found
