"""LD matrix: signed r pair by pair, inside windows, across their borders, and in blocks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from haplobench import MetricResult, Panel, PanelError, Reference, RunContext
from haplobench_fidelity import ld_pairs
from haplobench_fidelity.ld_sites import LDSites, ld_sites
from haplobench_fidelity.reporting import measured, not_applicable
from haplobench_fidelity.site_bits import pack_sites
from haplobench_fidelity.specs.ld import MATRIX, MatrixParams

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
            return not_applicable(names, "the synthetic cohort is empty")
        params = self._params
        try:
            sites = ld_sites(self._holdout, self._cohort, params)
        except PanelError as error:
            return not_applicable(names, str(error))
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
