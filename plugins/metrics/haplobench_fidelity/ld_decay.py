"""LD decay: mean r² by distance, synthetic against held-out people."""

from __future__ import annotations

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
from haplobench_fidelity.ld_sites import LDSites, ld_sites
from haplobench_fidelity.reporting import measured, not_applicable
from haplobench_fidelity.specs.ld import DECAY, DecayParams

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
            return not_applicable(names, "the synthetic cohort is empty")
        try:
            sites = ld_sites(self._holdout, self._cohort, self._params)
        except PanelError as error:
            return not_applicable(names, str(error))
        real_bp = self._holdout.positions[sites.real_sites].astype(np.float64)
        synthetic_bp = self._cohort.positions[sites.synthetic_sites].astype(np.float64)
        edges = log_edges(
            self._params.min_distance,
            min(self._params.max_distance, self._holdout.span),
            self._params.bins,
        )
        curve = self._curve(sites, real_bp, synthetic_bp, edges)
        measurements = {
            "rmse": _rmse(curve, sites.note),
            "bias": _bias(curve, sites.note),
            "rmse-centimorgan": Measurement(None, note="the dataset has no recombination map"),
        }
        series = {"decay": curve} if curve["low"].size else {}
        if self._map is not None:
            curve = self._centimorgan_curve(sites, self._map, real_bp, synthetic_bp)
            measurements["rmse-centimorgan"] = _rmse(curve, sites.note)
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


def _rmse(curve: dict[str, NDArray[np.generic]], note: str) -> Measurement:
    difference = _difference(curve)
    value = float(np.sqrt(np.mean(difference**2))) if difference.size else None
    return measured(value, difference.size, _with_bins(curve, note), _NO_BIN)


def _bias(curve: dict[str, NDArray[np.generic]], note: str) -> Measurement:
    difference = _difference(curve)
    value = float(difference.mean()) if difference.size else None
    return measured(value, difference.size, _with_bins(curve, note), _NO_BIN)


def _with_bins(curve: dict[str, NDArray[np.generic]], note: str) -> str:
    return f"{note}; {curve['low'].size} bins, {int(curve['synthetic_pairs'].sum()):,} pairs"
