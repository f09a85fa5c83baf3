"""Collector: takes a file's sites in order, applies the reading options, makes the panel."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from haplobench.data.bits import Bits
from haplobench.data.contigs import one_copy, plain_name
from haplobench.data.formats import sites as kinds
from haplobench.data.formats.matrix import HaplotypeMatrix
from haplobench.data.formats.options import ReadOptions
from haplobench.data.formats.people import People
from haplobench.data.formats.sites import Tally
from haplobench.data.panel import MISSING, Panel
from haplobench.errors import FormatError, UnphasedError

_NO_SET_YET = -2


class Phase:
    """What the heterozygous genotypes of a file say of phase, gathered site by site.

    A person whose genotypes lie in several phase sets (VCF's PS) is phased within each, and
    not between them. Genotypes marked as phased without a set are one set of their own (VCF
    specification, FORMAT/PS).
    """

    def __init__(self, path: Path, options: ReadOptions, samples: NDArray[np.str_]) -> None:
        self._path = path
        self._options = options
        self._samples = samples
        self._unphased = 0
        self._unphased_sites = 0
        self._unphased_first = ""
        self._set = np.full(samples.size, _NO_SET_YET, np.int64)
        self._several = np.zeros(samples.size, np.bool_)
        self._several_first = ""

    @property
    def known(self) -> bool:
        """Whether every person's haplotypes are known from the first site to the last."""
        return not (self._unphased or self._several.any())

    def settle(
        self,
        positions: NDArray[np.int64],
        alleles: NDArray[np.int8],
        keep: NDArray[np.bool_],
        phased: NDArray[np.bool_] | None,
        phase_sets: NDArray[np.int64] | None,
        skipped: Tally,
    ) -> tuple[NDArray[np.int8], NDArray[np.bool_]]:
        """Sites with their unphased genotypes in one order, or marked as left out.

        As in `Collector.add`; `keep` (n,) bool are the sites not yet left out. Returns alleles
        and `keep`.
        """
        if phased is None:
            phased = np.ones(alleles.shape[:2], np.bool_)
        if phase_sets is None and phased.all():
            return alleles, keep
        differ = (alleles != alleles[:, :, :1]).any(axis=2) & keep[:, None]
        unphased = differ & ~phased
        if unphased.any():
            sites = unphased.any(axis=1)
            if self._options.skip_unphased:
                skipped.add(kinds.UNPHASED, int(positions[sites].min()), int(sites.sum()))
                keep = keep & ~sites
                differ &= keep[:, None]
            else:
                if not self._unphased:
                    self._unphased_first = self._place(positions, unphased)
                self._unphased += int(unphased.sum())
                self._unphased_sites += int(sites.sum())
                # One order for all, so that the same genotypes always give the same panel.
                alleles = alleles.copy()
                alleles[unphased] = np.sort(alleles[unphased], axis=1)
        if phase_sets is not None:
            self._compare(positions, differ & phased, phase_sets)
        return alleles, keep

    def _compare(
        self,
        positions: NDArray[np.int64],
        phased: NDArray[np.bool_],
        phase_sets: NDArray[np.int64],
    ) -> None:
        """Hold the phase sets of some sites against the first that each person has."""
        first = phase_sets[phased.argmax(axis=0), np.arange(phased.shape[1])]
        fresh = phased.any(axis=0) & (self._set == _NO_SET_YET)
        self._set[fresh] = first[fresh]
        other = phased & (phase_sets != self._set)
        if other.any():
            if not self._several.any():
                self._several_first = self._place(positions, other)
            self._several |= other.any(axis=0)

    def _place(self, positions: NDArray[np.int64], where: NDArray[np.bool_]) -> str:
        site, person = (int(each[0]) for each in np.nonzero(where))
        return f"{positions[site]}, sample {self._samples[person]}"

    def refuse(self, contig: str) -> None:
        """Raise UnphasedError if haplotypes aren't known and the options don't settle it."""
        if self.known or self._options.allow_unphased:
            return
        if self._unphased:
            others = f", as are {self._unphased - 1:,} more" if self._unphased > 1 else ""
            raise UnphasedError(
                f"{self._path}: {contig}:{self._unphased_first}: the heterozygous genotype is "
                f"unphased{others}, at {self._unphased_sites:,} sites in all",
                hint="phase the file (SHAPEIT, Beagle), or set skip_unphased, which leaves out "
                "these sites, or allow_unphased",
            )
        raise UnphasedError(
            f"{self._path}: {contig}:{self._several_first}: another phase set (PS) than before: "
            f"{int(self._several.sum()):,} of {self._samples.size:,} people are phased in blocks, "
            "and not between them",
            hint="phase the file (SHAPEIT, Beagle), or set allow_unphased",
        )


# In a genotype of fewer alleles than its neighbours (VCF, VCF Zarr).
NO_ALLELE = -2
# People are taken for men with one copy where so many heterozygous genotypes are expected of each
# and more than such a share of them has none.
_EXPECTED_HETEROZYGOUS = 20
_SHARE = 0.25


class Collector:
    """Sites of one contig on their way from a file into a `Panel`.

    Two or more records left at one position are a split multi-allelic site, or a mistake:
    all of them are skipped as `duplicate position`, for keeping one would call the others'
    alleles reference. So is a record beside one that was left out, if that one's carriers
    have another base there.

    On X, Y and the mitochondria, where PLINK files and some VCFs write the one copy of a
    person twice, it is read once.

    `at_most`, where known beforehand, is how many sites will come.
    """

    def __init__(
        self,
        path: Path,
        options: ReadOptions,
        people: People,
        *,
        scratch: Path | None = None,
        at_most: int | None = None,
    ) -> None:
        self.path = path
        self.options = options
        self.people = people
        self.skipped = Tally()
        self._scratch, self._at_most = scratch, at_most
        self._ploidy = 0  # told by the first genotypes
        self._matrix: HaplotypeMatrix | None = None
        self._candidates: list[NDArray[np.int64]] = []
        self._positions: list[NDArray[np.int64]] = []
        self._ref: list[str] = []
        self._alt: list[str] = []
        self._last = 0
        self._phase = Phase(path, options, people.samples)
        nobody = np.zeros(people.samples.size, np.int64)
        # Where men have one copy, and elsewhere: heterozygous genotypes expected and seen.
        self._heterozygous = {True: (0.0, nobody), False: (0.0, nobody)}

    def add(
        self,
        contig: str,
        positions: NDArray[np.int64],
        ref: list[str],
        alt: list[str],
        alleles: NDArray[np.integer[Any]],
        phased: NDArray[np.bool_] | None = None,
        phase_sets: NDArray[np.int64] | None = None,
    ) -> None:
        """Take biallelic sites.

        `positions` (n,) bp; `alleles` (n, n_samples, ploidy) integers: 0, 1, -1 missing,
        -2 no allele (in a genotype of fewer than the others); `phased` (n, n_samples) bool,
        None where all is phased; `phase_sets` (n, n_samples) int64, -1 for none, None where
        all is in one.

        Raises FormatError, naming position and sample, for mixed ploidy, alleles past 1 and
        positions that go back.
        """
        if not positions.size:
            return
        self._check_order(contig, positions)
        once = self._once(contig, positions, alleles)
        alleles, both = (alleles, None) if once is None else once
        checked = self._checked(contig, positions, alleles)
        self._candidates.append(positions)
        keep = np.ones(positions.size, np.bool_)
        missing = (checked < 0).mean(axis=(1, 2)) > self.options.max_missing
        if both is not None:
            self._skip(kinds.HETEROZYGOUS, positions[missing & both])
            keep &= ~(missing & both)
        self._skip(kinds.MISSING_CALLS, positions[missing & keep])
        keep &= ~missing
        if not self._ploidy:  # not one genotype yet
            return
        if self._ploidy > 1 and not (phased is None and phase_sets is None):
            checked, keep = self._phase.settle(
                positions, checked, keep, phased, phase_sets, self.skipped
            )
        if not keep.all():
            checked = checked[keep]
        if self._matrix is None:
            n_haplotypes = self.people.samples.size * self._ploidy
            self._matrix = HaplotypeMatrix(n_haplotypes, self._scratch, self._at_most)
        self._matrix.append(checked.reshape(checked.shape[0], checked.shape[1] * self._ploidy))
        self._positions.append(positions[keep])
        self._ref += [ref[i] for i in np.flatnonzero(keep)]
        self._alt += [alt[i] for i in np.flatnonzero(keep)]

    def _check_order(self, contig: str, positions: NDArray[np.int64]) -> None:
        steps = np.diff(positions, prepend=self._last)
        if (steps < 0).any():
            i = int(np.flatnonzero(steps < 0)[0])
            before = positions[i - 1] if i else self._last
            raise FormatError(
                f"{self.path}: position {contig}:{positions[i]} comes after {contig}:{before}",
                hint="sort the file by position",
            )
        if positions[0] < 1:
            raise FormatError(
                f"{self.path}: position {contig}:{positions[0]}, expected 1-based bp",
                hint="leave out variants without a position",
            )
        self._last = int(positions[-1])

    def _once(
        self, contig: str, positions: NDArray[np.int64], alleles: NDArray[np.integer[Any]]
    ) -> tuple[NDArray[np.integer[Any]], NDArray[np.bool_]] | None:
        """Diploid genotypes of people with one copy as that copy; None if there are none.

        Also which sites have a heterozygous one, which becomes missing: (n,) bool.
        """
        sex, name = self.people.sex, plain_name(contig)
        if alleles.shape[2] != 2 or name not in ("X", "Y", "MT"):
            return None
        alone, unsure = one_copy(contig, positions, self.options.build)
        if name == "X":
            self._count_heterozygous(alleles, alone)
            whose = sex == "male"
        else:
            whose = np.ones(sex.size, np.bool_)
        if name == "Y" and (sex == "female").any():
            raise FormatError(
                f"{self.path}: sample {self.people.samples[sex == 'female'][0]} is a woman, and "
                f"the contig is {contig}",
                hint="name the men by samples",
            )
        if not (whose.any() and (alone | unsure).any()):
            return None
        if unsure.any():
            raise FormatError(
                f"{self.path}: {contig}:{positions[unsure][0]} is pseudo-autosomal in some builds "
                "of the genome only: a man has one copy or two",
                hint="set build: GRCh37, GRCh38 or CHM13",
            )
        rows = np.ix_(alone, whose)
        first, second = np.moveaxis(alleles[rows], 2, 0)
        differ = (first != second) & (second != NO_ALLELE)
        single = alleles.copy()
        single[rows] = np.stack(
            [np.where(differ, MISSING, first), np.full_like(first, NO_ALLELE)], axis=2
        )
        both = np.zeros(positions.size, np.bool_)
        both[alone] = (differ & (first >= 0) & (second >= 0)).any(axis=1)
        return single, both

    def _doubled(self, contig: str, haplotypes: NDArray[np.int8]) -> NDArray[np.int8]:
        """Haplotypes on X without those that are men's one copy written twice.

        Such a panel of men is read as haploid. Files that hold X as PLINK does, haploid in men
        from end to end, have them in pseudo-autosomal places, too.

        Raises FormatError where only some people are written so, or where their sex is unknown.
        """
        unknown, men = np.equal(self.people.sex, ""), np.equal(self.people.sex, "male")
        for alone, group in ((True, unknown), (False, unknown | men)):
            expected, seen = self._heterozygous[alone]
            without = group & (seen == 0)
            n = int(without.sum())
            if expected < _EXPECTED_HETEROZYGOUS or not group.any() or n <= _SHARE * group.sum():
                continue
            if men.all() and without.all() and not self._heterozygous[True][0]:
                self._ploidy = 1
                return np.ascontiguousarray(haplotypes[::2])
            if n > 1 or not (without & unknown).any():
                raise FormatError(
                    f"{self.path}: {n} of {group.sum()} people who aren't known to be women have "
                    f"no heterozygous genotype on {contig}, where about {expected:.0f} are "
                    "expected of each: a man's one copy, written twice",
                    hint="keep people of one ploidy: women only or men only, by samples; sexes are "
                    "read from SEX of .psam or .fam, or gender in panel_file",
                )
        return haplotypes

    def _count_heterozygous(
        self, alleles: NDArray[np.integer[Any]], alone: NDArray[np.bool_]
    ) -> None:
        """Count what `_doubled` goes by, where men have one copy and elsewhere."""
        for there, sites in ((True, alone), (False, ~alone)):
            if (self.people.sex == "female").all() or not sites.any():
                continue
            block = alleles[sites]
            called = np.all(block >= 0, axis=2)
            copies = np.sum(block * called[:, :, None], axis=(1, 2))
            frequency = copies / np.maximum(2 * called.sum(axis=1), 1)
            expected, seen = self._heterozygous[there]
            expected += float((2 * frequency * (1 - frequency)).sum())
            seen = seen + np.sum((block[:, :, 0] != block[:, :, 1]) & called, axis=0)
            self._heterozygous[there] = (expected, seen)

    def _checked(
        self, contig: str, positions: NDArray[np.int64], alleles: NDArray[np.integer[Any]]
    ) -> NDArray[np.int8]:
        """The alleles as (n, n_samples, ploidy) int8 of 0, 1 and -1."""
        low, high = alleles.min(initial=0), alleles.max(initial=0)
        if alleles.shape[2] == (self._ploidy or alleles.shape[2]) and low >= MISSING and high <= 1:
            self._ploidy = alleles.shape[2]
            return alleles.astype(np.int8, copy=False)
        there = (alleles != NO_ALLELE).sum(axis=2)
        # A lone `.` is a missing genotype of any ploidy.
        lone = (there == 1) & (alleles[:, :, 0] == MISSING)
        told = there[~lone]
        if not self._ploidy and told.size:
            self._ploidy = int(told.max())
        odd = ~lone & (there != self._ploidy)
        if odd.any():
            site, person = (int(where[0]) for where in np.nonzero(odd))
            raise FormatError(
                f"{self.path}: {contig}:{positions[site]}, sample {self.people.samples[person]}: "
                f"ploidy {there[site, person]}, expected {self._ploidy} as elsewhere",
                hint="keep people of one ploidy: for X, women only or men only, by samples"
                + (", and a region in or outside the pseudo-autosomal ones")
                * (plain_name(contig) == "X"),
            )
        wrong = (alleles > 1) | (alleles < NO_ALLELE)
        wrong[:, :, : self._ploidy] |= (alleles[:, :, : self._ploidy] == NO_ALLELE) & ~lone[
            :, :, None
        ]
        if wrong.any():
            site, person, which = (int(where[0]) for where in np.nonzero(wrong))
            raise FormatError(
                f"{self.path}: {contig}:{positions[site]}, sample {self.people.samples[person]}: "
                f"allele {alleles[site, person, which]}, but the record has one alternate"
            )
        width = self._ploidy or 1
        if alleles.shape[2] < width:  # nothing but lone `.`
            return np.full((*alleles.shape[:2], width), MISSING, np.int8)
        alleles = alleles[:, :, :width].astype(np.int8)
        return np.where(lone[:, :, None], np.int8(MISSING), alleles)

    def _skip(self, reason: str, positions: NDArray[np.int64]) -> None:
        if positions.size:
            self.skipped.add(reason, int(positions.min()), positions.size)

    def _refuse_skipped(self, contig: str) -> None:
        """With `strict`, the first record that would be left out is an error."""
        if not self.options.strict or not self.skipped.counts:
            return
        reason, first = min(self.skipped.first.items(), key=lambda item: (item[1], item[0]))
        n = self.skipped.counts[reason]
        raise FormatError(
            f"{self.path}: {contig}:{first}: {reason}" + (f" ({n} such records)" if n > 1 else ""),
            hint="without strict, such records are left out and counted",
        )

    def finish(self, contig: str, *, phased: bool = True) -> tuple[Panel, dict[str, int]]:
        """The panel, and how many records were left out by reason.

        Raises FormatError if no site is left or, with `strict`, if a record was left out;
        UnphasedError for genotypes whose phase isn't known, unless the options settle it.
        """
        self._phase.refuse(contig)
        empty = np.empty(0, np.int64)
        candidates = np.concatenate([empty, *self._candidates])
        positions = np.concatenate([empty, *self._positions])
        values, counts = np.unique(candidates, return_counts=True)
        taken = np.union1d(values[counts > 1], np.array(sorted(self.skipped.rivals), np.int64))
        keep = ~np.isin(positions, taken)
        self._skip(kinds.DUPLICATE, positions[~keep])
        self._refuse_skipped(contig)
        if self._matrix is None or not keep.any():
            wanted = self.options.wanted
            raise FormatError(
                f"{self.path}: no site to read"
                + (f" in {wanted}" if wanted else "")
                + (f"; skipped: {self.skipped}" if self.skipped.counts else ""),
                hint="with snps_only: false they are read as they are"
                if kinds.NOT_BASES in self.skipped.counts
                else "",
            )
        haplotypes = self._matrix.finish(None if keep.all() else keep)
        if plain_name(contig) == "X" and self._ploidy == 2:
            if isinstance(haplotypes, Bits):
                haplotypes = haplotypes.unpacked()
            haplotypes = self._doubled(contig, haplotypes)
        panel = Panel(
            haplotypes=cast("NDArray[np.int8]", haplotypes),
            positions=positions[keep],
            contig=contig,
            samples=self.people.samples,
            ref=_upper(self._ref)[keep],
            alt=_upper(self._alt)[keep],
            population=self.people.population,
            superpopulation=self.people.superpopulation,
            family=self.people.family,
            ploidy=self._ploidy,
            build=self.options.build,
            phased=phased and self._phase.known,
        )
        return panel, dict(sorted(self.skipped.counts.items()))


def _upper(alleles: list[str]) -> NDArray[np.str_]:
    """Alleles in upper case, but for symbolic ones."""
    texts = np.array(alleles, np.str_)
    if (joined := "".join(alleles)) == joined.upper():
        return texts
    return np.where(np.char.isalpha(texts), np.char.upper(texts), texts)
