"""What one cell costs: time, throughput, memory, and how its ranks share the work."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

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


PARTS = ("data", "forward", "backward", "all_reduce", "optimiser")
_NO_STEPS = "training steps are not metered (see haplobench.distributed.data_parallel)"
_NO_EPOCHS = "epochs are not counted by the generator"
_ONE_RANK = "one rank: nothing to communicate"
_NO_GPU = "no GPU"

Rank = Mapping[str, Any]


class Ranks(Cost):
    """Where ranks spend their time, and how evenly."""

    def result(self) -> MetricResult:
        """Means over ranks of fitting, except where a submetric says otherwise."""
        fit, sample = self.telemetry.fit_ranks, self.telemetry.sample_ranks
        steps = _mean(fit, lambda rank: _step(rank, "steps"))
        epochs = _mean(fit, lambda rank: _step(rank, "epochs"))
        parts = {name: _mean(fit, lambda rank, name=name: _step(rank, name)) for name in PARTS}  # type: ignore[misc]
        total = sum(parts.values())
        sent = _mean(fit, lambda rank: _talk(rank, "bytes"))
        alone = len(fit) <= 1
        measurements: dict[str, Measurement | Sequence[Measurement]] = {
            "step_time": _ratio(total, steps, _NO_STEPS, int(steps)),
            "epoch_time": _ratio(total, epochs, _NO_EPOCHS if steps else _NO_STEPS, int(epochs)),
            "step_share": [
                _ratio(value, total, _NO_STEPS, int(steps), part=name.replace("_", "-"))
                for name, value in parts.items()
            ],
            "bytes_per_step": _talked(sent, steps, alone, _NO_STEPS),
            "bytes_per_epoch": _talked(sent, epochs, alone, _NO_EPOCHS),
            "communication": Measurement(None, note=_ONE_RANK)
            if alone
            else Measurement(_mean(fit, lambda rank: _talk(rank, "seconds")), len(fit)),
            "imbalance": [
                _uneven([float(rank["cpu"]) for rank in ranks], stage)
                for stage, ranks in (("fit", fit), ("sample", sample))
            ],
            "peak_rss_of_rank": [
                _largest(ranks, "peak_rss", stage, "no ranks")
                for stage, ranks in (("fit", fit), ("sample", sample))
            ],
            "gpu_utilisation": [
                _gpu(ranks, "gpu_utilisation", stage, np.mean)
                for stage, ranks in (("fit", fit), ("sample", sample))
            ],
            "gpu_energy": [
                _gpu(ranks, "gpu_energy", stage, np.sum)
                for stage, ranks in (("fit", fit), ("sample", sample))
            ],
        }
        return MetricResult(measurements, _series(fit))


def _series(fit: Sequence[Rank]) -> dict[str, dict[str, Any]]:
    rows = [(rank["rank"], part, _step(rank, part)) for rank in fit for part in PARTS]
    if not any(seconds for _, _, seconds in rows):
        return {}
    ranks, parts, seconds = zip(*rows, strict=True)
    return {
        "steps": {
            "rank": np.array(ranks, np.int64),
            "part": np.array(parts),
            "seconds": np.array(seconds, np.float64),
        }
    }


def _mean(ranks: Sequence[Rank], of: Callable[[Rank], float]) -> float:
    return sum(map(of, ranks)) / len(ranks) if ranks else 0.0


def _step(rank: Rank, name: str) -> float:
    return float((rank["communication"].get("steps") or {}).get(name, 0.0))


def _talk(rank: Rank, name: str) -> float:
    return float(rank["communication"].get(name, 0.0))


def _ratio(amount: float, count: float, note: str, n: int, **labels: str) -> Measurement:
    if not count:
        return Measurement(None, labels=labels, note=note)
    return Measurement(amount / count, n, labels=labels)


def _talked(sent: float, count: float, alone: bool, note: str) -> Measurement:
    return Measurement(None, note=_ONE_RANK) if alone else _ratio(sent, count, note, int(count))


def _uneven(cpu: Sequence[float], stage: str) -> Measurement:
    labels = {"stage": stage}
    if len(cpu) <= 1:
        return Measurement(None, labels=labels, note="one rank")
    if not sum(cpu):
        return Measurement(None, labels=labels, note="over before the clock moved")
    return Measurement(max(cpu) * len(cpu) / sum(cpu) - 1, len(cpu), labels=labels)


def _largest(ranks: Sequence[Rank], name: str, stage: str, note: str) -> Measurement:
    labels = {"stage": stage}
    if not ranks:
        return Measurement(None, labels=labels, note=note)
    return Measurement(float(max(rank[name] for rank in ranks)), len(ranks), labels=labels)


def _gpu(ranks: Sequence[Rank], name: str, stage: str, together: Callable[..., Any]) -> Measurement:
    labels = {"stage": stage}
    found = [rank[name] for rank in ranks if rank.get(name) is not None]
    if not found:
        notes = {str(rank["gpu_note"]) for rank in ranks if rank.get("gpu_note")}
        return Measurement(None, labels=labels, note=min(notes, default=_NO_GPU))
    return Measurement(float(together(found)), len(found), labels=labels)
