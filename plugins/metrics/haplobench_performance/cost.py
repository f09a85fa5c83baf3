"""What one cell costs: time, throughput, memory, and how its ranks share the work.

All are functions of a Telemetry; the real people play no part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from haplobench import Measurement, MetricResult, Params, Reference, RunContext, Telemetry

PARTS = ("data", "forward", "backward", "all_reduce", "optimiser")
_NO_STEPS = "training steps are not metered (see haplobench.distributed.data_parallel)"
_NO_EPOCHS = "epochs are not counted by the generator"
_ONE_RANK = "one rank: nothing to communicate"
_NO_GPU = "no GPU"

Rank = Mapping[str, Any]


def time(
    reference: Reference | None, cost: Telemetry, params: Params, ctx: RunContext
) -> MetricResult:
    """Wall and processor seconds of fitting and of sampling."""
    names = ("fit_wall", "fit_cpu", "sample_wall", "sample_cpu")
    values = {name: float(getattr(cost, name)) for name in names}
    return MetricResult(
        {name: Measurement(value, 1) for name, value in values.items()},
        {"time": {name: np.array([value]) for name, value in values.items()}},
    )


def throughput(
    reference: Reference | None, cost: Telemetry, params: Params, ctx: RunContext
) -> MetricResult:
    """Haplotypes, alleles and sequence sampled per second."""
    n = cost.n_haplotypes

    def rate(amount: float, seconds: float) -> Measurement:
        if not amount:
            return Measurement(None, n, note="nothing was sampled")
        if not seconds:
            return Measurement(None, n, note="over before the clock moved: sample more haplotypes")
        return Measurement(amount / seconds, n)

    alleles = rate(n * cost.n_sites, cost.sample_wall)
    measurements = {
        "alleles_per_second": alleles,
        "haplotypes_per_second": rate(n, cost.sample_wall),
        "sequence_per_second": rate(n * cost.span / 1e6, cost.sample_wall),
        "alleles_per_cpu_second": rate(n * cost.n_sites, cost.sample_cpu),
    }
    drawn = np.array([] if alleles.value is None else [alleles.value])
    return MetricResult(measurements, {"rate": {"alleles_per_second": drawn}})


def peak_memory(
    reference: Reference | None, cost: Telemetry, params: Params, ctx: RunContext
) -> MetricResult:
    """Peak resident memory of fitting and of sampling, whole and above the base, in bytes."""
    peaks = np.array([cost.fit_peak_rss, cost.sample_peak_rss], np.int64)
    bases = np.array([cost.fit_base_rss, cost.sample_base_rss], np.int64)
    # Pages the kernel took back after the base was read can leave the peak below it.
    added = np.maximum(0, peaks - bases)
    gpu = cost.peak_gpu_memory
    return MetricResult(
        {
            "peak_rss": Measurement(float(peaks.max()), 1),
            "fit_peak_rss": Measurement(float(peaks[0]), 1),
            "sample_peak_rss": Measurement(float(peaks[1]), 1),
            "fit_added_rss": Measurement(float(added[0]), 1),
            "sample_added_rss": Measurement(float(added[1]), 1),
            "peak_gpu_memory": Measurement(None, note=_NO_GPU)
            if gpu is None
            else Measurement(float(gpu), 1),
        },
        {"memory": {"stage": np.array(["fit", "sample"]), "peak": peaks, "base": bases}},
    )


def ranks(
    reference: Reference | None, cost: Telemetry, params: Params, ctx: RunContext
) -> MetricResult:
    """Where ranks spend their time, and how evenly.

    Means over ranks of fitting, except where a submetric says otherwise.
    """
    fit = cost.fit_ranks
    stages = (("fit", fit), ("sample", cost.sample_ranks))
    steps = _mean(_step(rank, "steps") for rank in fit)
    epochs = _mean(_step(rank, "epochs") for rank in fit)
    parts = {name: _mean(_step(rank, name) for rank in fit) for name in PARTS}
    total = sum(parts.values())
    sent = _mean(float(rank["communication"].get("bytes", 0.0)) for rank in fit)
    talking = _mean(float(rank["communication"].get("seconds", 0.0)) for rank in fit)
    alone = Measurement(None, note=_ONE_RANK) if len(fit) <= 1 else None
    measurements: dict[str, Measurement | Sequence[Measurement]] = {
        "step_time": _ratio(total, steps, _NO_STEPS, int(steps)),
        "epoch_time": _ratio(total, epochs, _NO_EPOCHS if steps else _NO_STEPS, int(epochs)),
        "step_share": [
            _ratio(value, total, _NO_STEPS, int(steps), part=name.replace("_", "-"))
            for name, value in parts.items()
        ],
        "bytes_per_step": alone or _ratio(sent, steps, _NO_STEPS, int(steps)),
        "bytes_per_epoch": alone or _ratio(sent, epochs, _NO_EPOCHS, int(epochs)),
        "communication": alone or Measurement(talking, len(fit)),
        "imbalance": [_uneven(of, stage) for stage, of in stages],
        "peak_rss_of_rank": [
            _over_ranks(of, "peak_rss", stage, np.max, "no ranks") for stage, of in stages
        ],
        "gpu_utilisation": [
            _over_ranks(of, "gpu_utilisation", stage, np.mean, _NO_GPU) for stage, of in stages
        ],
        "gpu_energy": [
            _over_ranks(of, "gpu_energy", stage, np.sum, _NO_GPU) for stage, of in stages
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


def _mean(values: Iterable[float]) -> float:
    of = list(values)
    return sum(of) / len(of) if of else 0.0


def _step(rank: Rank, name: str) -> float:
    return float((rank["communication"].get("steps") or {}).get(name, 0.0))


def _ratio(amount: float, count: float, note: str, n: int, **labels: str) -> Measurement:
    if not count:
        return Measurement(None, labels=labels, note=note)
    return Measurement(amount / count, n, labels=labels)


def _uneven(of: Sequence[Rank], stage: str) -> Measurement:
    labels = {"stage": stage}
    cpu = [float(rank["cpu"]) for rank in of]
    if len(cpu) <= 1:
        return Measurement(None, labels=labels, note="one rank")
    if not sum(cpu):
        return Measurement(None, labels=labels, note="over before the clock moved")
    return Measurement(max(cpu) * len(cpu) / sum(cpu) - 1, len(cpu), labels=labels)


def _over_ranks(
    of: Sequence[Rank], name: str, stage: str, together: Callable[..., Any], why_not: str
) -> Measurement:
    """What some ranks' numbers come to; those of no rank: their own note, or `why_not`."""
    labels = {"stage": stage}
    values = [rank[name] for rank in of if rank.get(name) is not None]
    if not values:
        notes = {str(rank["gpu_note"]) for rank in of if rank.get("gpu_note")}
        return Measurement(None, labels=labels, note=min(notes, default=why_not))
    return Measurement(float(together(values)), len(values), labels=labels)
