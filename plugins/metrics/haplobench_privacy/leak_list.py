"""The list of training people whom a synthetic cohort gives away, false discoveries bounded.

Held-out people alone are too few to name one copied person among many: their least p-value is
1 / (held-out people + 1). So two further things are asked, both of all real people together,
which know nothing of who was trained on: how improbable it is to meet a haplotype again, letter
for letter; and how far in the tail a copy lies of what real people are to each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

from haplobench import Measurement, MetricResult, Panel, Reference, RunContext
from haplobench_privacy import distances
from haplobench_privacy.cohorts import Cohorts, cohorts, share
from haplobench_privacy.evidence import (
    centred,
    closeness,
    closest_kin,
    copy_distances,
    frequency_ratios,
    longest_tracts,
    paired,
)
from haplobench_privacy.rare_alleles import private_alleles
from haplobench_privacy.specs_attacks import LeakListParams

EVIDENCE = ("nearest distance", "copied tract", "likelihood ratio", "kinship")
_NO_KIN = -1.0
# Of single copies, so many must be sure to be named for that nobody is flagged to mean anything.
_POWER = 0.8
_BLOCK_VALUES = 1 << 22


def leak_list(
    reference: Reference, cohort: Panel, params: LeakListParams, ctx: RunContext
) -> MetricResult:
    """Every training person with the evidence against them (table `people`), who is flagged."""
    data = cohorts(reference, cohort, params.max_haplotypes, ctx)
    train, holdout = _evidence(data, data.train), _evidence(data, data.holdout)
    train[2], holdout[2] = centred(
        train[2], holdout[2], data.train.population, data.holdout.population
    )
    leaks = find_leaks(train, holdout)
    copies = find_copies(data, ctx.rng("leak-list", "real people"))
    # Who is copied on one chromosome stands out there, and hardly in the genome.
    parts = [part for part, _ in data.contigs(data.train)]
    by_contig = {
        part.train.contig: find_copies(part, ctx.rng("leak-list", "real people", part.train.contig))
        for part in (parts if len(parts) > 1 else ())
    }
    kinds = np.column_stack([copies.p, leaks.p, *(of.p for of in by_contig.values())])
    n, level = leaks.p.size, params.false_discoveries
    p = np.minimum(1.0, kinds.shape[1] * kinds.min(axis=1))
    q = false_discovery_control(p)
    flagged = q <= level
    named = float((n * kinds.shape[1] * copies.p_if_copied <= level).mean())
    fewest = int(np.ceil(n * kinds.shape[1] / (holdout.shape[1] + 1) / level - 1e-9))
    powerless = not flagged.any() and named < _POWER
    fewer = f"fewer than {fewest:,} can't be told" if fewest <= n else "nobody can be told"
    return MetricResult(
        {
            "flagged": Measurement(
                None if powerless else float(flagged.sum()),
                n,
                note=f"with {holdout.shape[1]:,} held-out people {fewer}"
                if powerless
                else data.size_note,
                p=float(q.min()),
                detectable=1.0 if named >= _POWER else float(fewest),
            ),
            "flagged_share": share(flagged),
            "people_copied": Measurement(float(copies.copied[:, 0].sum()), n),
            "copies_named": Measurement(named, n),
            "fewest_flagged": Measurement(
                float(max(1, fewest)) if fewest <= n else None,
                holdout.shape[1],
                note="" if fewest <= n else "too few held-out people for anybody to stand out",
            ),
            "least_q": Measurement(float(q.min()), n),
        },
        {
            "people": _table(data, train, leaks, copies, by_contig, p, q, flagged),
            "unseen": {"strength": leaks.unseen.astype(np.float32)},
        },
    )


def _evidence(data: Cohorts, panel: Panel) -> NDArray[np.float64]:
    """(n_evidence, n_samples) float64, larger is stronger."""
    scores = [score(data, panel) for score in (closeness, longest_tracts, frequency_ratios)]
    if panel.ploidy == 2:
        scores.append(np.maximum(closest_kin(data, panel), _NO_KIN))
    return np.array(scores)


def _table(
    data: Cohorts,
    evidence: NDArray[np.float64],
    leaks: Leaks,
    copies: Copies,
    by_contig: Mapping[str, Copies],
    p: NDArray[np.float64],
    q: NDArray[np.float64],
    flagged: NDArray[np.bool_],
) -> dict[str, NDArray[np.generic]]:
    """The list, most exposed first; evidence as it was compared."""
    panel = data.train
    private, held = private_alleles(data, panel)
    order = np.lexsort((-leaks.strength, p))
    names = np.array(EVIDENCE[: evidence.shape[0]])
    kinds = np.column_stack([copies.p, leaks.p])
    # Evidence that would have done by itself, in place of the strongest, is named.
    every = np.column_stack([kinds, *(of.p for of in by_contig.values())])
    least = float(every.min(axis=1)[flagged].max()) if flagged.any() else -1.0
    told = [np.array(KINDS)[which].tolist() for which in _enough(copies, least)]
    for person in np.flatnonzero(leaks.p <= least):
        told[person].append(f"stands out by {names[leaks.strongest[person]]}")
    for contig, of in by_contig.items():
        # Of single contigs, chance copies of people who aren't given away there are passed over.
        there = (of.p <= least).any(axis=1, keepdims=True)
        for person, kind in np.argwhere(_enough(of, least) & there):
            told[person].append(f"{KINDS[kind]} on contig {contig}")
    for person in np.flatnonzero(flagged & (held > 0)):
        told[person].append(f"{held[person]:,} of {private[person]:,} private alleles held")
    texts = ["; ".join(one) for one in told]
    columns: dict[str, NDArray[np.generic]] = {
        "rank": np.arange(1, order.size + 1),
        "sample": panel.samples[order],
        "population": panel.population[order],
        "flagged": flagged[order],
        "evidence": np.array(texts)[order],
        "p": p[order],
        "q": q[order],
        "strongest": names[leaks.strongest[order]],
        "strength": leaks.strength[order],
        "person_distance": copies.near[order, 0],
        "haplotype_distance": copies.near[order, 1],
        "private_alleles": private[order],
        "private_alleles_held": held[order],
    }
    for kind, values in zip((*KINDS, "standing out"), kinds.T, strict=True):
        columns[f"p_{kind.replace(' ', '_')}"] = values[order]
    return columns | {
        name.replace(" ", "_"): values[order] for name, values in zip(names, evidence, strict=True)
    }


def _enough(copies: Copies, least: float) -> NDArray[np.bool_]:
    """Kinds that name a person, (n_train, n_kinds): by a p-value of at most `least`, or copied."""
    enough = copies.p <= least
    enough[:, 0] |= copies.copied[:, 0]
    enough[:, 2] |= copies.copied[:, 1]
    return enough


@dataclass(frozen=True, eq=False)
class Leaks:
    """What the evidence says of each training person.

    Attributes
    ----------
    strength : (n_train,) float64
        The strongest evidence, in robust standard deviations from the held-out people's median.
    strongest : (n_train,) int64
        Which evidence that is.
    p : (n_train,) float64
        Conformal p-value.
    unseen : (n_holdout,) float64
        `strength` of held-out people, each among the held-out ones.
    """

    strength: NDArray[np.float64]
    strongest: NDArray[np.int64]
    p: NDArray[np.float64]
    unseen: NDArray[np.float64]


def find_leaks(train: NDArray[np.float64], holdout: NDArray[np.float64]) -> Leaks:
    """Compare each training person's evidence with that of held-out people.

    A training person joins the held-out ones; each evidence of all of them is put into robust
    standard deviations (median, median absolute deviation) and the largest counts. The
    p-value is the person's rank among them: exact where the person is no other than held-out
    people are (full conformal, Vovk et al. 2005), whatever evidence there is and however many
    kinds. P-values of a common sample suit Benjamini and Hochberg's rule (Bates et al. 2023).

    Parameters
    ----------
    train, holdout : (n_evidence, n_train), (n_evidence, n_holdout) float64
        Larger is stronger; finite.
    """
    n_train, n_holdout = train.shape[1], holdout.shape[1]
    strength, p = np.empty((2, n_train))
    strongest = np.empty(n_train, np.int64)
    step = max(1, _BLOCK_VALUES // (n_holdout + 1))
    for low in range(0, n_train, step):
        rows = slice(low, min(low + step, n_train))
        best = np.full((rows.stop - low, n_holdout + 1), -np.inf)
        which = np.zeros(rows.stop - low, np.int64)
        for i in range(train.shape[0]):
            together = np.empty_like(best)
            together[:, 0] = train[i, rows]
            together[:, 1:] = holdout[i]
            scaled = _robust(together)
            which[scaled[:, 0] > best[:, 0]] = i
            np.maximum(best, scaled, out=best)
        strength[rows], strongest[rows] = best[:, 0], which
        p[rows] = (best >= best[:, :1]).mean(axis=1)
    unseen = np.max([_robust(values[None])[0] for values in holdout], axis=0)
    return Leaks(strength, strongest, p, unseen)


def _robust(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each row minus its median, over its median absolute deviation (times 1.4826).

    Where more than half of a row is equal: over its mean absolute deviation (times 1.2533), or
    0 throughout where all is.
    """
    centre = rows - np.median(rows, axis=1, keepdims=True)
    size = np.abs(centre)
    scale = 1.4826 * np.median(size, axis=1, keepdims=True)
    scale = np.where(scale > 0, scale, 1.2533 * size.mean(axis=1, keepdims=True))
    return np.asarray(centre / np.where(scale > 0, scale, 1.0))


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

    Up to its (k + 1)-th largest value u the sample's own shares; beyond, (a + 1) / (n + 1) times
    (1 + (x - u) / (a s))^-a, a how many of the k exceed u and s their mean excess: the predictive
    distribution of an exponential whose mean is known by a values only, which is wider than the
    exponential. Nothing is said to be rarer than the sample's values as large as it: values of
    few sites are tied, and a tail of ties alone has no width to go on with.
    """
    ordered = np.sort(null)
    n = ordered.size
    k = min(n - 1, max(least, int(share * n)))
    rank = (1 + n - np.searchsorted(ordered, values)) / (n + 1)
    if k < 1:
        return np.asarray(rank)
    border = ordered[n - k - 1]
    excess = ordered[ordered > border] - border
    a = excess.size
    if not a:
        return np.asarray(rank)
    x = np.maximum(values - border, 0)
    beyond = (a + 1) / (n + 1) * (1 + x / excess.sum()) ** -a
    return np.where(values > ordered[-1], beyond, np.maximum(rank, np.where(x > 0, beyond, 0)))


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
