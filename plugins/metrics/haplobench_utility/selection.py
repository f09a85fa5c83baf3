"""Scans for selection: H12, iHS and nSL in windows of synthetic and of real haplotypes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from haplobench import Measurement, MetricResult, Panel, Reference, RunContext
from haplobench.data.panel import columns_of
from haplobench.kernels import compiled
from haplobench.memory import remember
from haplobench_utility.cohorts import measured, window_starts
from haplobench_utility.specs_structure import SELECTION_SCAN, SelectionScanParams

Floats = NDArray[np.float64]
_STATISTICS = ("h12", "ihs", "nsl")
_MIN_EHH = 0.05
_MIN_WINDOWS, _MIN_SCORES = 10, 3
# Scores are standardised among sites of like frequency.
_FREQUENCY_BINS, _MIN_IN_BIN = 9, 10


def selection_scan(
    reference: Reference, cohort: Panel, params: SelectionScanParams, ctx: RunContext
) -> MetricResult:
    """Window statistics of the cohort against those of as many held-out haplotypes."""
    holdout = reference.holdout
    n = min(cohort.n_haplotypes, holdout.n_haplotypes, params.max_haplotypes)
    for side, panel in (("held-out", holdout), ("synthetic", cohort)):
        if panel.has_missing:
            why = f"alleles of the {side} panel are missing"
            return SELECTION_SCAN.not_applicable(why, cohort.n_haplotypes)
    starts = window_starts(holdout, params.window_bp, params.step_bp)
    if n < 4 or starts.size < _MIN_WINDOWS:
        note = (
            f"needs four haplotypes on both sides and {_MIN_WINDOWS} windows; there are {n} "
            f"haplotypes and {starts.size} windows"
        )
        return SELECTION_SCAN.not_applicable(note, cohort.n_haplotypes)
    key = ("selection", holdout.digest, params, n, ctx.seed, ctx.recombination_map is None)
    real = remember(key, lambda: _scan(holdout, starts, n, params, ctx, "holdout"))
    synthetic = _scan(cohort, starts, n, params, ctx, "synthetic")
    note = f"{n} haplotypes a side"
    measurements: dict[str, Measurement] = {}
    for name in _STATISTICS:
        measurements |= _agreement(name, real[name], synthetic[name], params.top, note)
    windows: dict[str, NDArray[Any]] = {"start_bp": starts}
    for name in _STATISTICS:
        windows |= {f"real_{name}": real[name], f"synthetic_{name}": synthetic[name]}
    return MetricResult(measurements, {"windows": windows})


def _agreement(
    name: str, real: Floats, synthetic: Floats, top: float, note: str
) -> dict[str, Measurement]:
    both = np.isfinite(real) & np.isfinite(synthetic)
    n = int(both.sum())
    rank = overlap = None
    if n >= _MIN_WINDOWS:
        a, b = real[both], synthetic[both]
        # Windows that are all alike are in no order: none of it is the real one's.
        varies = np.ptp(a) > 0
        rank = float(spearmanr(a, b).statistic) if varies and np.ptp(b) > 0 else 0.0
        if not varies:
            rank = None
        most = max(1, round(top * n))
        overlap = len(set(_top(a, most)) & set(_top(b, most))) / most
    why = f"fewer than {_MIN_WINDOWS} windows have a value on both sides, or real ones are alike"
    return {
        f"{name}_rank": measured(rank, n, why, note),
        f"{name}_top": measured(overlap, n, why, note),
    }


def _top(values: Floats, most: int) -> list[int]:
    return [int(i) for i in np.argsort(-values, kind="stable")[:most]]


def _scan(
    panel: Panel,
    starts: NDArray[np.int64],
    n: int,
    params: SelectionScanParams,
    ctx: RunContext,
    side: str,
) -> dict[str, Floats]:
    """Statistics of each window: (n_windows,) float64 each, NaN where there are no scores."""
    rows: Any = slice(None)
    if n < panel.n_haplotypes:
        chosen = ctx.rng("selection", side).choice(panel.n_haplotypes, n, replace=False)
        rows = np.sort(chosen)
    haplotypes = panel.alleles(rows)
    counts = haplotypes.sum(axis=0, dtype=np.int64)
    common = np.minimum(counts, n - counts) >= max(2, params.min_maf * n)
    haplotypes, counts = columns_of(haplotypes, common), counts[common]
    positions = panel.positions[common]
    ends = starts + params.window_bp
    columns = np.searchsorted(positions, np.stack([starts, ends], axis=1))
    weights = ctx.rng("selection", "words").integers(
        0, 2**63, positions.size, dtype=np.uint64, endpoint=True
    )
    homozygosity = np.array(
        [h12(haplotypes[:, low:high], weights[low:high]) for low, high in columns]
    )
    at = positions.astype(np.float64)
    if ctx.recombination_map is not None:
        at = ctx.recombination_map.at(positions)
    lengths = homozygous_lengths(haplotypes, np.diff(at))
    found = {"h12": homozygosity}
    for name, scores in (("ihs", lengths.ihs), ("nsl", lengths.nsl)):
        standard = np.abs(standardised(scores, counts, n, params.min_maf))
        found[name] = np.array([_mean(standard[low:high]) for low, high in columns])
    return found


def _mean(scores: Floats) -> float:
    known = scores[np.isfinite(scores)]
    return float(known.mean()) if known.size >= _MIN_SCORES else np.nan


def h12(haplotypes: NDArray[np.int8], weights: NDArray[np.uint64]) -> float:
    """H12 of one window: (p1 + p2)² + sum of the other p², p the haplotypes' frequencies.

    Garud et al. 2015. Haplotypes are told apart by a sum of random `weights` (n_sites,) of their
    alternate alleles, modulo 2^64. 1 where there is no site.
    """
    words = haplotypes.astype(np.uint64) @ weights
    shares = np.sort(np.unique(words, return_counts=True)[1])[::-1] / words.size
    return float(shares[:2].sum() ** 2 + (shares[2:] ** 2).sum())


@dataclass(frozen=True, eq=False)
class HomozygousLengths:
    """Mean stretches that two carriers of an allele share around a site, by allele.

    Attributes
    ----------
    integrals : (2, n_sites) float64
        Integrated haplotype homozygosity of carriers of 0 and of 1, both directions summed.
    sites : (2, n_sites) float64
        Mean number of sites that two carriers share, both directions summed.
        NaN where fewer than two carry the allele.
    """

    integrals: Floats
    sites: Floats

    @property
    def ihs(self) -> Floats:
        """Unstandardised iHS, ln(iHH of 1 / iHH of 0) (Voight et al. 2006): (n_sites,) float64."""
        return _log_ratio(self.integrals)

    @property
    def nsl(self) -> Floats:
        """Unstandardised nSL, ln(SL of 1 / SL of 0) (Ferrer-Admetlla et al. 2014)."""
        return _log_ratio(self.sites)


def _log_ratio(pair: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.log(pair[1] / pair[0])
    return np.where(np.isfinite(ratio), ratio, np.nan)


def homozygous_lengths(haplotypes: NDArray[np.int8], gaps: Floats) -> HomozygousLengths:
    """Shared stretches of a phased cohort's pairs of haplotypes around every site.

    Haplotype homozygosity (EHH) is the share of pairs of carriers that are alike from the site up
    to another; its integral (iHH) is taken by trapezoids up to the first site at which EHH is .05
    or less, or to the region's end. Counted without pairs: sorted by their reversed prefixes
    (positional Burrows-Wheeler transform, Durbin 2014), any two haplotypes share what the least
    alike neighbours between them do.

    Parameters
    ----------
    haplotypes : (n, n_sites) int8
        0 and 1, nothing missing.
    gaps : (n_sites - 1,) float64
        Distances between neighbouring sites, in any unit.
    """
    columns = np.ascontiguousarray(haplotypes.T)
    forward = _scan_prefixes(columns, gaps)
    reverse = _scan_prefixes(np.ascontiguousarray(columns[::-1]), np.ascontiguousarray(gaps[::-1]))
    total = forward + reverse[:, ::-1]
    return HomozygousLengths(total[:2], total[2:])


@compiled
def _scan_prefixes(columns: NDArray[np.int8], gaps: Floats) -> Floats:
    """iHH of carriers of 0 and of 1, then mean shared sites of both: (4, n_sites) float64.

    Of the stretch that ends at each site, `columns` (n_sites, n) a row per site.
    """
    n_sites, n = columns.shape
    table = np.full((4, n_sites), np.nan)
    order = np.arange(n)
    starts = np.zeros(n, np.int64)  # where a haplotype begins to be like the one before it
    next_order = np.empty(n, np.int64)
    next_starts = np.empty(n, np.int64)
    left = np.empty(n, np.int64)
    stack = np.empty(n, np.int64)
    pairs = np.zeros(n_sites + 1, np.int64)  # by the site at which they begin to be alike
    for site in range(n_sites):
        carriers = 0
        for j in range(n):
            carriers += columns[site, j]
        zero, one = 0, n - carriers
        first_zero = first_one = site + 1
        for j in range(n):
            first_zero = max(first_zero, starts[j])
            first_one = max(first_one, starts[j])
            if columns[site, order[j]] == 0:
                next_order[zero], next_starts[zero] = order[j], first_zero
                zero += 1
                first_zero = 0
            else:
                next_order[one], next_starts[one] = order[j], first_one
                one += 1
                first_one = 0
        order, next_order = next_order, order
        starts, next_starts = next_starts, starts
        for allele in range(2):
            low = 0 if allele == 0 else n - carriers
            high = n - carriers if allele == 0 else n
            m = high - low
            if m < 2:
                continue
            # A neighbour's start is the latest of those between two haplotypes in as many pairs
            # as there are haplotypes before it up to a later start, times those behind it.
            depth = shared = 0
            for j in range(low + 1, high + 1):
                while depth and (j == high or starts[stack[depth - 1]] <= starts[j]):
                    k = stack[depth - 1]
                    many = left[k] * (j - k)
                    pairs[starts[k]] += many
                    shared += many * (site - starts[k])
                    depth -= 1
                if j < high:
                    left[j] = j - (stack[depth - 1] if depth else low)
                    stack[depth] = j
                    depth += 1
            total = m * (m - 1) / 2
            alike = total
            previous, integral = 1.0, 0.0
            for t in range(site - 1, -1, -1):
                alike -= pairs[t + 1]
                share = alike / total
                integral += gaps[t] * (previous + share) / 2
                previous = share
                if share <= _MIN_EHH:
                    break
            for j in range(low + 1, high):
                pairs[starts[j]] = 0
            table[allele, site] = integral
            table[2 + allele, site] = 1 + shared / total
    return table


def standardised(scores: Floats, counts: NDArray[np.int64], n: int, min_maf: float) -> Floats:
    """Scores of the rarer allele, less their mean and over their SD among sites as frequent.

    Which allele is derived isn't asked: a score's sign is turned where the alternate allele is
    the commoner one. Of nine equal ranges of MAF; NaN where one has fewer than ten sites.
    """
    polarised = np.where(counts * 2 > n, -scores, scores)
    edges = np.linspace(min_maf, 0.5, _FREQUENCY_BINS + 1)[1:-1]
    # Counts are whole: what is at an edge but for rounding belongs above it.
    bins = np.digitize(np.minimum(counts, n - counts), edges * n - 1e-6)
    found = np.full(scores.shape, np.nan)
    for one in range(_FREQUENCY_BINS):
        mine = np.flatnonzero((bins == one) & np.isfinite(polarised))
        spread = polarised[mine].std() if mine.size >= _MIN_IN_BIN else 0.0
        if spread > 0:
            found[mine] = (polarised[mine] - polarised[mine].mean()) / spread
    return found
