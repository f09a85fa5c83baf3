"""Folded site-frequency spectra, projected to a common size and compared; site-free, streamed."""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import jensenshannon
from scipy.stats import hypergeom, wasserstein_distance

from haplobench import MetricResult, Panel, PanelError, Reference, RunContext
from haplobench_fidelity.allele_frequency import correlation
from haplobench_fidelity.reporting import basis, measured, not_applicable
from haplobench_fidelity.specs.alleles import SPECTRUM, SpectrumParams

Counts = NDArray[np.int64]
Spectrum = NDArray[np.float64]
_CHUNK = 4096


class AlleleFrequencySpectrum:
    """Counts alleles of what it is handed; compares spectra at the end."""

    def __init__(self, reference: Reference, params: SpectrumParams, ctx: RunContext) -> None:
        self._holdout = reference.holdout
        self._params = params
        self._min_maf = ctx.min_maf
        self._counts: Counts | None = None
        self._same_sites = True
        self._n_haplotypes = 0

    def update(self, data: Panel) -> None:
        """Count the alleles of some haplotypes; all slices must have the same sites."""
        if self._counts is None:
            self._same_sites = data.same_sites(self._holdout)
        self._add(data.allele_counts, data.n_haplotypes)

    def merge(self, other: Self) -> None:
        """Take over what `other` has counted."""
        if other._counts is not None:
            self._same_sites = other._same_sites
            self._add(other._counts, other._n_haplotypes)

    def result(self) -> MetricResult:
        """Divergence, distance and correlation of the two spectra; ratio of polymorphic sites."""
        names = [submetric.name for submetric in SPECTRUM.submetrics]
        if self._counts is None or not self._n_haplotypes:
            return not_applicable(names, "the synthetic cohort is empty")
        real, synthetic = self._holdout.allele_counts, self._counts
        threshold = 0.0 if self._same_sites else self._min_maf
        keep_fixed = self._params.fixed == "zero" and self._same_sites
        real, synthetic = _above(real, threshold), _above(synthetic, threshold)
        size = min(self._holdout.n_haplotypes, self._n_haplotypes)
        size = min(size, self._params.projection or size)
        real_spectrum, n_real = projected_spectrum(real, size)
        synthetic_spectrum, n_synthetic = projected_spectrum(synthetic, size)
        if not keep_fixed:
            real_spectrum[0] = synthetic_spectrum[0] = 0.0
        if not real_spectrum.sum() or not synthetic_spectrum.sum():
            return not_applicable(names, "no site is polymorphic on one side")
        p = real_spectrum / real_spectrum.sum()
        q = synthetic_spectrum / synthetic_spectrum.sum()
        first = 0 if keep_fixed else 1
        maf = np.arange(p.size) / size
        note = basis(
            self._n_haplotypes,
            self._holdout.n_haplotypes,
            f"{n_synthetic:,} and {n_real:,} sites",
            f"projected to {size} haplotypes",
            f"MAF > {threshold:g} on both sides" if threshold else "",
            f"fixed sites: {self._params.fixed}",
        )
        n_polymorphic = int(_polymorphic(real).sum())
        return MetricResult(
            {
                "jsd": measured(divergence(p, q), n_synthetic, note, ""),
                "wasserstein": measured(
                    float(wasserstein_distance(maf, maf, p, q)), n_synthetic, note, ""
                ),
                "r": measured(
                    correlation(p[first:], q[first:]),
                    n_synthetic,
                    note,
                    "a spectrum is flat, or has one class",
                ),
                "site-ratio": measured(
                    float(_polymorphic(synthetic).sum()) / n_polymorphic if n_polymorphic else None,
                    n_polymorphic,
                    note,
                    "no site is polymorphic in held-out people",
                ),
            },
            series={
                "spectrum": {
                    "copies": np.arange(first, p.size),
                    "real": p[first:],
                    "synthetic": q[first:],
                }
            },
        )

    def _add(self, counts: Counts, n_haplotypes: int) -> None:
        if self._counts is None:
            self._counts = np.zeros_like(counts)
        if counts.shape != self._counts.shape:
            raise PanelError(
                f"allele-frequency-spectrum: found {counts.shape[1]} sites after "
                f"{self._counts.shape[1]}, expected slices of one cohort"
            )
        self._counts += counts
        self._n_haplotypes += n_haplotypes


def allele_frequency_spectrum(
    reference: Reference, params: SpectrumParams, ctx: RunContext
) -> AlleleFrequencySpectrum:
    """The metric `allele-frequency-spectrum`."""
    return AlleleFrequencySpectrum(reference, params, ctx)


def folded_spectrum(alternate: Counts, n: int) -> Counts:
    """Number of sites by copies of the rarer allele among `n`: (n // 2 + 1,) int64.

    The folded site-frequency spectrum, fixed sites in class 0; `alternate` is (n_sites,) int64.
    """
    return np.bincount(np.minimum(alternate, n - alternate), minlength=n // 2 + 1)


def projected_spectrum(counts: Counts, size: int) -> tuple[Spectrum, int]:
    """The folded spectrum expected in `size` haplotypes drawn without replacement.

    `counts` are alternate and called alleles, (2, n_sites) int64. A site with fewer than `size`
    called alleles is left out. Returns ((size // 2 + 1,) float64, number of sites used).
    Hypergeometric projection: Marth et al. 2004; Gutenkunst et al. 2009.
    """
    enough = counts[1] >= size
    pairs, weights = np.unique(counts[:, enough], axis=1, return_counts=True)
    unfolded = np.zeros(size + 1)
    copies = np.arange(size + 1)
    for start in range(0, weights.size, _CHUNK):
        alternate, called = pairs[:, start : start + _CHUNK]
        if (called == size).all():
            chance = (alternate[:, None] == copies).astype(np.float64)
        else:
            chance = hypergeom.pmf(copies, called[:, None], alternate[:, None], size)
        unfolded += weights[start : start + _CHUNK] @ chance
    folded = np.zeros(size // 2 + 1)
    np.add.at(folded, np.minimum(copies, size - copies), unfolded)
    return folded, int(enough.sum())


def divergence(p: Spectrum, q: Spectrum) -> float:
    """Jensen-Shannon divergence (Lin 1991) in bits, 0-1, of two distributions."""
    return float(jensenshannon(p, q, base=2) ** 2)


def _polymorphic(counts: Counts) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = (counts[0] > 0) & (counts[0] < counts[1])
    return inside


def _above(counts: Counts, min_maf: float) -> Counts:
    """Counts of the sites whose own MAF exceeds `min_maf`; all sites where that is 0."""
    if min_maf <= 0:
        return counts
    frequency = counts[0] / np.maximum(counts[1], 1)
    return counts[:, np.minimum(frequency, 1 - frequency) > min_maf]
