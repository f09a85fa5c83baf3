"""Copies of people: haplotypes of the cohort nearer to a person than real people are to others.

Held-out people alone are too few to name one copied person among many: their least p-value is
1 / (held-out people + 1). So two further things are asked, both of all real people together,
which know nothing of who was trained on: how improbable it is to meet a haplotype again, letter
for letter; and how far in the tail a copy lies of what real people are to each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from haplobench import Panel
from haplobench_privacy import distances
from haplobench_privacy.cohorts import Cohorts
from haplobench_privacy.evidence import copy_distances, paired

Floats = NDArray[np.float64]
KINDS = (
    "a person copied",
    "both haplotypes copied",
    "a haplotype copied",
    "a person nearly copied",
    "a haplotype nearly copied",
)
"""Kinds of evidence, in the order of the columns of `Copies.p`."""
_SUBSETS, _HALVES = 4, 4
_BLOCK_ROWS = 64
# Of the values of a tail that its fit rests on: a share, and how many at least.
_TAIL_HELD_OUT, _TAIL_REAL = (0.2, 10), (0.05, 20)


@dataclass(frozen=True, eq=False)
class Copies:
    """What the cohort's nearness says of each training person.

    Attributes
    ----------
    p : (n_train, n_kinds) float64
        P-values by `KINDS`, each valid by itself.
    copied : (n_train, 2) bool
        Whether a cohort person has all their haplotypes, and whether any of them is there.
    near : (n_train, 2) float64
        Sites at which the nearest cohort person, and the nearest haplotype, differ.
    p_if_copied : (n_train,) float64
        The least of p, were they in the cohort, letter for letter.
    """

    p: Floats
    copied: NDArray[np.bool_]
    near: Floats
    p_if_copied: Floats


def find_copies(data: Cohorts, rng: np.random.Generator) -> Copies:
    """Compare each training person's distance to the cohort with that to other real people.

    Of letter-for-letter copies, the p-value is how probable a cohort of other people is to have
    the haplotypes: their frequencies by Good (1953) and Turing, those of a pair independent. Of
    near ones, the statistic is log(1 + r) - log(1 + d), d the distance to the cohort and r that
    to as many other real people; the p-value is the greater of two, for neither may be a matter
    of relatives or of the generator: by held-out people's own statistics, and by those of all
    real people between random halves of them. Beyond its last values, a tail is taken for
    exponential, its mean known only by them (Rényi 1953: a tail's spacings are independent).
    """
    n_train = data.train.n_samples
    distance = np.concatenate([copy_distances(data, p) for p in (data.train, data.holdout)])
    real, halves = _among_real_people(data, rng)
    statistic = real - np.log1p(distance)
    by_person, by_haplotype = statistic[:, -1], statistic[:, :-1].max(axis=1)
    nulls = halves[:, :, -1].ravel(), halves[:, :, :-1].ravel()
    train, held_out = slice(None, n_train), slice(n_train, None)

    def near(of: Floats, own: Floats, null: Floats, times: int) -> Floats:
        held = tail_p(own[held_out], of, *_TAIL_HELD_OUT)
        # Halves change places: as many differences are below 0.
        others = times * tail_p(null, of, *_TAIL_REAL) / 2
        return np.minimum(1.0, np.maximum(held, others))

    ploidy = data.train.ploidy
    exact, at_best = _exact(data)
    p = np.column_stack(
        [
            exact,
            near(by_person[train], by_person, nulls[0], 1),
            near(by_haplotype[train], by_haplotype, nulls[1], ploidy),
        ]
    )
    if_near = near(real[train, -1], by_person, nulls[0], 1)
    return Copies(
        p,
        np.column_stack([distance[train, -1] == 0, (distance[train, :-1] == 0).any(axis=1)]),
        np.column_stack([distance[train, -1], distance[train, :-1].min(axis=1)]),
        np.minimum(at_best, if_near),
    )


def tail_p(null: Floats, values: Floats, share: float, least: int) -> Floats:
    """P-values of values against a null sample whose upper tail is taken for exponential.

    Up to its k-th largest value u the sample's own shares; beyond, (k + 1) / (n + 1) times
    (1 + (x - u) / (k s))^-k, s the mean excess of the k: the predictive distribution of an
    exponential whose mean is known by k values only, which is wider than the exponential.
    """
    ordered = np.sort(null)
    n = ordered.size
    k = min(n - 1, max(least, int(share * n)))
    rank = (1 + n - np.searchsorted(ordered, values)) / (n + 1)
    if k < 1:
        return np.asarray(rank)
    border = ordered[n - k - 1]
    mean = max(float((ordered[n - k :] - border).mean()), 1e-9)
    beyond = (k + 1) / (n + 1) * (1 + np.maximum(values - border, 0) / (k * mean)) ** -k
    return np.where(values > border, beyond, rank)


def _exact(data: Cohorts) -> tuple[Floats, Floats]:
    """P-values of letter-for-letter copies, (n_train, 3); and what a whole copy's would be."""
    train, holdout, cohort = (
        distances.keys(data.packed(one)) for one in (data.train, data.holdout, data.synthetic)
    )
    ploidy, people = data.train.ploidy, data.synthetic.n_samples
    _, first, counts = np.unique(
        np.concatenate([train, holdout]), return_inverse=True, return_counts=True
    )
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    # Turing's estimate of how often a haplotype seen once is met again; half a case is added,
    # for that none was seen twice doesn't mean that none can be.
    again = min(1.0, (2 * twice + 1) / max(1, once))
    seen = counts[first[: train.size]] - 1
    frequency = ((seen + again) / counts.sum()).reshape(-1, ploidy)
    met = -np.expm1(cohort.size * np.log1p(-np.minimum(frequency, 0.5)))
    there = np.isin(train, cohort).reshape(-1, ploidy)
    # Either haplotype may lie first, so a pair of different ones is met twice as often.
    same = (first[: train.size].reshape(-1, ploidy) == first[: train.size : ploidy, None]).all(1)
    pair = frequency.prod(axis=1) * np.where(same, 1.0, float(ploidy))
    person = -np.expm1(people * np.log1p(-np.minimum(pair, 0.5)))
    whole = copy_distances(data, data.train)[:, -1] == 0
    one = np.where(there, met, 1.0).min(axis=1)
    p = np.column_stack(
        [
            np.where(whole, person, 1.0),
            np.where(there.all(axis=1), met.prod(axis=1), 1.0),
            np.minimum(1.0, ploidy * one),
        ]
    )
    return p, person


def _among_real_people(data: Cohorts, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Of all real people, training ones first: nearness to each other.

    Returns
    -------
    (n, ploidy + 1) float64, (n_halves, n, ploidy + 1) float64
        log(1 + r) of each haplotype and of the person, r to as many others as the cohort has
        people, mean over some draws of them; and the absolute differences of log(1 + r) between
        random halves of the others.
    """
    size = data.synthetic.n_samples
    panels = (data.train, data.holdout)
    n = sum(panel.n_samples for panel in panels)
    draws = [rng.permutation(n) for _ in range(_SUBSETS + _HALVES)]

    def make() -> Floats:
        whole = size >= n - 1
        sides = [draws[0]] if whole else [order[:size] for order in draws[:_SUBSETS]]
        n_subsets = len(sides)
        for order in draws[_SUBSETS:]:
            sides += [order[: n // 2], order[n // 2 :]]
        logs = np.log1p(_nearest_of(data, panels, sides))
        first, second = logs[n_subsets::2], logs[n_subsets + 1 :: 2]
        return np.concatenate([logs[:n_subsets].mean(axis=0)[None], np.abs(first - second)])

    # The draws depend on the seed, and are the same for all generators of a run.
    found = data.remember(f"real people {size} {draws[0][:8].tolist()}", panels, make)
    return found[0], found[1:]


def _nearest_of(data: Cohorts, panels: tuple[Panel, ...], sides: list[NDArray[np.int64]]) -> Floats:
    """Least distances of real people to the others of each side: (n_sides, n, ploidy + 1)."""
    rows = np.concatenate([data.packed(panel) for panel in panels])
    ploidy = panels[0].ploidy
    n = rows.shape[0] // ploidy
    columns = np.ascontiguousarray(rows.T)
    haplotypes = [(side[:, None] * ploidy + np.arange(ploidy)).ravel() for side in sides]
    nearest = np.empty((len(sides), n, ploidy + 1))
    far = 64 * rows.shape[1] + 1
    for low in range(0, n, _BLOCK_ROWS):
        people = np.arange(low, min(low + _BLOCK_ROWS, n))
        block = distances.block(rows, columns, low * ploidy, people.size * ploidy)
        own = (people[:, None] * ploidy + np.arange(ploidy))[:, None, :]
        np.put_along_axis(
            block.reshape(people.size, ploidy, -1), np.repeat(own, ploidy, axis=1), far, axis=2
        )
        pairs = paired(block, ploidy)
        for at, (side, chosen) in enumerate(zip(sides, haplotypes, strict=True)):
            nearest[at, people, :ploidy] = block[:, chosen].min(axis=1).reshape(-1, ploidy)
            nearest[at, people, ploidy] = pairs[:, side].min(axis=1)
    return nearest
