"""Collector: takes a file's sites in order, applies the reading options, makes the panel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haplobench.datasets.formats import sites as kinds
from haplobench.datasets.formats.matrix import HaplotypeMatrix
from haplobench.datasets.formats.options import ReadOptions
from haplobench.datasets.formats.people import People
from haplobench.datasets.formats.tally import Tally
from haplobench.errors import FormatError
from haplobench.panel import MISSING, Panel

# In a genotype of fewer alleles than its neighbours (cyvcf2, VCF Zarr).
NO_ALLELE = -2


class Collector:
    """Sites of one contig on their way from a file into a `Panel`.

    Two or more records left at one position are a split multi-allelic site, or a mistake:
    all of them are skipped as `duplicate position`, for keeping one would call the others'
    alleles reference.
    """

    def __init__(
        self,
        path: Path,
        options: ReadOptions,
        people: People,
        *,
        ploidy: int,
        scratch: Path | None = None,
    ) -> None:
        self.path = path
        self.options = options
        self.people = people
        self.ploidy = ploidy
        self.skipped = Tally()
        self._matrix = HaplotypeMatrix(people.samples.size * ploidy, scratch)
        self._candidates: list[NDArray[np.int64]] = []
        self._positions: list[NDArray[np.int64]] = []
        self._ref: list[str] = []
        self._alt: list[str] = []
        self._last = 0
        self._unphased = False

    def add(
        self,
        contig: str,
        positions: NDArray[np.int64],
        ref: list[str],
        alt: list[str],
        alleles: NDArray[np.integer[Any]],
        phased: NDArray[np.bool_] | None = None,
    ) -> None:
        """Take biallelic sites.

        `positions` (n,) bp; `alleles` (n, n_samples, ploidy) integers: 0, 1, -1 missing,
        -2 no allele (in a genotype of fewer than the others); `phased` (n, n_samples) bool,
        None where all is phased.

        Raises FormatError, naming position and sample, for mixed ploidy, alleles past 1,
        positions that go back and, unless the options settle them, unphased genotypes.
        """
        if not positions.size:
            return
        alleles = self._checked(contig, positions, alleles)
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
        self._candidates.append(positions)
        keep = np.ones(positions.size, np.bool_)
        missing = (alleles < 0).mean(axis=(1, 2)) > self.options.max_missing
        self._skip(kinds.MISSING_CALLS, positions[missing])
        keep &= ~missing
        if phased is not None and self.ploidy > 1 and not phased.all():
            differ = (alleles != alleles[:, :, :1]).any(axis=2)
            unphased = differ & ~phased & keep[:, None]
            if unphased.any():
                alleles, keep = self._settle(contig, positions, alleles, unphased, keep)
        if not keep.all():
            alleles = alleles[keep]
        self._matrix.append(alleles.reshape(alleles.shape[0], alleles.shape[1] * self.ploidy))
        self._positions.append(positions[keep])
        self._ref += [ref[i] for i in np.flatnonzero(keep)]
        self._alt += [alt[i] for i in np.flatnonzero(keep)]

    def _checked(
        self, contig: str, positions: NDArray[np.int64], alleles: NDArray[np.integer[Any]]
    ) -> NDArray[np.int8]:
        """The alleles as (n, n_samples, ploidy) int8 of 0, 1 and -1."""
        if (
            alleles.shape[2] == self.ploidy
            and alleles.min(initial=0) >= MISSING
            and alleles.max(initial=0) <= 1
        ):
            return alleles.astype(np.int8, copy=False)
        padding = alleles == NO_ALLELE
        if padding.any():
            # A lone `.` is a missing genotype of any ploidy.
            lone = (alleles[:, :, :1] == MISSING) & padding[:, :, 1:].all(axis=2, keepdims=True)
            alleles = np.where(padding & lone, MISSING, alleles)
            padding = alleles == NO_ALLELE
        found = (~padding).sum(axis=2)
        odd = found != self.ploidy
        if odd.any():
            site, person = (int(where[0]) for where in np.nonzero(odd))
            raise FormatError(
                f"{self.path}: {contig}:{positions[site]}, sample {self.people.samples[person]}: "
                f"ploidy {found[site, person]}, expected {self.ploidy} as elsewhere",
                hint="keep people of one ploidy: for X, women only or men only, by samples",
            )
        wrong = (alleles > 1) | (alleles < MISSING)
        if wrong.any():
            site, person, which = (int(where[0]) for where in np.nonzero(wrong))
            raise FormatError(
                f"{self.path}: {contig}:{positions[site]}, sample {self.people.samples[person]}: "
                f"allele {alleles[site, person, which]}, but the record has one alternate"
            )
        return alleles.astype(np.int8)

    def _settle(
        self,
        contig: str,
        positions: NDArray[np.int64],
        alleles: NDArray[np.int8],
        unphased: NDArray[np.bool_],
        keep: NDArray[np.bool_],
    ) -> tuple[NDArray[np.int8], NDArray[np.bool_]]:
        if self.options.skip_unphased:
            sites = unphased.any(axis=1)
            self._skip(kinds.UNPHASED, positions[sites])
            return alleles, keep & ~sites
        if not self.options.allow_unphased:
            site, person = (int(where[0]) for where in np.nonzero(unphased))
            raise FormatError(
                f"{self.path}: {contig}:{positions[site]}, sample {self.people.samples[person]}: "
                "the heterozygous genotype is unphased",
                hint="phase the file (SHAPEIT, Beagle), or set skip_unphased or allow_unphased",
            )
        self._unphased = True
        # One order for all, so that the same genotypes always give the same panel.
        settled = alleles.copy()
        settled[unphased] = np.sort(alleles[unphased], axis=1)
        return settled, keep

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

        Raises FormatError if no site is left or, with `strict`, if a record was left out.
        """
        empty = np.empty(0, np.int64)
        candidates = np.concatenate([empty, *self._candidates])
        positions = np.concatenate([empty, *self._positions])
        found, counts = np.unique(candidates, return_counts=True)
        keep = ~np.isin(positions, found[counts > 1])
        self._skip(kinds.DUPLICATE, positions[~keep])
        self._refuse_skipped(contig)
        if not keep.any():
            wanted = self.options.wanted
            raise FormatError(
                f"{self.path}: no site to read"
                + (f" in {wanted}" if wanted else "")
                + (f"; skipped: {self.skipped}" if self.skipped.counts else "")
            )
        all_kept = bool(keep.all())
        panel = Panel(
            haplotypes=self._matrix.finish(None if all_kept else keep),
            positions=positions[keep],
            contig=contig,
            samples=self.people.samples,
            ref=np.array(self._ref, np.str_)[keep],
            alt=np.array(self._alt, np.str_)[keep],
            population=self.people.population,
            superpopulation=self.people.superpopulation,
            ploidy=self.ploidy,
            build=self.options.build,
            phased=phased and not self._unphased,
        )
        return panel, dict(sorted(self.skipped.counts.items()))
