"""The three sets of haplotypes that a privacy metric compares, and what its results share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from haplobench import Measurement, Panel, PanelError, Reference, RunContext
from haplobench.data.bits import pack_bits
from haplobench.data.joined import contigs_of
from haplobench.data.panel import columns_of
from haplobench.memory import remember

_T = TypeVar("_T")
_BLOCK_SITES = 4096


@dataclass(frozen=True, eq=False)
class Cohorts:
    """Real people and a synthetic cohort at the sites where no real allele is missing.

    Attributes
    ----------
    train, holdout, synthetic : Panel
        At equal sites; `synthetic` cut to `max_haplotypes`.
    sites : (n_sites,) bool
        Sites compared.
    note : str
        What was left out, or empty.
    """

    train: Panel
    holdout: Panel
    synthetic: Panel
    sites: NDArray[np.bool_]
    note: str = ""

    @property
    def size_note(self) -> str:
        """How many synthetic haplotypes an attacker had, and what was left out."""
        size = f"{self.synthetic.n_haplotypes} synthetic haplotypes"
        return "; ".join(part for part in (size, self.note) if part)

    def packed(self, panel: Panel) -> NDArray[np.uint64]:
        """Bit-packed haplotypes at the compared sites: (n_haplotypes, n_words) uint64."""
        if panel.bits is not None and self.sites.all():
            return panel.packed_haplotypes()
        return self.remember("packed", (panel,), lambda: self._pack(panel))

    def contigs(self, panel: Panel) -> list[tuple[Cohorts, Panel]]:
        """What is compared of each contig, with that contig of `panel`; all of it if it's one."""
        parts, start = [], 0
        sides = (self.train, self.holdout, self.synthetic, panel)
        for train, holdout, synthetic, own in zip(*map(contigs_of, sides), strict=True):
            sites = self.sites[start : start + train.n_sites]
            start += train.n_sites
            if sites.any():
                parts.append((Cohorts(train, holdout, synthetic, sites, self.note), own))
        return parts

    def remember(self, what: str, panels: tuple[Panel, ...], make: Callable[[], _T]) -> _T:
        """`make()`, kept for this process by `what`, the panels and the sites compared."""
        left_out = "" if self.sites.all() else sha256(self.sites.tobytes()).hexdigest()
        return remember((what, left_out, *(panel.digest for panel in panels)), make)

    def alleles(self, panel: Panel, low: int, high: int) -> NDArray[np.int8]:
        """Alleles at the compared sites `low` to `high` - 1, a row per site: int8."""
        return panel.site_rows(np.flatnonzero(self.sites)[low:high])

    def dosages(self, panel: Panel) -> NDArray[np.int8]:
        """Alternate alleles per person at the compared sites: (n_samples, n_sites) int8."""
        n_sites = int(self.sites.sum())
        counted = np.empty((panel.n_samples, n_sites), np.int8)
        for low in range(0, n_sites, _BLOCK_SITES):
            alleles = self.alleles(panel, low, min(low + _BLOCK_SITES, n_sites))
            people = alleles.reshape(alleles.shape[0], panel.n_samples, panel.ploidy)
            counted[:, low : low + alleles.shape[0]] = people.sum(axis=2, dtype=np.int8).T
        return counted

    def at(self, panel: Panel, chosen: NDArray[np.int64]) -> NDArray[np.int8]:
        """Alleles at some of the compared sites, by index: (n_haplotypes, n) int8."""
        return columns_of(panel.haplotypes, np.flatnonzero(self.sites)[chosen])

    def _pack(self, panel: Panel) -> NDArray[np.uint64]:
        whole = bool(self.sites.all())
        return np.concatenate(
            [
                pack_bits(rows if whole else columns_of(rows, self.sites))
                for _, rows in panel.haplotype_blocks()
            ]
        )


def cohorts(
    reference: Reference, synthetic: Panel, max_haplotypes: int, ctx: RunContext
) -> Cohorts:
    """Line up the panels of one measurement.

    Raises PanelError if sites differ, if no site is free of missing alleles, if the
    synthetic cohort has missing alleles at one that is, or if a panel has fewer than two
    haplotypes.
    """
    train, holdout = reference.train, reference.holdout
    for name, panel in (("train", train), ("holdout", holdout), ("synthetic", synthetic)):
        if panel.n_haplotypes < 2:
            raise PanelError(f"{name}: {panel.n_haplotypes} haplotypes, expected 2 or more")
        if not panel.same_sites(train):
            raise PanelError(f"{name}: its sites differ from the training panel's")
    complete = remember(
        ("complete", train.digest, holdout.digest),
        lambda: (
            (train.allele_counts[1] == train.n_haplotypes)
            & (holdout.allele_counts[1] == holdout.n_haplotypes)
        ),
    )
    if not complete.any():
        raise PanelError("no site is free of missing alleles in train and holdout")
    notes = []
    if not complete.all():
        notes.append(f"{int((~complete).sum())} sites with missing alleles left out")
    if synthetic.n_haplotypes > max_haplotypes:
        keep = max(1, max_haplotypes // synthetic.ploidy)
        people = ctx.rng("privacy", "subsample").choice(synthetic.n_samples, keep, replace=False)
        notes.append(f"{keep} of {synthetic.n_samples} synthetic people, drawn at random")
        synthetic = synthetic.select_samples(np.sort(people))
    if (synthetic.allele_counts[1][complete] < synthetic.n_haplotypes).any():
        raise PanelError("synthetic: missing alleles, expected 0 and 1 only")
    return Cohorts(train, holdout, synthetic, complete, "; ".join(notes))


def share_error(values: NDArray[Any], n: int | None = None) -> float:
    """Standard error of a share: of the mean of `values` between 0 and 1, of `n` independent cases.

    That of the values with half a case of 0 and half a case of 1 added, so that a share of none
    (or of all) isn't taken for certain. `n`: as many as there are values, if None.
    """
    of = np.asarray(values, np.float64)
    mean, square = (of.sum() + 0.5) / (of.size + 1), ((of**2).sum() + 0.5) / (of.size + 1)
    return float(np.sqrt((square - mean**2) / (of.size if n is None else n)))


def share(cases: NDArray[np.bool_], note: str = "") -> Measurement:
    """The share of `cases` that are so."""
    return Measurement(float(cases.mean()), cases.size, share_error(cases), note=note)


def excess(cases: NDArray[np.bool_], unseen: NDArray[np.bool_], note: str = "") -> Measurement:
    """The share among synthetic cases minus that among unseen ones."""
    value = float(cases.mean()) - float(unseen.mean())
    error = float(np.hypot(share_error(cases), share_error(unseen)))
    return Measurement(value, cases.size, error, note=note)


def paired_ratio(
    train: NDArray[np.float64], holdout: NDArray[np.float64], why_not: str, note: str = ""
) -> Measurement:
    """Ratio of means over the same haplotypes, with the delta method's standard error.

    `why_not`: the note where the mean over `holdout` is 0.
    """
    n, mean = train.size, float(holdout.mean())
    if mean == 0:
        return Measurement(None, n, note=why_not)
    ratio = float(train.mean()) / mean
    error = float((train - ratio * holdout).std() / (mean * np.sqrt(n)))
    return Measurement(ratio, n, error, note=note)
