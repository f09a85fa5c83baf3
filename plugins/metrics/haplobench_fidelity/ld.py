"""LD metrics: decay by distance, the matrix pair by pair, and distant pairs and triplets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haplobench import (
    Measurement,
    MetricResult,
    Panel,
    PanelError,
    Reference,
    RunContext,
)
from haplobench_fidelity import ld_pairs
from haplobench_fidelity.alleles import correlation
from haplobench_fidelity.cohorts import basis, measured
from haplobench_fidelity.ld_kernels import SiteBits
from haplobench_fidelity.ld_pairs import LDSites, ld_sites, needs_dosages, pack_sites
from haplobench_fidelity.specs_sites import (
    DECAY,
    LONG_RANGE,
    MATRIX,
    DecayParams,
    LongRangeParams,
    MatrixParams,
)

Reals = NDArray[np.float64]
Curve = dict[str, NDArray[Any]]
Ranges = tuple[NDArray[np.int64], NDArray[np.int64]]
# Enough to hold a window border, few enough for a dozen pictures in one figure.
_SHOWN_SITES = 128
_TILE_SITES = 16384


def ld_decay(
    reference: Reference, cohort: Panel, params: DecayParams, ctx: RunContext
) -> MetricResult:
    """RMSE and bias between the curves of mean r² by distance, in bp and in cM."""
    holdout = reference.holdout
    try:
        sites = ld_sites(holdout, cohort, params)
    except PanelError as error:
        return DECAY.not_applicable(str(error))
    at = (
        holdout.positions[sites.real_sites].astype(np.float64),
        cohort.positions[sites.synthetic_sites].astype(np.float64),
    )
    longest = min(params.max_distance, holdout.span)
    edges = log_edges(params.min_distance, longest, params.bins)
    curve = _curve(sites, *at, edges, params.min_pairs, ctx.threads)
    measurements = {
        "rmse": _between(curve, sites.note, _rms),
        "bias": _between(curve, sites.note, np.mean),
        "rmse_centimorgan": Measurement(None, note="the dataset has no recombination map"),
    }
    series = {"decay": curve} if curve["low"].size else {}
    if ctx.recombination_map is not None:
        real_cm, synthetic_cm = (ctx.recombination_map.at(positions) for positions in at)
        length = float(np.ptp(real_cm)) if real_cm.size else 0.0
        longest = min(params.max_centimorgan, length)
        edges = log_edges(params.min_centimorgan, longest, params.bins)
        curve = _curve(sites, real_cm, synthetic_cm, edges, params.min_pairs, ctx.threads)
        measurements["rmse_centimorgan"] = _between(curve, sites.note, _rms)
        if curve["low"].size:
            series["decay_centimorgan"] = curve
    return MetricResult(measurements, series=series)


def _curve(
    sites: LDSites, real_at: Reals, synthetic_at: Reals, edges: Reals, min_pairs: int, threads: int
) -> Curve:
    """The bins that both sides fill: their edges, mean r² and pairs of either side."""
    (n_real, real), (n_synthetic, synthetic) = (
        ld_pairs.decay(bits, at, edges, zero=sites.zero, threads=threads)
        for bits, at in ((sites.real, real_at), (sites.synthetic, synthetic_at))
    )
    full = np.minimum(n_real, n_synthetic) >= min_pairs
    return {
        "low": edges[:-1][full],
        "high": edges[1:][full],
        "real_r2": real[full] / n_real[full],
        "synthetic_r2": synthetic[full] / n_synthetic[full],
        "real_pairs": n_real[full],
        "synthetic_pairs": n_synthetic[full],
    }


def log_edges(low: float, high: float, bins: int) -> Reals:
    """Edges of bins of equal width in the logarithm, (bins + 1,) float64; one empty bin if none.

    Natural and base-10 logarithms give the same edges here: they are placed by ratio.
    """
    return np.geomspace(low, high, bins + 1) if high > low else np.array([low, low])


def _between(curve: Curve, note: str, of: Callable[[Reals], Any]) -> Measurement:
    """`of` the differences of two curves, synthetic minus held-out."""
    difference = curve["synthetic_r2"] - curve["real_r2"]
    return measured(
        float(of(difference)) if difference.size else None,
        difference.size,
        f"{note}; {difference.size} bins, {int(curve['synthetic_pairs'].sum()):,} pairs",
        "no distance bin has enough pairs on both sides",
    )


def _rms(difference: Reals) -> float:
    return float(np.sqrt(np.mean(difference**2)))


def ld_matrix(
    reference: Reference, cohort: Panel, params: MatrixParams, ctx: RunContext
) -> MetricResult:
    """Signed r inside windows, across borders and in blocks; r² of all pairs."""
    holdout = reference.holdout
    try:
        sites = ld_sites(holdout, cohort, params)
    except PanelError as error:
        return MATRIX.not_applicable(str(error))

    def moments(ranges: Ranges) -> ld_pairs.PairMoments:
        return ld_pairs.pair_moments(
            sites.real, sites.synthetic, *ranges, zero=sites.zero, threads=ctx.threads
        )

    at = sites.real_sites
    blocks = moments(block_ranges(at.size, params.block))
    inside = moments(in_window_ranges(at, params.window, params.reach))
    across = moments(cross_border_ranges(at, params.window, params.reach))
    window = f"window {params.window}, reach {params.reach}"
    windowed, blocked = f"{sites.note}; {window}", f"{sites.note}; blocks of {params.block}"
    few = f"too few pairs of LD sites ({blocks.pairs}), or"
    pairs, note = _all_pairs(holdout, cohort, sites, params, ctx.threads)
    return MetricResult(
        {
            "in_window": measured(
                inside.correlation,
                inside.pairs,
                windowed,
                f"too few pairs inside a window ({inside.pairs}), or r does not vary; {window}",
            ),
            "cross_border": measured(
                across.correlation,
                across.pairs,
                windowed,
                f"too few pairs across a border ({across.pairs}), or r does not vary; {window}",
            ),
            "blocks": measured(blocks.correlation, blocks.pairs, blocked, f"{few} r does not vary"),
            "frobenius": measured(
                blocks.relative_error, blocks.pairs, blocked, f"{few} no LD in held-out people"
            ),
            "squared": measured(pairs.correlation, pairs.pairs, note, f"{few} r² does not vary"),
            "squared_rmse": measured(pairs.rmse, pairs.pairs, note, f"{few} none is defined"),
        },
        series=_heat_map(holdout, cohort, sites),
    )


def _all_pairs(
    holdout: Panel, cohort: Panel, sites: LDSites, params: MatrixParams, threads: int
) -> tuple[ld_pairs.PairMoments, str]:
    """Moments of r² over all pairs of LD sites, evenly thinned ones where they are many."""
    if sites.real_sites.size > params.max_sites:
        sites = ld_sites(holdout, cohort, params, max_sites=params.max_sites)
    n = sites.real_sites.size
    later, end = np.arange(1, n + 1), np.full(n, n, np.int64)
    moments = ld_pairs.pair_moments(
        sites.real, sites.synthetic, later, end, zero=sites.zero, squared=True, threads=threads
    )
    return moments, f"{sites.note}; all pairs"


def block_ranges(n: int, block: int) -> Ranges:
    """For each of `n` LD sites, the later ones in its block: first and last + 1, (n,) int64."""
    i = np.arange(n)
    return i + 1, np.minimum((i // block + 1) * block, n)


def in_window_ranges(sites: NDArray[np.int64], window: int, reach: int) -> Ranges:
    """For each LD site, the later ones in its window and at most `reach` panel sites away.

    `sites` are the LD sites' indices among all panel sites, by which windows and reach count.
    """
    near = np.searchsorted(sites, sites + reach, side="right")
    border = np.searchsorted(sites, (sites // window + 1) * window)
    return np.arange(1, sites.size + 1), np.minimum(near, border)


def cross_border_ranges(sites: NDArray[np.int64], window: int, reach: int) -> Ranges:
    """For each LD site, the later ones past its window's end, at most `reach` panel sites away."""
    near = np.searchsorted(sites, sites + reach, side="right")
    border = np.searchsorted(sites, (sites // window + 1) * window)
    return border, np.maximum(border, near)


def _heat_map(
    holdout: Panel, cohort: Panel, sites: LDSites
) -> Mapping[str, Mapping[str, NDArray[np.generic]]]:
    """r² of adjacent LD sites in the middle of the region, as 0-255 of uint8."""
    at = sites.real_sites
    if at.size < 2:
        return {}
    first = max(0, (at.size - _SHOWN_SITES) // 2)
    shown = at[first : first + _SHOWN_SITES]

    def quantised(panel: Panel) -> NDArray[np.uint8]:
        bits = pack_sites(panel, shown, dosages=sites.real.dosages)
        r2 = np.nan_to_num(ld_pairs.correlation_matrix(bits)) ** 2
        return np.asarray(np.rint(r2 * 255).clip(0, 255), np.uint8)

    return {
        "heat_map": {
            "position": holdout.positions[shown],
            "site": shown,
            "real_r2": quantised(holdout),
            "synthetic_r2": quantised(cohort),
        }
    }


def long_range_ld(
    reference: Reference, cohort: Panel, params: LongRangeParams, ctx: RunContext
) -> MetricResult:
    """Correlation and RMSE of distant pairs; three-point correlation by gap."""
    holdout = reference.holdout
    try:
        sites = ld_sites(holdout, cohort, params, max_sites=params.max_sites)
    except PanelError as error:
        return LONG_RANGE.not_applicable(str(error))
    positions = holdout.positions[sites.real_sites]
    first = np.searchsorted(positions, positions + params.min_distance, side="right")
    last = np.full(positions.size, positions.size, np.int64)
    moments = ld_pairs.pair_moments(
        sites.real, sites.synthetic, first, last, zero=sites.zero, threads=ctx.threads
    )
    note = f"{sites.note}; further apart than {params.min_distance:,} bp"
    why_not = (
        f"{moments.pairs:,} pairs of LD sites are further apart than {params.min_distance:,} "
        f"bp (the region spans {holdout.span:,} bp), or r does not vary"
    )
    return MetricResult(
        {
            "correlation": measured(moments.correlation, moments.pairs, note, why_not),
            "rmse": measured(moments.rmse, moments.pairs, note, why_not),
            **_triplets(holdout, cohort, params.gaps),
        }
    )


def _triplets(
    holdout: Panel, cohort: Panel, gaps: Sequence[int]
) -> dict[str, Measurement | list[Measurement]]:
    dosages = needs_dosages(holdout, cohort)
    real, synthetic = (pack_sites(panel, dosages=dosages) for panel in (holdout, cohort))
    note = basis(
        cohort.n_haplotypes,
        holdout.n_haplotypes,
        f"{real.n_sites:,} sites",
        "moments of dosages (unphased)" if dosages else "",
    )
    by_gap = []
    for gap in gaps:
        x, y = third_moments(real, gap), third_moments(synthetic, gap)
        why_not = f"{x.size:,} triplets in {real.n_sites:,} sites, or moments do not vary"
        by_gap.append(measured(correlation(x, y), x.size, note, why_not, {"gap": str(gap)}))
    values = [measurement.value for measurement in by_gap if measurement.value is not None]
    counted = f"mean over {len(values)} of {len(by_gap)} gaps"
    mean = float(np.mean(values)) if values else None
    return {
        "three_point": by_gap,
        "three_point_mean": measured(
            mean, len(values), f"{note}; {counted}", "no gap fits into the panel"
        ),
    }


def third_moments(bits: SiteBits, gap: int) -> NDArray[np.float64]:
    """E[(a - Ea)(b - Eb)(c - Ec)] of sites (i, i + gap, i + 2 gap): (n_sites - 2 gap,) float64.

    The connected three-point correlation of Yelmen et al. 2021, over haplotypes or over
    people's dosages, as packed; with missing alleles, over what is called at all three sites.
    Empty where the sites hold no such triplet.
    """
    n_triplets = max(0, bits.n_sites - 2 * gap)
    found = np.zeros(n_triplets)
    for start in range(0, n_triplets, _TILE_SITES):
        stop = min(start + _TILE_SITES, n_triplets)
        found[start:stop] = _tile(bits, gap, start, stop)
    return found


def _tile(bits: SiteBits, gap: int, start: int, stop: int) -> NDArray[np.float64]:
    rows = [slice(start + k * gap, stop + k * gap) for k in range(3)]
    a, b, c = (bits.alternate[row] for row in rows)
    called = [bits.called[row] for row in rows] if bits.called.size else []
    swapped = [bits.swapped[row] for row in rows] if bits.dosages else []
    n: float | NDArray[np.float64] = float(bits.n)
    if called:
        n = np.maximum(_count(*called) / (2 if swapped else 1), 1)
    sum_a, sum_b, sum_c = _count(a, *called), _count(b, *called), _count(c, *called)
    sum_ab, sum_ac, sum_bc = _count(a, b, *called), _count(a, c, *called), _count(b, c, *called)
    sum_abc = _count(a, b, c)
    if swapped:
        # A person's product of dosages: each allele against both alleles of the other sites.
        _, other_b, other_c = swapped
        sum_ab = sum_ab + _count(a, other_b, *called)
        sum_ac = sum_ac + _count(a, other_c, *called)
        sum_bc = sum_bc + _count(b, other_c, *called)
        sum_abc = (
            sum_abc + _count(a, b, other_c) + _count(a, other_b, c) + _count(a, other_b, other_c)
        )
    lower = (sum_a * sum_bc + sum_b * sum_ac + sum_c * sum_ab) / n
    moment: NDArray[np.float64] = (sum_abc - lower + 2 * sum_a * sum_b * sum_c / n**2) / n
    return moment


def _count(*rows: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Bits set in all of some (sites, words) arrays, per site."""
    shared = reduce(np.bitwise_and, rows)
    counts: NDArray[np.float64] = np.bitwise_count(shared).sum(axis=1, dtype=np.int64).astype(float)
    return counts
