"""Long-range LD: distant pairs of sites, and three sites at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from haplobench import Measurement, MetricResult, Panel, PanelError, Reference, RunContext
from haplobench_fidelity import ld_pairs
from haplobench_fidelity.allele_frequency import correlation
from haplobench_fidelity.ld_sites import ld_sites, needs_dosages
from haplobench_fidelity.reporting import basis, measured, not_applicable
from haplobench_fidelity.site_bits import pack_sites
from haplobench_fidelity.specs.ld import LONG_RANGE, LongRangeParams
from haplobench_fidelity.third_moment import third_moments


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
            return not_applicable(names, "the synthetic cohort is empty")
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
