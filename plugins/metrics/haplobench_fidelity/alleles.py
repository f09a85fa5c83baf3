"""Allele frequencies, site by site, and their spectrum: synthetic against held-out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from haplobench import Measurement, MetricResult, Panel, PanelError, Reference, RunContext
from haplobench.data.panel import count_alleles
from haplobench_fidelity.cohorts import basis, measured
from haplobench_fidelity.specs_sites import (
    ALLELE_FREQUENCY,
    SPECTRUM,
    AlleleFrequencyParams,
    SpectrumParams,
)

Counts = NDArray[np.int64]
Spectrum = NDArray[np.float64]
_CHUNK = 4096


def allele_frequency(
    reference: Reference, cohort: Panel, params: AlleleFrequencyParams, ctx: RunContext
) -> MetricResult:
    """Correlation and RMSE over all sites, by MAF and by superpopulation; sites lost.

    Raises PanelError where the cohort has another number of sites.
    """
    holdout = reference.holdout
    if cohort.n_sites != holdout.n_sites:
        raise PanelError(
            f"allele-frequency: found {cohort.n_sites} sites, expected the panel's "
            f"{holdout.n_sites}"
        )
    if not cohort.n_haplotypes or not holdout.n_sites:
        return ALLELE_FREQUENCY.not_applicable("no haplotypes or no sites to compare")
    real, synthetic = frequencies(holdout.allele_counts), frequencies(cohort.allele_counts)
    both = (cohort.allele_counts[1] > 0) & (holdout.allele_counts[1] > 0)
    n = int(both.sum())
    note = basis(cohort.n_haplotypes, holdout.n_haplotypes, f"{n:,} sites", "fixed sites kept")
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
            "rmse_by_maf": _by_maf(real, synthetic, both, params.maf_bins, note),
            "rmse_by_superpopulation": _by_superpopulation(reference, cohort),
            "sites_lost": measured(
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


def _by_maf(
    real: NDArray[np.float64],
    synthetic: NDArray[np.float64],
    both: NDArray[np.bool_],
    edges: Sequence[float],
    note: str,
) -> list[Measurement]:
    maf = np.minimum(real, 1 - real)
    bins = []
    for low, high in pairwise(edges):
        inside = both & (maf > low) & (maf <= high)
        value = rmse(real[inside], synthetic[inside])
        labels = {"maf": f"{low:g}-{high:g}"}
        bins.append(measured(value, int(inside.sum()), note, "no site in this bin", labels))
    return bins


def _by_superpopulation(reference: Reference, cohort: Panel) -> list[Measurement]:
    known = _superpopulations(reference)
    real_counts, synthetic_counts = (
        counts_by_label(panel, _labels(panel, known)) for panel in (reference.holdout, cohort)
    )
    real_counts.pop("", None)
    if not real_counts:
        return [Measurement(None, note="held-out people have no superpopulation labels")]
    if set(synthetic_counts) == {""}:
        return [Measurement(None, note="the synthetic cohort has no population labels")]
    groups = []
    for label, real in sorted(real_counts.items()):
        labels = {"superpopulation": label}
        synthetic = synthetic_counts.get(label)
        if synthetic is None:
            note = "no synthetic person has this label"
            groups.append(Measurement(None, labels=labels, note=note))
            continue
        both = (real[1] > 0) & (synthetic[1] > 0)
        n = int(both.sum())
        value = rmse(frequencies(real)[both], frequencies(synthetic)[both])
        note = basis(int(synthetic[1].max()), int(real[1].max()), f"{n:,} sites")
        groups.append(measured(value, n, note, "no site called on both sides", labels))
    return groups


def _labels(panel: Panel, known: Mapping[str, str]) -> NDArray[np.str_]:
    """Superpopulation per person, found through the population where only that is given."""
    labels = [
        given or known.get(population, "")
        for given, population in zip(
            panel.superpopulation.tolist(), panel.population.tolist(), strict=True
        )
    ]
    return np.asarray(labels, np.str_)


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


def counts_by_label(panel: Panel, labels: NDArray[np.str_]) -> dict[str, Counts]:
    """Alternate and called alleles by label of the person: {label: (2, n_sites) int64}.

    `labels` is (n_samples,) str. Reads the haplotypes in blocks.
    """
    rows = np.repeat(labels, panel.ploidy)
    if labels.size and (labels == labels[0]).all():
        return {str(labels[0]): panel.allele_counts}
    found: dict[str, Counts] = {}
    for start, block in panel.haplotype_blocks():
        block_labels = rows[start : start + block.shape[0]]
        for label in np.unique(block_labels).tolist():
            mine = block_labels == label
            chosen = block if mine.all() else block[mine]
            counts = found.setdefault(label, np.zeros((2, panel.n_sites), np.int64))
            counts += count_alleles(chosen)
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


def allele_frequency_spectrum(
    reference: Reference, cohort: Panel, params: SpectrumParams, ctx: RunContext
) -> MetricResult:
    """Divergence, distance and correlation of the two spectra; ratio of polymorphic sites."""
    from scipy.stats import wasserstein_distance  # here: frequencies are compared without scipy

    holdout = reference.holdout
    if not cohort.n_haplotypes:
        return SPECTRUM.not_applicable("the synthetic cohort is empty")
    same_sites = cohort.same_sites(holdout)
    threshold = 0.0 if same_sites else ctx.min_maf
    keep_fixed = params.fixed == "zero" and same_sites
    real, synthetic = holdout.allele_counts, cohort.allele_counts
    shares, remark = np.ones(cohort.n_sites), ""
    n_train = reference.train.n_haplotypes
    if threshold and n_train and not holdout.common_sites(threshold).all():
        # Real sites were chosen on the training people, whose frequencies are others.
        shares = left_by_filter(synthetic, n_train, threshold)
        remark = f"synthetic sites by their chance of MAF {threshold:g} in {n_train:,} haplotypes"
    elif threshold:
        real, synthetic = _above(real, threshold), _above(synthetic, threshold)
        shares, remark = np.ones(synthetic.shape[1]), f"MAF > {threshold:g} on both sides"
    size = min(holdout.n_haplotypes, cohort.n_haplotypes)
    size = min(size, params.projection or size)
    real_spectrum, n_real = projected_spectrum(real, size)
    synthetic_spectrum, n_synthetic = projected_spectrum(synthetic, size, shares)
    if not keep_fixed:
        real_spectrum[0] = synthetic_spectrum[0] = 0.0
    if not real_spectrum.sum() or not synthetic_spectrum.sum():
        return SPECTRUM.not_applicable("no site is polymorphic on one side")
    p = real_spectrum / real_spectrum.sum()
    q = synthetic_spectrum / synthetic_spectrum.sum()
    first = 0 if keep_fixed else 1
    maf = np.arange(p.size) / size
    note = basis(
        cohort.n_haplotypes,
        holdout.n_haplotypes,
        f"{n_synthetic:,} and {n_real:,} sites",
        f"projected to {size} haplotypes",
        remark,
        f"fixed sites: {params.fixed}",
    )
    n_polymorphic = int(_polymorphic(real).sum())
    return MetricResult(
        {
            "jsd": Measurement(divergence(p, q), n_synthetic, note=note),
            "wasserstein": Measurement(
                float(wasserstein_distance(maf, maf, p, q)), n_synthetic, note=note
            ),
            "r": measured(
                correlation(p[first:], q[first:]),
                n_synthetic,
                note,
                "a spectrum is flat, or has one class",
            ),
            "site_ratio": measured(
                float(shares[_polymorphic(synthetic)].sum()) / n_polymorphic
                if n_polymorphic
                else None,
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


def folded_spectrum(alternate: Counts, n: int) -> Counts:
    """Number of sites by copies of the rarer allele among `n`: (n // 2 + 1,) int64.

    The folded site-frequency spectrum, fixed sites in class 0; `alternate` is (n_sites,) int64.
    """
    return np.bincount(np.minimum(alternate, n - alternate), minlength=n // 2 + 1)


def left_by_filter(counts: Counts, n_others: int, min_maf: float) -> Spectrum:
    """Chance that a site is at least as common as `min_maf` in other people: (n_sites,) float64.

    `counts` are alternate and called alleles, (2, n_sites) int64, of a sample of a population whose
    sites have frequencies x with density (x(1 - x))^-a: then the alternate alleles of `n_others`
    more haplotypes are beta-binomial. A neutral population of constant size has a = 1 (Ewens 1979),
    one that has grown has more; a is fitted to `counts`. 0 for fixed sites.
    """
    from scipy.stats import betabinom

    (alternate, called), of = np.unique(counts, axis=1, return_inverse=True)
    shares = np.zeros(alternate.size)
    inside = (alternate > 0) & (alternate < called)
    few = np.arange(math.ceil((min_maf - 1e-9) * n_others))[:, None]
    more = 1 - _rarity(counts, min_maf)
    one, other = alternate[inside] + more, (called - alternate)[inside] + more
    rare = betabinom.pmf(few, n_others, one, other) + betabinom.pmf(few, n_others, other, one)
    shares[inside] = 1 - rare.sum(axis=0)
    return shares[of.reshape(-1)].clip(0, 1)


def _rarity(counts: Counts, min_maf: float) -> float:
    """The exponent a of `left_by_filter`: the likeliest, of sites about as rare as `min_maf`.

    Minor alleles of up to twice that, four at least. Few sites say little, and leave it near 1.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import gammaln, logsumexp

    n = int(counts[1].max(initial=0))
    alternate = counts[0][counts[1] == n]
    copies = np.arange(1, min(max(4, math.ceil(2 * min_maf * n)), (n - 1) // 2) + 1)
    if copies.size < 2:
        return 1.0
    sites = np.bincount(np.minimum(alternate, n - alternate), minlength=n + 1)[copies]

    def loss(a: float) -> float:
        logs = gammaln(copies + 1 - a) + gammaln(n - copies + 1 - a)
        logs -= gammaln(copies + 1) + gammaln(n - copies + 1)
        return float(2 * (a - 1) ** 2 - sites @ (logs - logsumexp(logs)))

    return float(minimize_scalar(loss, bounds=(0.0, 1.95), method="bounded").x)


def projected_spectrum(
    counts: Counts, size: int, shares: Spectrum | None = None
) -> tuple[Spectrum, int]:
    """The folded spectrum expected in `size` haplotypes drawn without replacement.

    `counts` are alternate and called alleles, (2, n_sites) int64; `shares` (n_sites,): what each
    site counts, 1 if not given. A site with fewer than `size` called alleles is left out. Returns
    ((size // 2 + 1,) float64, number of sites used).
    Hypergeometric projection: Marth et al. 2004; Gutenkunst et al. 2009.
    """
    from scipy.special import gammaln

    enough = counts[1] >= size
    pairs, of = np.unique(counts[:, enough], axis=1, return_inverse=True)
    weights = np.bincount(
        of.reshape(-1), None if shares is None else shares[enough], minlength=pairs.shape[1]
    )
    unfolded = np.zeros(size + 1)
    copies = np.arange(size + 1)
    factorials = gammaln(np.arange(int(counts[1].max(initial=0)) + 2) + 1.0)

    def choose(n: Counts, k: Counts) -> Spectrum:
        """Logarithms of n over k; -inf where that is 0."""
        inside = (k >= 0) & (k <= n)
        few = np.where(inside, k, 0)
        return np.where(inside, factorials[n] - factorials[few] - factorials[n - few], -np.inf)

    for start in range(0, weights.size, _CHUNK):
        alternate, called = pairs[:, start : start + _CHUNK]
        if (called == size).all():
            chance = (alternate[:, None] == copies).astype(np.float64)
        else:
            drawn = choose(alternate[:, None], copies)
            drawn += choose((called - alternate)[:, None], size - copies)
            chance = np.exp(drawn - choose(called, np.full_like(called, size))[:, None])
        unfolded += weights[start : start + _CHUNK] @ chance
    folded = np.zeros(size // 2 + 1)
    np.add.at(folded, np.minimum(copies, size - copies), unfolded)
    return folded, int(enough.sum())


def divergence(p: Spectrum, q: Spectrum) -> float:
    """Jensen-Shannon divergence (Lin 1991) in bits, 0-1, of two distributions."""
    from scipy.spatial.distance import jensenshannon

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
