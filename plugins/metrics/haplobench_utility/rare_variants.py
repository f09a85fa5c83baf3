"""Rare alleles of a cohort: how many, who carries them, and who shares them with whom."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np
from numpy.typing import NDArray
from scipy.stats import wasserstein_distance

from haplobench import Measurement, MetricResult, Panel, Reference, RunContext
from haplobench.data.panel import summed_strands
from haplobench.memory import remember
from haplobench_utility.cohorts import Level, by_label, common_labels, measured, noted
from haplobench_utility.specs_structure import RARE_VARIANTS, RareVariantsParams

_BLOCK_BYTES = 1 << 25
_NO_LABELS = "fewer than two labels have enough people on both sides"


@dataclass(frozen=True, eq=False)
class RareAlleles:
    """The rarer alleles of some people.

    Attributes
    ----------
    copies : (n_sites,) int64
        Of the rarer allele (among the training people), of all people together.
    carried : (n_samples,) int64
        Sites with a MAF below the limit at which a person carries it.
    rare : (n_sites,) bool
        Sites below the limit.
    shared : (n_groups, n_groups) float64
        Sites of two copies in two people, by their labels, the smaller label first.
    homozygous : int
        Sites of two copies in one person.
    private : dict
        By label, sites whose rarer allele people of no other label carry.
    """

    copies: NDArray[np.int64]
    carried: NDArray[np.int64]
    rare: NDArray[np.bool_]
    shared: NDArray[np.float64]
    homozygous: int
    private: dict[str, int]

    def __add__(self, more: RareAlleles) -> RareAlleles:
        """The same people's at these sites and at further ones."""
        return RareAlleles(
            np.concatenate([self.copies, more.copies]),
            self.carried + more.carried,
            np.concatenate([self.rare, more.rare]),
            self.shared + more.shared,
            self.homozygous + more.homozygous,
            {name: count + more.private[name] for name, count in self.private.items()},
        )


def rare_variants(
    reference: Reference, cohort: Panel, params: RareVariantsParams, ctx: RunContext
) -> MetricResult:
    """Rare alleles of the cohort against those of as many held-out people."""
    train, holdout = reference.train, reference.holdout
    n = min(cohort.n_samples, holdout.n_samples)
    if not n or not train.n_sites or cohort.ploidy != holdout.ploidy:
        note = "needs people of one ploidy on both sides, and a site"
        return RARE_VARIANTS.not_applicable(note, cohort.n_samples)
    level: Level = "superpopulation"
    groups = common_labels(level, params.min_people, holdout, cohort)
    if groups.size < 2:
        level = "population"
        groups = common_labels(level, params.min_people, holdout, cohort)
    sizes = {
        str(name): min(int((getattr(panel, level) == name).sum()) for panel in (holdout, cohort))
        for name in groups
    }
    turned = train.frequencies > 0.5
    below = train.maf < params.max_maf - 1e-9

    def alleles(panel: Panel, side: str) -> RareAlleles:
        rng = ctx.rng("rare-variants", side)
        rows = np.arange(panel.n_samples)
        if n < rows.size:
            rows = np.sort(rng.choice(rows, n, replace=False))
        people: dict[str, NDArray[np.int64]] = {}
        for name, size in sizes.items():
            people[name] = np.flatnonzero(getattr(panel, level) == name)
            if size < people[name].size:
                people[name] = np.sort(rng.choice(people[name], size, replace=False))
        labels = getattr(panel, level)[rows]

        def part(sites: slice) -> RareAlleles:
            alleles = panel.alleles(columns=sites)
            dosages = summed_strands(alleles ^ turned[sites].view(np.int8), panel.ploidy)
            if panel.has_missing:
                for strand in range(panel.ploidy):
                    dosages[alleles[strand :: panel.ploidy] < 0] = 0
            carriers = {
                name: np.asarray((dosages[mine] > 0).any(axis=0)) for name, mine in people.items()
            }
            return count_alleles(dosages[rows], below[sites], labels, groups, carriers)

        step = max(1, _BLOCK_BYTES // panel.n_haplotypes)
        parts = (part(slice(at, at + step)) for at in range(0, panel.n_sites, step))
        return reduce(add, parts)

    key = ("rare", train.digest, holdout.digest, params, n, tuple(sizes.items()), ctx.seed)
    real = remember(key, lambda: alleles(holdout, "holdout"))
    own = alleles(cohort, "synthetic")
    missing = " and ".join(
        side for side, panel in (("held-out", holdout), ("synthetic", cohort)) if panel.has_missing
    )
    note = noted(
        f"{n} people a side" if n < max(cohort.n_samples, holdout.n_samples) else "",
        f"missing alleles ({missing}) count as the commoner one" if missing else "",
    )
    return MetricResult(_compare(real, own, level, groups, sizes, params.least_sites, note))


def count_alleles(
    dosages: NDArray[np.int8],
    rare: NDArray[np.bool_],
    labels: NDArray[np.str_],
    groups: NDArray[np.str_],
    carriers: dict[str, NDArray[np.bool_]],
) -> RareAlleles:
    """Count the rarer alleles of some people.

    Parameters
    ----------
    dosages : (n_samples, n_sites) int8
        Copies of the rarer allele.
    rare : (n_sites,) bool
        Sites that count for `carried`.
    labels, groups : (n_samples,), (n_groups,) str
        Labels of people, and those that `shared` has, sorted.
    carriers : dict
        By label, whether anybody of as many people of it carries the allele: (n_sites,) bool.
    """
    copies = dosages.sum(axis=0, dtype=np.int64)
    twice = dosages[:, copies == 2]
    apart = twice[:, (twice < 2).all(axis=0)]
    # Both carriers of each site, one after the other.
    people = np.nonzero(apart.T)[1].reshape(-1, 2)
    shared = np.zeros((groups.size, groups.size))
    if groups.size:
        at = np.minimum(np.searchsorted(groups, labels), groups.size - 1)
        index = np.where(groups[at] == labels, at, -1)
        pairs = np.sort(index[people], axis=1)
        pairs = pairs[(pairs >= 0).all(axis=1)]
        np.add.at(shared, (pairs[:, 0], pairs[:, 1]), 1)
    anybody = np.sum(list(carriers.values()), axis=0) if carriers else np.zeros(copies.size)
    private = {name: int((mine & (anybody == 1)).sum()) for name, mine in carriers.items()}
    return RareAlleles(
        copies,
        (dosages[:, rare] > 0).sum(axis=1),
        rare,
        shared,
        twice.shape[1] - apart.shape[1],
        private,
    )


def _compare(
    real: RareAlleles,
    own: RareAlleles,
    level: Level,
    groups: NDArray[np.str_],
    sizes: dict[str, int],
    least: int,
    note: str,
) -> dict[str, Measurement | list[Measurement]]:
    n = own.carried.size
    found: dict[str, Measurement | list[Measurement]] = {}
    for name, copies in (("singletons_ratio", 1), ("doubletons_ratio", 2)):
        mine, theirs = (int((side.copies == copies).sum()) for side in (own, real))
        ratio = mine / theirs if theirs >= least else None
        found[name] = measured(ratio, mine, f"held-out people have fewer than {least}", note)
    n_rare = int(own.rare.sum())
    mean = float(real.carried.mean())
    why = "no site is so rare among the training people, or no held-out person carries one"
    carried = distance = None
    if mean:
        carried = float(own.carried.mean()) / mean
        distance = float(wasserstein_distance(own.carried, real.carried)) / mean
    found |= {
        "carried_ratio": measured(carried, n_rare, why, note),
        "carried_wasserstein": measured(distance, n_rare, why, note),
    }
    there = (real.copies > 0) & own.rare
    reached = float((own.copies[there] > 0).mean()) if there.any() else None
    found["recall"] = measured(reached, int(there.sum()), why, note)
    totals = [side.shared.sum() for side in (real, own)]
    mine = int(totals[1])
    apart = within = None
    lack = f"fewer than {least} doubletons are shared, on one side or both"
    if groups.size < 2:
        lack = _NO_LABELS
    elif min(totals) >= least:
        shares = [side.shared / total for side, total in zip((real, own), totals, strict=True)]
        apart = float(np.abs(shares[1] - shares[0]).sum() / 2)
        within = float(np.trace(shares[1]) - np.trace(shares[0]))
    words = noted(f"of {level}s", note)
    found |= {
        "sharing_distance": measured(apart, mine, lack, words),
        "sharing_within_difference": measured(within, mine, lack, words),
    }
    ratios = {
        name: (own.private[name] / real.private[name], sizes[name])
        for name in real.private
        if real.private[name] >= least
    }
    lack = f"no label of held-out people has {least} private alleles"
    if groups.size < 2:
        lack = _NO_LABELS
    found["private_ratio"] = by_label(level, ratios if groups.size > 1 else {}, lack, n)
    return found
