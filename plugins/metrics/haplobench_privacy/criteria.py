"""The criteria of Europe's data protection authorities: linkability, singling out, inference.

Success against training people is held against that against held-out people (control) and that of
guessing (baseline), as Giomi et al. (2023) do. Inference is of hidden alleles, guessed from the
nearest synthetic haplotypes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import hypergeom

from haplobench import Measurement, MetricResult, Panel, Reference, RunContext
from haplobench.data.bits import pack_bits
from haplobench.data.distances import four_rows, popcount
from haplobench.kernels import compiled
from haplobench_privacy.cohorts import Cohorts, cohorts
from haplobench_privacy.evidence import centred, haplotype_pairs, packed_sites
from haplobench_privacy.roc import area_evidence, difference_evidence, share_evidence, wilson
from haplobench_privacy.specs_attacks import ATTRIBUTE_INFERENCE, AttributeParams
from haplobench_privacy.specs_distances import (
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


_WORD = 64
# Lower borders of the strata by minor allele frequency.
STRATA = (("under 5 %", 0.0, 0.05), ("5-20 %", 0.05, 0.2), ("over 20 %", 0.2, 0.51))


@compiled
def _guess(a: Any, columns: Any, alleles: Any, words: Any, guesses: Any) -> None:
    """Fill `guesses` (n, n_hidden); neighbours in a row in `words` share their distances."""
    n, m, hidden = a.shape[0], columns.shape[1], words.shape[0]
    distances, nearest = np.empty((4, m), np.int64), np.empty(m, np.int64)
    for first in range(0, n, 4):
        begin = 0
        while begin < hidden:
            low, high = words[begin]
            end = begin + 1
            while end < hidden and words[end, 0] == low and words[end, 1] == high:
                end += 1
            four_rows(a[:, low:high], first, columns[low:high], distances, 0)
            for r in range(min(4, n - first)):
                row = distances[r]
                least, ties = row.min(), 0
                for j in range(m):
                    if row[j] == least:
                        nearest[ties] = j
                        ties += 1
                for site in range(begin, end):
                    carriers = 0
                    for j in nearest[:ties]:
                        carriers += alleles[site, j]
                    guesses[first + r, site] = carriers / ties
            begin = end


@dataclass(frozen=True, eq=False)
class Hidden:
    """Sites hidden from an attacker, and where the others lie in packed haplotypes.

    Attributes
    ----------
    hidden, shown : int64 arrays
        Indices of compared sites, increasing.
    words : (n_hidden, 2) int64
        First and past-the-last word of the window of shown sites around each hidden one.
    """

    hidden: NDArray[np.int64]
    shown: NDArray[np.int64]
    words: NDArray[np.int64]

    @classmethod
    def draw(
        cls, maf: NDArray[np.float64], n: int, window: int, rng: np.random.Generator
    ) -> Hidden:
        """Draw hidden sites, as evenly over the strata of MAF as there are sites (at most a fifth
        of all); `window` shown sites around each are compared.
        """
        n = min(n, max(1, maf.size // 5))
        stratum = np.digitize(maf, [low for _, low, _ in STRATA[1:]])
        # The first of each stratum, then the second of each, ...
        order = rng.permutation(maf.size)
        place = np.empty(maf.size, np.int64)
        for group in range(len(STRATA)):
            members = order[stratum[order] == group]
            place[members] = np.arange(members.size)
        hidden = np.sort(order[np.argsort(place[order], kind="stable")][:n])
        shown = np.setdiff1d(np.arange(maf.size), hidden)
        n_words = -(-shown.size // _WORD)
        wide = min(n_words, window // _WORD)
        begin = np.rint(np.searchsorted(shown, hidden) / _WORD - wide / 2).astype(np.int64)
        first = np.clip(begin, 0, n_words - wide)
        return cls(hidden, shown, np.stack([first, first + wide], axis=1))

    def guesses(self, targets: NDArray[np.int8], known: NDArray[np.int8]) -> NDArray[np.float64]:
        """Share of alternate alleles among the nearest known haplotypes, by target and site.

        Nearest by Hamming distance at the shown sites of the window; ties count together.

        Parameters
        ----------
        targets, known : (n, n_sites), (m, n_sites) int8

        Returns
        -------
        (n, n_hidden) float64
        """
        a, b = (pack_bits(np.ascontiguousarray(rows[:, self.shown])) for rows in (targets, known))
        alleles = np.ascontiguousarray(known[:, self.hidden].T)
        guesses = np.empty((targets.shape[0], self.hidden.size))
        _guess(a, np.ascontiguousarray(b.T), alleles, self.words, guesses)
        return guesses


@dataclass(frozen=True, eq=False)
class _Accuracy:
    """Weighted right guesses and weights by person: (n_people, n_hidden) float64 each."""

    right: NDArray[np.float64]
    weight: NDArray[np.float64]

    def mean(self, sites: NDArray[np.bool_]) -> tuple[float, float, int]:
        """Balanced accuracy at some hidden sites, its standard error over people, and n people."""
        value, deviations = self.deviations(sites)
        return value, float(deviations.std() / np.sqrt(deviations.size)), deviations.size

    def deviations(self, sites: NDArray[np.bool_]) -> tuple[float, NDArray[np.float64]]:
        """Balanced accuracy at some hidden sites, a ratio of means over people, and what each
        person adds to its error (delta method): (n_people,) float64.
        """
        right, weight = self.right[:, sites].sum(axis=1), self.weight[:, sites].sum(axis=1)
        value = float(right.sum() / weight.sum())
        return value, (right - value * weight) / weight.mean()


def attribute_inference(
    reference: Reference, cohort: Panel, params: AttributeParams, ctx: RunContext
) -> MetricResult:
    """How much better hidden alleles of training people are guessed than of held-out people."""
    data = cohorts(reference, cohort, params.max_haplotypes, ctx)
    rng = ctx.rng("attribute-inference", "sites")
    counts = sum(one.allele_counts[0][data.sites] for one in (data.train, data.holdout))
    frequency = counts / (data.train.n_haplotypes + data.holdout.n_haplotypes)
    maf = np.minimum(frequency, 1 - frequency)
    usable = np.flatnonzero(maf > 0)
    if not usable.size:
        return ATTRIBUTE_INFERENCE.not_applicable("no site is polymorphic")
    drawn = Hidden.draw(maf[usable], params.sites, params.window, rng)
    train, holdout = (
        _attacked(data, panel, usable, params.max_people, ctx)
        for panel in (data.train, data.holdout)
    )
    synthetic = data.at(data.synthetic, usable)
    at = frequency[usable][drawn.hidden]
    ploidy = data.train.ploidy

    def accuracy(targets: NDArray[np.int8], known: NDArray[np.int8]) -> _Accuracy:
        return _judge(drawn.guesses(targets, known), targets[:, drawn.hidden], at, ploidy)

    of_train, of_holdout = accuracy(train, synthetic), accuracy(holdout, synthetic)
    everywhere = np.ones(at.size, bool)
    size = min(synthetic.shape[0], data.holdout.n_haplotypes)
    order = rng.permutation(max(1, synthetic.shape[0] // ploidy))[: max(1, size // ploidy)]
    rows = (order[:, None] * ploidy + np.arange(ploidy)).ravel()
    everybody = rows.size == synthetic.shape[0]
    from_few = of_train if everybody else accuracy(train, synthetic[rows])
    from_real = accuracy(train, data.at(data.holdout, usable)[: rows.size])

    leak = [_difference(of_train, of_holdout, everywhere, note=data.size_note)]
    minor = np.minimum(at, 1 - at)
    for name, low, high in STRATA:
        within = (minor >= low) & (minor < high)
        if within.any():
            leak.append(_difference(of_train, of_holdout, within, {"maf": name}))
    value, error, n = of_train.mean(everywhere)
    value_holdout, error_holdout, n_holdout = of_holdout.mean(everywhere)
    # The same people and alleles are guessed from both, so the error is of the difference.
    gain = _Accuracy(from_few.right - from_real.right, from_few.weight).mean(everywhere)
    return MetricResult(
        {
            "leak": leak,
            "accuracy_train": Measurement(value, n, error),
            "accuracy_holdout": Measurement(value_holdout, n_holdout, error_holdout),
            # Guessing the commoner allele everywhere is right for one allele of two.
            "gain_over_frequency": Measurement(value - 0.5, n, error),
            "gain_over_reference": Measurement(gain[0], gain[2], gain[1]),
            "hidden_sites": Measurement(float(at.size)),
        }
    )


def _attacked(
    data: Cohorts, panel: Panel, sites: NDArray[np.int64], max_people: int, ctx: RunContext
) -> NDArray[np.int8]:
    """Haplotypes of the people attacked: all, or so many drawn at random."""
    alleles = data.at(panel, sites)
    if panel.n_samples <= max_people:
        return alleles
    rng = ctx.rng("attribute-inference", "people", panel.digest)
    people = np.sort(rng.choice(panel.n_samples, max_people, replace=False))
    rows = (people[:, None] * panel.ploidy + np.arange(panel.ploidy)).ravel()
    return np.asarray(alleles[rows])


def _judge(
    guesses: NDArray[np.float64],
    truth: NDArray[np.int8],
    frequency: NDArray[np.float64],
    ploidy: int,
) -> _Accuracy:
    """Right guesses by person, each allele weighted by one over its frequency.

    So both alleles of a site weigh the same, as in balanced accuracy; an even vote is half
    right.
    """
    voted = (guesses > 0.5) + 0.5 * (guesses == 0.5)
    right = np.where(truth == 1, voted, 1 - voted)
    weight = np.where(truth == 1, 0.5 / frequency, 0.5 / (1 - frequency))

    def by_person(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(values.reshape(-1, ploidy, values.shape[1]).sum(axis=1))

    return _Accuracy(by_person(right * weight), by_person(weight))


def _difference(
    train: _Accuracy,
    holdout: _Accuracy,
    sites: NDArray[np.bool_],
    labels: dict[str, str] | None = None,
    note: str = "",
) -> Measurement:
    """Training people's accuracy minus held-out people's.

    Without a leak who is which is chance, so error and skewness are those of people shared out at
    random: the few carriers of rare alleles, who weigh the most, may all be on one side.
    """
    (a, of_train), (b, of_holdout) = train.deviations(sites), holdout.deviations(sites)
    n, m = of_train.size, of_holdout.size
    deviations, total = np.concatenate([of_train, of_holdout]), n + m
    variance = float((deviations**2).sum()) / max(1, total - 2)
    error = np.sqrt(variance * (1 / n + 1 / m))
    # Of a sum over n of so many, drawn without replacement.
    third = (m - n) * float((deviations**3).sum()) / max(1, total - 2)
    skewness = third / np.sqrt(n * m * total * variance**3) if variance else 0.0
    return difference_evidence(a - b, float(error), total, labels, note, float(skewness))
