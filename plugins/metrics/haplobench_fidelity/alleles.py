"""Allele frequencies, site by site, and their spectrum: synthetic against held-out, streamed."""

from __future__ import annotations

from itertools import pairwise
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import jensenshannon
from scipy.stats import hypergeom, wasserstein_distance

from haplobench import Measurement, MetricResult, Panel, PanelError, Reference, RunContext
from haplobench_fidelity.cohorts import basis, measured, no_result
from haplobench_fidelity.specs.sites import (
    ALLELE_FREQUENCY,
    SPECTRUM,
    AlleleFrequencyParams,
    SpectrumParams,
)

Counts = NDArray[np.int64]


class AlleleFrequency:
    """Counts alleles of what it is handed, by superpopulation; compares frequencies at the end."""

    def __init__(self, reference: Reference, params: AlleleFrequencyParams) -> None:
        self._holdout = reference.holdout
        self._params = params
        self._superpopulation = _superpopulations(reference)
        self._counts: dict[str, Counts] = {}
        self._n_haplotypes = 0

    def update(self, data: Panel) -> None:
        """Count the alleles of some haplotypes at the panel's sites."""
        if data.n_sites != self._holdout.n_sites:
            raise PanelError(
                f"allele-frequency: found {data.n_sites} sites, expected the panel's "
                f"{self._holdout.n_sites}"
            )
        self._n_haplotypes += data.n_haplotypes
        for label, counts in counts_by_label(data, self._labels(data)).items():
            self._add(label, counts)

    def merge(self, other: Self) -> None:
        """Take over what `other` has counted."""
        self._n_haplotypes += other._n_haplotypes
        for label, counts in other._counts.items():
            self._add(label, counts)

    def result(self) -> MetricResult:
        """Correlation and RMSE over all sites, by MAF and by superpopulation; sites lost."""
        if not self._n_haplotypes or not self._holdout.n_sites:
            names = (submetric.name for submetric in ALLELE_FREQUENCY.submetrics)
            return no_result(names, "no haplotypes or no sites to compare")
        total = sum(self._counts.values(), np.zeros((2, self._holdout.n_sites), np.int64))
        real_counts = self._holdout.allele_counts
        both = (total[1] > 0) & (real_counts[1] > 0)
        real, synthetic = frequencies(real_counts), frequencies(total)
        n = int(both.sum())
        note = basis(
            self._n_haplotypes,
            self._holdout.n_haplotypes,
            f"{n:,} sites",
            "fixed sites kept",
        )
        polymorphic = both & (real > 0) & (real < 1)
        lost = polymorphic & ((synthetic == 0) | (synthetic == 1))
        n_polymorphic = int(polymorphic.sum())
        return MetricResult(
            {
                "r": measured(
                    correlation(real[both], synthetic[both]),
                    n,
                    note,
                    "frequencies do not vary on one side",
                ),
                "rmse": measured(
                    rmse(real[both], synthetic[both]), n, note, "no site called on both sides"
                ),
                "rmse-by-maf": self._by_maf(real, synthetic, both, note),
                "rmse-by-superpopulation": self._by_superpopulation(),
                "sites-lost": measured(
                    float(lost.sum()) / n_polymorphic if n_polymorphic else None,
                    n_polymorphic,
                    note,
                    "no site is polymorphic in held-out people",
                ),
            },
            series={
                "frequencies": {
                    "real": real[both].astype(np.float32),
                    "synthetic": synthetic[both].astype(np.float32),
                }
            },
        )

    def _add(self, label: str, counts: Counts) -> None:
        known = self._counts.get(label)
        self._counts[label] = counts.copy() if known is None else known + counts

    def _labels(self, panel: Panel) -> NDArray[np.str_]:
        """Superpopulation per person, found through the population where only that is given."""
        labels = [
            given or self._superpopulation.get(population, "")
            for given, population in zip(
                panel.superpopulation.tolist(), panel.population.tolist(), strict=True
            )
        ]
        return np.asarray(labels, np.str_)

    def _by_maf(
        self,
        real: NDArray[np.float64],
        synthetic: NDArray[np.float64],
        both: NDArray[np.bool_],
        note: str,
    ) -> list[Measurement]:
        maf = np.minimum(real, 1 - real)
        edges = self._params.maf_bins
        found = []
        for low, high in pairwise(edges):
            inside = both & (maf > low) & (maf <= high)
            labels = {"maf": f"{low:g}-{high:g}"}
            value = rmse(real[inside], synthetic[inside])
            found.append(
                Measurement(
                    value,
                    n=int(inside.sum()),
                    labels=labels,
                    note="no site in this bin" if value is None else note,
                )
            )
        return found

    def _by_superpopulation(self) -> list[Measurement]:
        labels = self._labels(self._holdout)
        real_counts = counts_by_label(self._holdout, labels)
        real_counts.pop("", None)
        if not real_counts:
            return [Measurement(None, note="held-out people have no superpopulation labels")]
        if set(self._counts) == {""}:
            return [Measurement(None, note="the synthetic cohort has no population labels")]
        found = []
        for label, real in sorted(real_counts.items()):
            synthetic = self._counts.get(label)
            if synthetic is None:
                note = "no synthetic person has this label"
                found.append(Measurement(None, labels={"superpopulation": label}, note=note))
                continue
            both = (real[1] > 0) & (synthetic[1] > 0)
            value = rmse(frequencies(real)[both], frequencies(synthetic)[both])
            note = basis(int(synthetic[1].max()), int(real[1].max()), f"{int(both.sum()):,} sites")
            found.append(
                Measurement(
                    value,
                    n=int(both.sum()),
                    labels={"superpopulation": label},
                    note="no site called on both sides" if value is None else note,
                )
            )
        return found


def allele_frequency(
    reference: Reference, params: AlleleFrequencyParams, ctx: RunContext
) -> AlleleFrequency:
    """The metric `allele-frequency`."""
    return AlleleFrequency(reference, params)


def counts_by_label(panel: Panel, labels: NDArray[np.str_]) -> dict[str, Counts]:
    """Alternate and called alleles by label of the person: {label: (2, n_sites) int64}.

    `labels` is (n_samples,) str. Reads the haplotypes in blocks.
    """
    rows = np.repeat(labels, panel.ploidy)
    found: dict[str, Counts] = {}
    for start, block in panel.haplotype_blocks():
        block_labels = rows[start : start + block.shape[0]]
        for label in np.unique(block_labels).tolist():
            mine = block_labels == label
            chosen = block if mine.all() else block[mine]
            counts = found.setdefault(label, np.zeros((2, panel.n_sites), np.int64))
            counts[0] += (chosen == 1).sum(axis=0, dtype=np.int64)
            counts[1] += (chosen >= 0).sum(axis=0, dtype=np.int64)
    return found


def frequencies(counts: Counts) -> NDArray[np.float64]:
    """Alternate over called alleles, (n_sites,) float64; 0 where none is called."""
    found: NDArray[np.float64] = counts[0] / np.maximum(counts[1], 1)
    return found


def correlation(x: NDArray[np.float64], y: NDArray[np.float64]) -> float | None:
    """Pearson correlation of two vectors; None where one does not vary."""
    if x.size < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    return float(np.corrcoef(x, y)[0, 1])


def rmse(x: NDArray[np.float64], y: NDArray[np.float64]) -> float | None:
    """Root mean square of y - x; None for empty vectors."""
    return float(np.sqrt(np.mean((y - x) ** 2))) if x.size else None


def _superpopulations(reference: Reference) -> dict[str, str]:
    """Superpopulation of each population, as the real people have it."""
    return {
        population: superpopulation
        for panel in (reference.train, reference.holdout)
        for population, superpopulation in zip(
            panel.population.tolist(), panel.superpopulation.tolist(), strict=True
        )
        if population and superpopulation
    }


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
            return no_result(names, "the synthetic cohort is empty")
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
            return no_result(names, "no site is polymorphic on one side")
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
