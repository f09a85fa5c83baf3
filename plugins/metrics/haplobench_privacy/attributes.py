"""Attribute inference: hidden alleles guessed from the nearest synthetic haplotypes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haplobench import Measurement, MetricResult, Panel, Reference, RunContext
from haplobench.data.bits import pack_bits
from haplobench.hamming import four_rows
from haplobench.kernels import compiled
from haplobench_privacy.cohorts import Cohorts, cohorts
from haplobench_privacy.roc import difference_evidence
from haplobench_privacy.specs.attacks import ATTRIBUTE_INFERENCE, AttributeParams

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
