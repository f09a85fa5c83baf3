"""What several ranks cost: shares of a step, communication, imbalance, memory, GPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from haplobench import Measurement, MetricResult
from haplobench_performance.cost import Cost

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
