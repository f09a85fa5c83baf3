"""LD metrics: decay by distance, the matrix pair by pair, and distant pairs and triplets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from haplobench import (
    Measurement,
    MetricResult,
    Panel,
    PanelError,
    RecombinationMap,
    Reference,
    RunContext,
)
from haplobench_fidelity import ld_pairs
from haplobench_fidelity.alleles import correlation
from haplobench_fidelity.cohorts import basis, measured, no_result
from haplobench_fidelity.ld_pairs import LDSites, SiteBits, ld_sites, needs_dosages, pack_sites
from haplobench_fidelity.specs.sites import (
    DECAY,
    LONG_RANGE,
    MATRIX,
    DecayParams,
    LongRangeParams,
    MatrixParams,
)

Reals = NDArray[np.float64]


class LDDecay:
    """Takes the whole cohort, then compares decay curves."""

    def __init__(self, reference: Reference, params: DecayParams, ctx: RunContext) -> None:
        self._holdout = reference.holdout
        self._params = params
        self._map = ctx.recombination_map
        self._threads = ctx.threads
        self._cohort: Panel | None = None

    def update(self, data: Panel) -> None:
        """Take the cohort."""
        self._cohort = data

    def result(self) -> MetricResult:
        """RMSE and bias between the curves, by bp and by cM."""
        names = [submetric.name for submetric in DECAY.submetrics]
        if self._cohort is None:
            return no_result(names, "the synthetic cohort is empty")
        try:
            sites = ld_sites(self._holdout, self._cohort, self._params)
        except PanelError as error:
            return no_result(names, str(error))
        real_bp = self._holdout.positions[sites.real_sites].astype(np.float64)
        synthetic_bp = self._cohort.positions[sites.synthetic_sites].astype(np.float64)
        edges = log_edges(
            self._params.min_distance,
            min(self._params.max_distance, self._holdout.span),
            self._params.bins,
        )
        curve = self._curve(sites, real_bp, synthetic_bp, edges)
        measurements = {
            "rmse": _curve_rmse(curve, sites.note),
            "bias": _bias(curve, sites.note),
            "rmse-centimorgan": Measurement(None, note="the dataset has no recombination map"),
        }
        series = {"decay": curve} if curve["low"].size else {}
        if self._map is not None:
            curve = self._centimorgan_curve(sites, self._map, real_bp, synthetic_bp)
            measurements["rmse-centimorgan"] = _curve_rmse(curve, sites.note)
            if curve["low"].size:
                series["decay_centimorgan"] = curve
        return MetricResult(measurements, series=series)

    def _centimorgan_curve(
        self, sites: LDSites, genetic: RecombinationMap, real_bp: Reals, synthetic_bp: Reals
    ) -> dict[str, NDArray[np.generic]]:
        real_cm, synthetic_cm = genetic.at(real_bp), genetic.at(synthetic_bp)
        length = float(np.ptp(real_cm)) if real_cm.size else 0.0
        edges = log_edges(
            self._params.min_centimorgan,
            min(self._params.max_centimorgan, length),
            self._params.bins,
        )
        return self._curve(sites, real_cm, synthetic_cm, edges)

    def _curve(
        self, sites: LDSites, real_at: Reals, synthetic_at: Reals, edges: Reals
    ) -> dict[str, NDArray[np.generic]]:
        """The bins that both sides fill: their edges, mean r² and pairs of either side."""
        n_real, real = ld_pairs.decay(
            sites.real, real_at, edges, zero=sites.zero, threads=self._threads
        )
        n_synthetic, synthetic = ld_pairs.decay(
            sites.synthetic, synthetic_at, edges, zero=sites.zero, threads=self._threads
        )
        full = np.minimum(n_real, n_synthetic) >= self._params.min_pairs
        return {
            "low": edges[:-1][full],
            "high": edges[1:][full],
            "real_r2": real[full] / n_real[full],
            "synthetic_r2": synthetic[full] / n_synthetic[full],
            "real_pairs": n_real[full],
            "synthetic_pairs": n_synthetic[full],
        }


def ld_decay(reference: Reference, params: DecayParams, ctx: RunContext) -> LDDecay:
    """The metric `ld-decay`."""
    return LDDecay(reference, params, ctx)


def log_edges(low: float, high: float, bins: int) -> Reals:
    """Edges of bins of equal width in the logarithm, (bins + 1,) float64; one empty bin if none.

    Natural and base-10 logarithms give the same edges here: they are placed by ratio.
    """
    return np.geomspace(low, high, bins + 1) if high > low else np.array([low, low])


_NO_BIN = "no distance bin has enough pairs on both sides"


def _difference(curve: dict[str, NDArray[np.generic]]) -> Reals:
    return np.asarray(curve["synthetic_r2"], np.float64) - np.asarray(curve["real_r2"], np.float64)


def _curve_rmse(curve: dict[str, NDArray[np.generic]], note: str) -> Measurement:
    difference = _difference(curve)
    value = float(np.sqrt(np.mean(difference**2))) if difference.size else None
    return measured(value, difference.size, _with_bins(curve, note), _NO_BIN)


def _bias(curve: dict[str, NDArray[np.generic]], note: str) -> Measurement:
    difference = _difference(curve)
    value = float(difference.mean()) if difference.size else None
    return measured(value, difference.size, _with_bins(curve, note), _NO_BIN)


def _with_bins(curve: dict[str, NDArray[np.generic]], note: str) -> str:
    return f"{note}; {curve['low'].size} bins, {int(curve['synthetic_pairs'].sum()):,} pairs"


Ranges = tuple[NDArray[np.int64], NDArray[np.int64]]
# Enough to hold a window border, few enough for a dozen pictures in one figure.
_SHOWN_SITES = 128


class LDMatrix:
    """Takes the whole cohort, then compares the correlations of the same pairs of sites."""

    def __init__(self, reference: Reference, params: MatrixParams, ctx: RunContext) -> None:
        self._holdout = reference.holdout
        self._params = params
        self._threads = ctx.threads
        self._cohort: Panel | None = None

    def update(self, data: Panel) -> None:
        """Take the cohort."""
        self._cohort = data

    def result(self) -> MetricResult:
        """Correlation inside windows, across borders and in blocks; Frobenius error."""
        names = [submetric.name for submetric in MATRIX.submetrics]
        if self._cohort is None:
            return no_result(names, "the synthetic cohort is empty")
        params = self._params
        try:
            sites = ld_sites(self._holdout, self._cohort, params)
        except PanelError as error:
            return no_result(names, str(error))
        at = sites.real_sites
        window = f"window {params.window}, reach {params.reach}"
        blocks = self._moments(sites, block_ranges(at.size, params.block))
        inside = self._moments(sites, in_window_ranges(at, params.window, params.reach))
        across = self._moments(sites, cross_border_ranges(at, params.window, params.reach))
        return MetricResult(
            {
                "in-window": measured(
                    inside.correlation,
                    inside.pairs,
                    f"{sites.note}; {window}",
                    f"too few pairs inside a window ({inside.pairs}), or r does not vary; {window}",
                ),
                "cross-border": measured(
                    across.correlation,
                    across.pairs,
                    f"{sites.note}; {window}",
                    f"too few pairs across a border ({across.pairs}), or r does not vary; {window}",
                ),
                "blocks": measured(
                    blocks.correlation,
                    blocks.pairs,
                    f"{sites.note}; blocks of {params.block}",
                    f"too few pairs of LD sites ({blocks.pairs}), or r does not vary",
                ),
                "frobenius": measured(
                    blocks.relative_error,
                    blocks.pairs,
                    f"{sites.note}; blocks of {params.block}",
                    f"too few pairs of LD sites ({blocks.pairs}), or no LD in held-out people",
                ),
            },
            series=self._heat_map(sites, self._cohort),
        )

    def _moments(self, sites: LDSites, ranges: Ranges) -> ld_pairs.PairMoments:
        return ld_pairs.pair_moments(
            sites.real, sites.synthetic, *ranges, zero=sites.zero, threads=self._threads
        )

    def _heat_map(
        self, sites: LDSites, cohort: Panel
    ) -> Mapping[str, Mapping[str, NDArray[np.generic]]]:
        """r² of adjacent LD sites in the middle of the region, as 0-255 of uint8."""
        at = sites.real_sites
        if at.size < 2:
            return {}
        first = max(0, (at.size - _SHOWN_SITES) // 2)
        shown = at[first : first + _SHOWN_SITES]
        tables = {
            name: _quantised(
                ld_pairs.correlation_matrix(pack_sites(panel, shown, dosages=sites.real.dosages))
            )
            for name, panel in (("real_r2", self._holdout), ("synthetic_r2", cohort))
        }
        return {"heat_map": {"position": self._holdout.positions[shown], "site": shown, **tables}}


def ld_matrix(reference: Reference, params: MatrixParams, ctx: RunContext) -> LDMatrix:
    """The metric `ld-matrix`."""
    return LDMatrix(reference, params, ctx)


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


def _quantised(r: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.asarray(np.rint(np.nan_to_num(r) ** 2 * 255).clip(0, 255), np.uint8)


_TILE_SITES = 16384


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


class LongRangeLD:
    """Takes the whole cohort, then compares distant pairs and triplets."""

    def __init__(self, reference: Reference, params: LongRangeParams, ctx: RunContext) -> None:
        self._holdout = reference.holdout
        self._params = params
        self._threads = ctx.threads
        self._cohort: Panel | None = None

    def update(self, data: Panel) -> None:
        """Take the cohort."""
        self._cohort = data

    def result(self) -> MetricResult:
        """Correlation and RMSE of distant pairs; three-point correlation by gap."""
        if self._cohort is None:
            names = (submetric.name for submetric in LONG_RANGE.submetrics)
            return no_result(names, "the synthetic cohort is empty")
        return MetricResult({**self._pairs(self._cohort), **self._triplets(self._cohort)})

    def _pairs(self, cohort: Panel) -> dict[str, Measurement]:
        params = self._params
        try:
            sites = ld_sites(self._holdout, cohort, params, max_sites=params.max_sites)
        except PanelError as error:
            return {name: Measurement(None, note=str(error)) for name in ("correlation", "rmse")}
        positions = self._holdout.positions[sites.real_sites]
        first = np.searchsorted(positions, positions + params.min_distance, side="right")
        last = np.full(positions.size, positions.size, np.int64)
        moments = ld_pairs.pair_moments(
            sites.real, sites.synthetic, first, last, zero=sites.zero, threads=self._threads
        )
        note = f"{sites.note}; further apart than {params.min_distance:,} bp"
        why_not = (
            f"{moments.pairs:,} pairs of LD sites are further apart than {params.min_distance:,} "
            f"bp (the region spans {self._holdout.span:,} bp), or r does not vary"
        )
        return {
            "correlation": measured(moments.correlation, moments.pairs, note, why_not),
            "rmse": measured(moments.rmse, moments.pairs, note, why_not),
        }

    def _triplets(self, cohort: Panel) -> dict[str, Measurement | list[Measurement]]:
        dosages = needs_dosages(self._holdout, cohort)
        try:
            real = pack_sites(self._holdout, dosages=dosages)
            synthetic = pack_sites(cohort, dosages=dosages)
        except PanelError as error:
            none = Measurement(None, note=str(error))
            return {"three-point": none, "three-point-mean": none}
        note = basis(
            cohort.n_haplotypes,
            self._holdout.n_haplotypes,
            f"{real.n_sites:,} sites",
            "moments of dosages (unphased)" if dosages else "",
        )
        found = []
        for gap in self._params.gaps:
            x, y = third_moments(real, gap), third_moments(synthetic, gap)
            value = correlation(x, y)
            why_not = f"{x.size:,} triplets in {real.n_sites:,} sites, or moments do not vary"
            found.append(replace(measured(value, x.size, note, why_not), labels={"gap": str(gap)}))
        values = [measurement.value for measurement in found if measurement.value is not None]
        mean = float(np.mean(values)) if values else None
        gaps = f"mean over {len(values)} of {len(found)} gaps"
        return {
            "three-point": found,
            "three-point-mean": measured(
                mean, len(values), f"{note}; {gaps}", "no gap fits into the panel"
            ),
        }


def long_range_ld(reference: Reference, params: LongRangeParams, ctx: RunContext) -> LongRangeLD:
    """The metric `long-range-ld`."""
    return LongRangeLD(reference, params, ctx)
