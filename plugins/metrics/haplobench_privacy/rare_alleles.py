"""Rare alleles: whether the cohort holds what one or two of all real people carry."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from haplobench import Measurement, MetricResult, Panel, Reference, RunContext
from haplobench.data.distances import popcount
from haplobench.data.joined import contig_of_sites
from haplobench.kernels import compiled
from haplobench_privacy.cohorts import Cohorts, cohorts, share
from haplobench_privacy.evidence import Scores, centred, packed_sites
from haplobench_privacy.roc import area_evidence, curve, share_evidence
from haplobench_privacy.specs_attacks import RareAlleleParams

# Rows of what is kept for every person. The first is, over the alleles of one or two copies among
# all real people that a person carries, the sum of (held - h) / (h (1 - h)) / carriers: held 1
# where any synthetic haplotype has the allele, h the share of alleles of as many copies that are
# held, carriers how many people share it (a score test of the person's own part in it). Nothing of
# it knows who was trained on; 0 where a person has no such allele.
_ALLELES, _PAIRS, _PRIVATE, _HELD, _N_PAIRS, _HELD_PAIRS = range(6)


def rare_alleles(
    reference: Reference, cohort: Panel, params: RareAlleleParams, ctx: RunContext
) -> MetricResult:
    """Attack by alleles of one or two copies, and by pairs that only one haplotype carries."""
    data = cohorts(reference, cohort, params.max_haplotypes, ctx)
    sides = [_evidence(data, panel, params.max_maf) for panel in (data.train, data.holdout)]

    def total(row: int) -> int:
        return int(sum(side[row].sum() for side in sides))

    def attacked(row: int) -> tuple[Scores, Scores]:
        labels = data.train.population, data.holdout.population
        return centred(sides[0][row], sides[1][row], *labels)

    none = Measurement(None, note=f"no pair of alleles is of one haplotype alone; {data.size_note}")
    by_pairs = {"auc_pairs": none, "held_pairs": none}
    if total(_N_PAIRS):
        by_pairs = {
            "auc_pairs": area_evidence(*attacked(_PAIRS), note=data.size_note),
            "held_pairs": share(np.arange(total(_N_PAIRS)) < total(_HELD_PAIRS)),
        }
    measurements = {
        "private_alleles": Measurement(float(total(_PRIVATE))),
        "private_pairs": Measurement(float(total(_N_PAIRS))),
    }
    refused = _refusal(data)
    if refused:
        absent = Measurement(None, note=f"{refused}; {data.size_note}")
        names = ("auc", "people_with_private", "held_private")
        return MetricResult(dict.fromkeys(names, absent) | by_pairs | measurements)
    scored = attacked(_ALLELES)
    held = Measurement(None, note="every rare allele is shared by two real people")
    if total(_PRIVATE):
        held = share(np.arange(total(_PRIVATE)) < total(_HELD))
    return MetricResult(
        {
            "auc": area_evidence(*scored, note=data.size_note),
            "people_with_private": share_evidence(*(side[_HELD] > 0 for side in sides)),
            "held_private": held,
            **by_pairs,
            **measurements,
        },
        {"roc": curve(*scored)},
    )


def private_alleles(data: Cohorts, panel: Panel) -> NDArray[np.int64]:
    """Alleles that one person alone of all real people carries, of people of a panel of these.

    How many each has, and how many of them the cohort holds: (2, n_samples) int64.
    """
    return _evidence(data, panel, RareAlleleParams().max_maf)[[_PRIVATE, _HELD]].astype(np.int64)


def _refusal(data: Cohorts) -> str:
    """Why rare alleles can't be evidence; empty where they can."""
    counts, own = _minor_counts(data)
    rare = (counts > 0) & (counts <= 2)
    if not rare.any():
        return "no allele has only one or two copies among the real people"
    for name, copies in (("training", own[0]), ("held-out", own[1])):
        if (copies[rare] > 0).all():
            return (
                f"the sites were chosen among {name} people, who carry all "
                f"{int(rare.sum())} rare alleles"
            )
    return ""


def _minor_counts(data: Cohorts) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Copies of the allele that is the rarer among all real people, at the compared sites.

    (n_sites,), and (2, n_sites) of them among training and held-out people.
    """
    own = _alternate(data)
    sizes = np.array([data.train.n_haplotypes, data.holdout.n_haplotypes])
    alternate = own.sum(axis=0)
    own = np.where(2 * alternate > sizes.sum(), sizes[:, None] - own, own)
    return np.asarray(own.sum(axis=0)), own


def _alternate(data: Cohorts) -> NDArray[np.int64]:
    """Copies of the alternate allele among training and held-out people: (2, n_sites) int64."""
    return np.array([one.allele_counts[0][data.sites] for one in (data.train, data.holdout)])


def _evidence(data: Cohorts, panel: Panel, max_maf: float) -> NDArray[np.float64]:
    """(6, n_samples) of a panel's people, rows as above."""
    found = data.remember(
        f"rare alleles {max_maf:g}",
        (data.train, data.holdout, data.synthetic),
        lambda: _examined(data, max_maf),
    )
    n_train = data.train.n_samples
    return found[:, :n_train] if panel is data.train else found[:, n_train:]


def _examined(data: Cohorts, max_maf: float) -> NDArray[np.float64]:
    """The same of all real people, training ones first."""
    counts, own = _minor_counts(data)
    n = data.train.n_haplotypes + data.holdout.n_haplotypes
    ploidy = data.train.ploidy
    sites = np.flatnonzero((counts > 0) & (counts <= max(2, max_maf * n)))
    counts = counts[sites]
    alternate = _alternate(data).sum(axis=0)[sites]
    flip = np.asarray(2 * alternate > n)
    real = packed_sites(data, (data.train, data.holdout), sites, flip)
    synthetic = packed_sites(data, (data.synthetic,), sites, flip)
    found = np.zeros((6, n // ploidy))
    rare = np.flatnonzero(counts <= 2)
    carriers = _carriers(real[rare], ploidy)
    held = np.asarray(synthetic[rare].any(axis=1))
    alone = np.asarray(carriers[:, 0] == carriers[:, 1])
    for copies in (1, 2):
        of = counts[rare] == copies
        usual = held[of].mean() if of.any() else 0.0
        if 0 < usual < 1:
            weight = (held[of] - usual) / (usual * (1 - usual))
            # Half for each of two carriers, both halves for one person alone.
            for side in range(2):
                np.add.at(found[_ALLELES], carriers[of, side], weight / 2)
    np.add.at(found[_PRIVATE], carriers[alone, 0], 1)
    np.add.at(found[_HELD], carriers[alone & held, 0], 1)
    # A site chosen because training people carry so many copies has more of them than chance
    # would give it: pairs are of alleles half as frequent again as the rarest of such sites.
    usable = counts >= own[0].min() * 1.5 * n / data.train.n_haplotypes
    contig = contig_of_sites(data.train)[data.sites][sites][usable]
    found[_PAIRS], found[_N_PAIRS], found[_HELD_PAIRS] = _pairs(
        real[usable], synthetic[usable], contig, n, data.synthetic.n_haplotypes, ploidy
    )
    # Sites chosen by their MAF among training people give them more pairs: only what is beyond
    # the mean of all pairs counts.
    found[_PAIRS] -= found[_N_PAIRS] * (found[_PAIRS].sum() / max(1.0, found[_N_PAIRS].sum()))
    return found


@compiled
def _carriers(real: Any, ploidy: int) -> Any:
    """The first and the last person who carries the allele of each row: (n, 2) int64."""
    carriers = np.full((real.shape[0], 2), -1, np.int64)
    for site in range(real.shape[0]):
        for w in range(real.shape[1]):
            word = real[site, w]
            while word:
                low = word & (~word + np.uint64(1))
                person = (64 * w + popcount(low - np.uint64(1))) // ploidy
                if carriers[site, 0] < 0:
                    carriers[site, 0] = person
                carriers[site, 1] = person
                word ^= low
    return carriers


@compiled
def _pairs(real: Any, synthetic: Any, contig: Any, n: int, m: int, ploidy: int) -> Any:
    """Pairs of rare alleles, neighbours on a haplotype, that no other real haplotype carries.

    By person: the sum of (held - p) (-log p), held 1 where a synthetic haplotype carries both,
    p how probable that is for alleles of the cohort's own counts on m haplotypes without LD;
    how many pairs, and how many of them are held: (3, n / ploidy) float64.
    """
    found = np.zeros((3, n // ploidy))
    last = np.full(n, -1, np.int64)
    copies = np.zeros(synthetic.shape[0])
    for site in range(real.shape[0]):
        for w in range(synthetic.shape[1]):
            copies[site] += popcount(synthetic[site, w])
        for w in range(real.shape[1]):
            word = real[site, w]
            while word:
                low = word & (~word + np.uint64(1))
                word ^= low
                haplotype = 64 * w + popcount(low - np.uint64(1))
                before = last[haplotype]
                last[haplotype] = site
                if before < 0 or contig[before] != contig[site]:
                    continue
                carried = 0
                for v in range(real.shape[1]):
                    carried += popcount(real[before, v] & real[site, v])
                    if carried > 1:
                        break
                if carried > 1:
                    continue
                person = haplotype // ploidy
                found[1, person] += 1
                if copies[before] == 0 or copies[site] == 0:
                    continue
                held = False
                for v in range(synthetic.shape[1]):
                    if synthetic[before, v] & synthetic[site, v]:
                        held = True
                        break
                p = -np.expm1(m * np.log1p(-copies[before] * copies[site] / (m * m)))
                found[0, person] -= (held - p) * np.log(p)
                found[2, person] += held
    return found
