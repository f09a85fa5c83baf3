"""Time, throughput and memory of one cell, from its telemetry."""

from __future__ import annotations

import numpy as np

from haplobench import (
    Measurement,
    MetricResult,
    Params,
    PluginError,
    Reference,
    RunContext,
    Telemetry,
)


class Cost:
    """A metric that is told one Telemetry."""

    def __init__(self, reference: Reference | None, params: Params, ctx: RunContext) -> None:
        self._telemetry: Telemetry | None = None

    def update(self, data: Telemetry) -> None:
        """Take what fitting and sampling cost.

        Raises PluginError if a time, a size or a count is negative or not a number.
        """
        for name, value in vars(data).items():
            if isinstance(value, int | float) and not value >= 0:
                raise PluginError(f"telemetry: {name} is {value}, expected 0 or more")
        self._telemetry = data

    @property
    def telemetry(self) -> Telemetry:
        """What was told."""
        assert self._telemetry is not None, "result before update"
        return self._telemetry


class Time(Cost):
    """Wall and processor seconds of fitting and of sampling."""

    def result(self) -> MetricResult:
        """Seconds, as measured."""
        spent = self.telemetry
        names = ("fit_wall", "fit_cpu", "sample_wall", "sample_cpu")
        values = {name: float(getattr(spent, name)) for name in names}
        return MetricResult(
            {name: Measurement(value, 1) for name, value in values.items()},
            {"time": {name: np.array([value]) for name, value in values.items()}},
        )


class Throughput(Cost):
    """Haplotypes, alleles and sequence sampled per second."""

    def result(self) -> MetricResult:
        """Rates; not applicable where the clock saw no time pass or nothing was sampled."""
        spent = self.telemetry
        haplotypes = spent.n_haplotypes
        alleles = haplotypes * spent.n_sites
        measurements = {
            "alleles_per_second": _rate(alleles, spent.sample_wall, haplotypes),
            "haplotypes_per_second": _rate(haplotypes, spent.sample_wall, haplotypes),
            "sequence_per_second": _rate(
                haplotypes * spent.span / 1e6, spent.sample_wall, haplotypes
            ),
            "alleles_per_cpu_second": _rate(alleles, spent.sample_cpu, haplotypes),
        }
        rate = measurements["alleles_per_second"].value
        series = {"rate": {"alleles_per_second": np.array([] if rate is None else [rate])}}
        return MetricResult(measurements, series)


class PeakMemory(Cost):
    """Peak resident memory of fitting and of sampling, whole and above the base."""

    def result(self) -> MetricResult:
        """Bytes."""
        spent = self.telemetry
        measurements = {
            "peak_rss": Measurement(float(max(spent.fit_peak_rss, spent.sample_peak_rss)), 1),
            "fit_peak_rss": Measurement(float(spent.fit_peak_rss), 1),
            "sample_peak_rss": Measurement(float(spent.sample_peak_rss), 1),
            "fit_added_rss": _added(spent.fit_peak_rss, spent.fit_base_rss),
            "sample_added_rss": _added(spent.sample_peak_rss, spent.sample_base_rss),
            "peak_gpu_memory": Measurement(None, note="no GPU")
            if spent.peak_gpu_memory is None
            else Measurement(float(spent.peak_gpu_memory), 1),
        }
        series = {
            "memory": {
                "stage": np.array(["fit", "sample"]),
                "peak": np.array([spent.fit_peak_rss, spent.sample_peak_rss], np.int64),
                "base": np.array([spent.fit_base_rss, spent.sample_base_rss], np.int64),
            }
        }
        return MetricResult(measurements, series)


def _rate(amount: float, seconds: float, n: int) -> Measurement:
    if not amount:
        return Measurement(None, n, note="nothing was sampled")
    if not seconds:
        return Measurement(None, n, note="over before the clock moved: sample more haplotypes")
    return Measurement(amount / seconds, n)


def _added(peak: int, base: int) -> Measurement:
    # Pages the kernel took back after the base was read can leave the peak below it.
    return Measurement(float(max(0, peak - base)), 1)
