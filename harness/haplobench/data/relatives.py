"""Duplicates and relatives among the people of a panel, as far as its region can tell them.

A panel is one region. On a short one strangers share whole haplotypes, and kinship estimated
there says so of every second pair: what holds for genomes must not be taken over. Two
comparisons of the region with its own halves say what it can tell:

- **Sharing all of it** (the same genotypes; a whole haplotype). Relatives share the whole as
  they share its halves. Strangers share a half oftener than the whole: under the coalescent
  with recombination two haplotypes have a common ancestor, unbroken, over a length L with
  probability 1 / (1 + 4NL), so a share P for a half makes P / (2 - P) for the whole (and for
  both haplotypes, the same genotypes, its square). From the pairs that share a half and those
  that share the whole follows how many do so by chance.
- **Kinship.** A pair's KING estimates on the two halves differ by chance alone, so that half
  the spread of the differences is the standard error of the whole region's estimate. A degree
  is told where strangers would reach its threshold in fewer than one panel of twenty.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haplobench.data.bits import pack_bits
from haplobench.data.kinship import DEGREES, GenotypePairs, compare_genotypes
from haplobench.data.panel import Panel
from haplobench.data.split import connected
from haplobench.units import counted

SAME_GENOTYPES = "the same genotypes"
WHOLE_HAPLOTYPE = "a whole haplotype"
NO_OPPOSITE = "no opposite homozygotes"
FIRST_DEGREE = "first-degree kinship"
SECOND_DEGREE = "second-degree kinship"

# Beyond so many people the search would take hours.
MOST_PEOPLE = 20_000
_MOST_SITES = 20_000
_LEAST_SITES = 40
_MIN_MAF = 0.01
_BLOCK_PAIRS = 1 << 21
_SAMPLE_PEOPLE = 300
# Shares of the sites at which what is shared may differ: errors of typing and phasing.
_TOLERANCES = np.array([0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03])
_MOST_CHANCE = 0.5
# More pairs a person than any pedigree has.
_MOST_PAIRS = 10
_FALSE_PAIRS = 0.05
_CACHED_WORDS = 1 << 15

Pairs = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Evidence:
    """Pairs of people that one kind of likeness makes relatives, or why it doesn't.

    Attributes
    ----------
    kind : str
        What the two have in common.
    pairs : (n, 2) int64
        Indices into the first and the second panel; none unless `told`.
    chance : float
        How many of the alike pairs are expected among strangers; of kinship, NaN.
    noise : float
        Of kinship: its standard error on this region; else NaN.
    told : bool
        Whether the region can tell relatives by this.
    alike : int
        Pairs that are alike, told or not.
    """

    kind: str
    pairs: Pairs
    chance: float = float("nan")
    noise: float = float("nan")
    told: bool = True
    alike: int = 0


@dataclass(frozen=True)
class Relatives:
    """What a panel shows of kin among its people.

    `evidence`: by kind, the strongest first; empty, with a `reason`, where nothing was looked
    for. `n_sites`: sites compared.
    """

    evidence: tuple[Evidence, ...] = ()
    n_sites: int = 0
    reason: str = ""

    @property
    def pairs(self) -> Pairs:
        """Every pair told, once: (n, 2) int64."""
        told = [one.pairs for one in self.evidence if one.told]
        return np.unique(np.concatenate([np.empty((0, 2), np.int64), *told]), axis=0)

    def facts(self) -> dict[str, Any]:
        """What run.json says of it: counts, no names."""
        return {
            "sites": self.n_sites,
            "reason": self.reason,
            "evidence": [
                {
                    "kind": one.kind,
                    "told": one.told,
                    "pairs": int(one.pairs.shape[0]),
                    "alike": one.alike,
                    "chance": None if np.isnan(one.chance) else round(one.chance, 1),
                    "noise": None if not np.isfinite(one.noise) else round(one.noise, 4),
                }
                for one in self.evidence
            ],
        }


def noteworthy(facts: Mapping[str, Any]) -> str:
    """`relatives_text` where there are relatives, or where they couldn't be looked for; or empty.

    A warning is so called.
    """
    if not (facts["families"] or facts["across"] or facts["reason"]):
        return ""
    return ("warning: " if facts["across"] else "") + relatives_text(facts)


def relatives_text(facts: Mapping[str, Any]) -> str:
    """What `Relatives.facts`, and what was made of it, says: one sentence or two.

    `facts` also has the `setting`, the numbers of `families` and of `people` in them, of
    `declared` families, and of families or pairs `across` the split.
    """
    evidence: Sequence[Mapping[str, Any]] = facts["evidence"]
    pairs = [
        f"{counted(one['pairs'], 'pair')} with {one['kind']}"
        + (f" ({one['chance']:.0f} expected by chance)" if one["chance"] else "")
        for one in evidence
        if one["pairs"]
    ]
    parts = []
    if facts["declared"]:
        parts.append(f"{counted(facts['declared'], 'family', 'families')} declared")
    if pairs:
        parts.append(", ".join(pairs))
    if facts["setting"] == "ignore":
        parts.append("relatives not looked for, as asked")
    elif facts["reason"]:
        parts.append(f"relatives not looked for: {facts['reason']}")
    elif not pairs:
        parts.append("no relatives seen among the people")
    if facts["families"]:
        parts.append(
            f"{counted(facts['families'], 'family', 'families')} of {facts['people']:,} people "
            "kept on one side of the split"
        )
    if facts["across"]:
        across = counted(facts["across"], "family or pair", "families or pairs")
        parts.append(f"{across} on two sides of the split")
    untold = [str(one["kind"]) for one in evidence if not one["told"]]
    if untold:
        parts.append(f"the region is too short to tell relatives by {', '.join(untold)}")
    return "; ".join(parts)


def find_relatives(panel: Panel, other: Panel | None = None) -> Relatives:
    """Search a panel for duplicates and relatives, by genotypes alone.

    Parameters
    ----------
    panel : Panel
        Haploid or diploid people. Up to 20,000 sites with a MAF of 1 % or more are compared,
        evenly spaced.
    other : Panel, optional
        Search for pairs of one of `panel` and one of `other`, at equal sites and of equal
        ploidy, instead of pairs within `panel`.
    """
    people = panel.n_samples + (other.n_samples if other else 0)
    if panel.ploidy > 2:
        return Relatives(reason=f"a ploidy of {panel.ploidy}, where 1 or 2 can be compared")
    if people > MOST_PEOPLE:
        return Relatives(reason=f"{people:,} people, where at most {MOST_PEOPLE:,} are compared")
    common, reason = compared_sites(panel, other)
    if reason:
        return Relatives(n_sites=int(common.size), reason=reason)
    one = _Halves(panel, common)
    return _Search(one, one if other is None else _Halves(other, common), other is None).run()


def compared_sites(panel: Panel, other: Panel | None) -> tuple[NDArray[np.int64], str]:
    """Sites at which `find_relatives` compares people, and why they are too few if they are."""
    counts = panel.allele_counts + (other.allele_counts if other else 0)
    minor = np.minimum(counts[0], counts[1] - counts[0])
    common = np.flatnonzero((minor > 0) & (minor >= (_MIN_MAF - 1e-9) * counts[1]))
    if common.size < _LEAST_SITES:
        reason = f"{common.size} sites with a MAF of 1 % or more, where {_LEAST_SITES} are needed"
        return common, reason
    if common.size > _MOST_SITES:
        common = common[np.linspace(0, common.size - 1, _MOST_SITES).round().astype(np.int64)]
    return common, ""


def genotypes(panel: Panel) -> NDArray[np.int8]:
    """Dosages (n_samples, n_sites) int8; a haploid person's alleles as homozygous genotypes."""
    if panel.ploidy == 2:
        return panel.dosages()
    return np.where(panel.haplotypes > 0, 2, panel.haplotypes).astype(np.int8)


class _Halves:
    """People's genotypes on the two halves of the compared sites."""

    def __init__(self, panel: Panel, sites: NDArray[np.int64]) -> None:
        self.n = panel.n_samples
        self.ploidy = panel.ploidy
        self.phased = panel.phased and panel.ploidy == 2
        self.parts = [
            panel.select_sites(part)
            for part in (sites[: sites.size // 2], sites[sites.size // 2 :])
        ]
        self.dosages = [genotypes(part) for part in self.parts]
        self.complete = not any(part.has_missing for part in self.parts)
        self.bits: list[tuple[NDArray[np.uint64], NDArray[np.uint64]]] = []
        if self.phased:
            self.bits = [
                tuple(
                    pack_bits(mask.view(np.int8)).reshape(self.n, 2, -1)
                    for mask in (part.haplotypes == 1, part.haplotypes >= 0)
                )  # type: ignore[misc]
                for part in self.parts
            ]

    def rows(self, part: slice) -> list[NDArray[np.int8]]:
        """Dosages of some people, on each half."""
        return [dosages[part] for dosages in self.dosages]


class _Shared:
    """Pairs that share a region but for some tolerance, and those that share its halves."""

    def __init__(self, kind: str, haplotypes: int) -> None:
        self.kind = kind
        self.haplotypes = haplotypes
        self.counts = np.zeros((3, _TOLERANCES.size), np.int64)
        self.pairs: list[Pairs] = []
        self.rates: list[NDArray[np.float64]] = []

    def add(self, pairs: Pairs, rates: NDArray[np.float64], most: int) -> None:
        """Take pairs (n, 2) with mismatches per site (3, n) on the whole and on both halves."""
        self.counts += (rates[:, :, None] <= _TOLERANCES).sum(axis=1)
        if self.counts[0, 0] <= most:
            near = rates[0] <= _TOLERANCES[-1]
            self.pairs.append(pairs[near])
            self.rates.append(rates[0, near])

    def evidence(self, n_pairs: int, most: int, least_chance: float = 0.0) -> Evidence:
        """The tolerance that gives the most pairs beyond chance decides."""
        whole, halves = self.counts[0], self.counts[1:].mean(axis=0)
        share = np.minimum(halves / max(1, n_pairs), 1 - 1e-9) ** (1 / self.haplotypes)
        # Strangers who share a half, for each who shares the whole.
        ratio = (2 - share) ** self.haplotypes
        chance = np.maximum(least_chance, (halves - whole) / (ratio - 1))
        told = (whole > 0) & (chance <= _MOST_CHANCE * whole) & (whole <= most)
        best = int(np.argmax(np.where(told, whole - chance, -np.inf)))
        none = np.empty((0, 2), np.int64)
        if not told[best]:
            at = int(np.argmin(chance))
            return Evidence(
                self.kind,
                none,
                float(chance[at]),
                # Where nobody is alike there was nothing to tell apart.
                told=not whole[at],
                alike=int(whole[at]),
            )
        pairs, rates = np.concatenate(self.pairs), np.concatenate(self.rates)
        near = pairs[rates <= _TOLERANCES[best]]
        return Evidence(self.kind, near, float(chance[best]), alike=int(near.shape[0]))


class _Search:
    """One search, block by block."""

    def __init__(self, one: _Halves, other: _Halves, within: bool) -> None:
        self.one = one
        self.other = other
        self.within = within
        self.n_pairs = one.n * (one.n - 1) // 2 if within else one.n * other.n
        self.n_people = one.n if within else one.n + other.n
        self.most = _MOST_PAIRS * self.n_people
        self.same = _Shared(SAME_GENOTYPES, one.ploidy)
        self.half = _Shared(WHOLE_HAPLOTYPE if one.phased and other.phased else NO_OPPOSITE, 1)
        self.kin: dict[str, list[Pairs]] = {"first": [], "second": []}

    def run(self) -> Relatives:
        """Compare all pairs, and judge."""
        diploid = self.one.ploidy == 2
        noise = self._noise() if diploid else np.inf
        level = NormalDist().inv_cdf(1 - min(0.4, _FALSE_PAIRS / max(1, self.n_pairs)))
        told = {name: DEGREES[name] >= level * noise for name in self.kin}
        for start, halves in self._blocks():
            self._take(start, halves, told, diploid)
        # One haplotype alone may be common: where more than a few have theirs in common, it is.
        most = self.most if diploid else self.n_people // 4
        evidence = [self.same.evidence(self.n_pairs, most, self._by_haplotypes())]
        if diploid:
            evidence.append(self.half.evidence(self.n_pairs, self.most))
            for name, kind in (("first", FIRST_DEGREE), ("second", SECOND_DEGREE)):
                pairs = np.concatenate([np.empty((0, 2), np.int64), *self.kin[name]])
                few = told[name] and pairs.shape[0] <= self.most
                evidence.append(
                    Evidence(
                        kind,
                        pairs if few else pairs[:0],
                        noise=noise,
                        told=few,
                        alike=int(pairs.shape[0]),
                    )
                )
        n_sites = sum(part.n_sites for part in self.one.parts)
        return Relatives(self._plausible(evidence) if self.within else tuple(evidence), n_sites)

    def _plausible(self, evidence: Sequence[Evidence]) -> tuple[Evidence, ...]:
        """The evidence without what would make half of all people one family."""
        kept: list[Evidence] = []
        links: list[list[int]] = []
        for one in evidence:
            more = links + one.pairs.tolist()
            sizes = Counter(connected((i, j) for i, j in more).values())
            if max(sizes.values(), default=0) > max(2, self.one.n // 2):
                kept.append(replace(one, pairs=one.pairs[:0], told=False))
            else:
                kept.append(one)
                links = more
        return tuple(kept)

    def _by_haplotypes(self) -> float:
        """Pairs with the same genotypes, if people had drawn their haplotypes at random.

        Of the share q of pairs with one haplotype in common (any of four combinations) follows
        the share p of equal haplotypes, 1 - (1 - p)^4 = q, and of equal genotypes, 2 p².
        """
        alike = int(self.half.counts[0, 0] + self.same.counts[0, 0])
        share = min(1.0, alike / max(1, self.n_pairs))
        return float(self.n_pairs * 2 * (1 - (1 - share) ** 0.25) ** 2)

    def _noise(self) -> float:
        """Standard error of kinship on the whole region, from some people's pairs."""
        sample = [
            np.linspace(0, side.n - 1, min(side.n, _SAMPLE_PEOPLE)).round().astype(np.int64)
            for side in (self.one, self.other)
        ]
        kinship = []
        for a, b in zip(self.one.dosages, self.other.dosages, strict=True):
            blocks = compare_genotypes(a[sample[0]], b[sample[1]])
            kinship.append(np.concatenate([block.kinship for block in blocks]))
        apart = np.ones(kinship[0].shape, bool)
        if self.within:
            apart = np.triu(apart, 1)
        apart &= np.isfinite(kinship[0]) & np.isfinite(kinship[1])
        differences = kinship[0][apart] - kinship[1][apart]
        if differences.size < 2:
            return np.inf
        spread = np.median(np.abs(differences - np.median(differences)))
        # 1.4826: of a normal distribution, standard deviation over median absolute deviation.
        return float(1.4826 * spread / 2)

    def _blocks(self) -> Iterator[tuple[int, list[GenotypePairs]]]:
        """Pairs of some people of the one with those of the other (within: themselves, later)."""
        start = 0
        while start < self.one.n:
            first = start if self.within else 0
            step = max(1, min(1024, _BLOCK_PAIRS // max(1, self.other.n - first)))
            rows = slice(start, min(start + step, self.one.n))
            columns = slice(first, self.other.n)
            yield (
                start,
                [
                    next(compare_genotypes(a, b))
                    for a, b in zip(self.one.rows(rows), self.other.rows(columns), strict=True)
                ],
            )
            start = rows.stop

    def _take(
        self, start: int, halves: list[GenotypePairs], told: dict[str, bool], diploid: bool
    ) -> None:
        whole = halves[0] + halves[1]
        parts = (whole, *halves)
        shape = whole.called.shape
        apart = np.ones(shape, bool)
        if self.within:
            apart = np.triu(apart, 1)
        # Who was typed at half of the sites or fewer, on either half, isn't judged.
        for part, dosages in zip(halves, self.one.dosages, strict=True):
            apart &= part.called > dosages.shape[1] / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            mismatches = np.stack([part.mismatches / part.called for part in parts])
            opposite = np.stack([part.opposite / part.called for part in parts])
        origin = np.array([start, start if self.within else 0])
        near = apart & (mismatches.min(axis=0) <= _TOLERANCES[-1])
        self.same.add(np.argwhere(near) + origin, mismatches[:, near], self.most)
        if not diploid:
            return
        near = apart & (opposite.min(axis=0) <= _TOLERANCES[-1])
        near &= mismatches[0] > _TOLERANCES[-1]
        pairs = np.argwhere(near) + origin
        phased = self.one.phased and self.other.phased
        rates = self._haplotype_rates(pairs) if phased else opposite[:, near]
        self.half.add(pairs, rates, self.most)
        if told["first"]:
            kinship = whole.kinship
            kin = apart & (kinship >= DEGREES["first"])
            self.kin["first"].append(np.argwhere(kin) + origin)
            if told["second"]:
                kin = apart & (kinship >= DEGREES["second"]) & ~kin
                self.kin["second"].append(np.argwhere(kin) + origin)

    def _haplotype_rates(self, pairs: Pairs) -> NDArray[np.float64]:
        """Mismatches per site of the two most alike haplotypes, on whole and halves: (3, n)."""
        rates = np.ones((3, pairs.shape[0]))
        # As many as stay in the cache.
        step = max(1, _CACHED_WORDS // max(1, sum(bits.shape[2] for bits, _ in self.one.bits)))
        complete = self.one.complete and self.other.complete
        for low in range(0, pairs.shape[0], step):
            part = slice(low, low + step)
            i, j = pairs[part, 0], pairs[part, 1]
            differ = np.zeros((2, i.size, 2, 2))
            called = np.zeros((2, i.size, 2, 2))
            for at, (mine, theirs) in enumerate(zip(self.one.bits, self.other.bits, strict=True)):
                for a in range(2):
                    for b in range(2):
                        unequal = mine[0][i, a] ^ theirs[0][j, b]
                        if complete:
                            called[at, :, a, b] = self.one.parts[at].n_sites
                        else:
                            known = mine[1][i, a] & theirs[1][j, b]
                            unequal &= known
                            called[at, :, a, b] = np.bitwise_count(known).sum(axis=1)
                        differ[at, :, a, b] = np.bitwise_count(unequal).sum(axis=1)
            for at, (unequal, known) in enumerate(
                ((differ.sum(axis=0), called.sum(axis=0)), *zip(differ, called, strict=True))
            ):
                rates[at, part] = (unequal / np.maximum(1, known)).min(axis=(1, 2))
        return rates
