"""Phase: whether a file knows which alleles of a person lie on one haplotype."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from haplobench.datasets.formats import sites as kinds
from haplobench.datasets.formats.options import ReadOptions
from haplobench.datasets.formats.tally import Tally
from haplobench.errors import UnphasedError

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
