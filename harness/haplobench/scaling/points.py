"""What a generator cost at one world size: the median over seeds and draws."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Any, Literal

from haplobench.distributed.training import PARTS
from haplobench.results.costs import CellCost

Stage = Literal["training", "generation"]
STAGES: tuple[Stage, ...] = ("training", "generation")


@dataclass(frozen=True)
class Point:
    """A stage of a generator at one world size; times are those of the slowest rank.

    Attributes
    ----------
    ranks : int
        World size.
    amount : float
        Work: haplotypes fitted on, or haplotypes sampled.
    seconds, low, high : float
        Wall time: median, least and greatest over seeds and draws.
    n : int
        How many of those.
    waited : float
        Seconds of communication that were waited for: in training steps where the trainer
        meters them, else all.
    calls, sent : float
        All-reduces of a rank, and bytes it handed over to them.
    epochs, steps : float
        0 unless trained by `data_parallel`.
    parts : dict
        Seconds of the steps' parts, mean over ranks: data, forward, backward, all_reduce,
        optimiser.
    cpu : float
        Processor seconds of a rank, mean over ranks.
    imbalance : float
        Processor seconds of the busiest rank over the mean, less 1.
    peak_rss : float
        Bytes of the largest rank, at its peak.
    peak_gpu_memory : float or None
    gpu_utilisation : float or None
        Share of the time in which a kernel ran on the rank's GPU, by NVML, mean over ranks.
    n_sites : int
    """

    ranks: int
    amount: float
    seconds: float
    low: float
    high: float
    n: int
    waited: float = 0.0
    calls: float = 0.0
    sent: float = 0.0
    epochs: float = 0.0
    steps: float = 0.0
    parts: Mapping[str, float] = field(default_factory=dict)
    cpu: float = 0.0
    imbalance: float = 0.0
    peak_rss: float = 0.0
    peak_gpu_memory: float | None = None
    gpu_utilisation: float | None = None
    n_sites: int = 0

    @property
    def shares(self) -> dict[str, float]:
        """The parts' shares of the steps' time; empty where nothing was metered."""
        total = sum(self.parts.values())
        return {name: value / total for name, value in self.parts.items()} if total else {}


def points_of(costs: Sequence[CellCost], stage: Stage) -> list[Point]:
    """A point for each world size, in increasing order, of the cells of one generator."""
    sizes = sorted({cost.world_size for cost in costs})
    return [_point([cost for cost in costs if cost.world_size == size], stage) for size in sizes]


def _point(costs: Sequence[CellCost], stage: Stage) -> Point:
    if stage == "training":
        works = [cost.fit for cost in costs]
        amounts = [float(cost.n_train) for cost in costs]
    else:
        works = [draw for cost in costs for draw in cost.draws]
        amounts = [float(work["n_haplotypes"]) for work in works]
    walls = [float(work["wall"]) for work in works]

    def middle(of: Callable[[Mapping[str, Any]], float]) -> float:
        return median(of(work) for work in works)

    gpu = [work["peak_gpu_memory"] for work in works if work["peak_gpu_memory"] is not None]
    use = [rank.get("gpu_utilisation") for work in works for rank in work["ranks"]]
    used = [share for share in use if share is not None]
    parts = {name: middle(lambda work, name=name: _step(work, name)) for name in PARTS}  # type: ignore[misc]
    metered = any(parts.values())
    return Point(
        ranks=costs[0].world_size,
        amount=median(amounts),
        seconds=median(walls),
        low=min(walls),
        high=max(walls),
        n=len(walls),
        waited=parts["all_reduce"] if metered else middle(lambda work: _talk(work, "seconds")),
        calls=middle(lambda work: _reduced(work, "calls")),
        sent=middle(lambda work: _reduced(work, "bytes")),
        epochs=middle(lambda work: _step(work, "epochs")),
        steps=middle(lambda work: _step(work, "steps")),
        parts=parts if metered else {},
        cpu=middle(lambda work: fmean(rank["cpu"] for rank in work["ranks"])),
        imbalance=middle(lambda work: imbalance(rank["cpu"] for rank in work["ranks"])),
        peak_rss=middle(lambda work: max(rank["peak_rss"] for rank in work["ranks"])),
        peak_gpu_memory=median(gpu) if gpu else None,
        gpu_utilisation=fmean(used) if used else None,
        n_sites=int(costs[0].draws[0]["n_sites"]) if costs[0].draws else 0,
    )


def imbalance(values: Iterable[float]) -> float:
    """The greatest over the mean, less 1; 0 where all are 0."""
    found = list(values)
    mean = sum(found) / len(found)
    return max(found) / mean - 1 if mean else 0.0


def _over_ranks(work: Mapping[str, Any], of: Callable[[Mapping[str, Any]], float]) -> float:
    """Mean over ranks."""
    found = [of(rank["communication"]) for rank in work["ranks"]]
    return sum(found) / len(found)


def _step(work: Mapping[str, Any], name: str) -> float:
    return _over_ranks(work, lambda talk: float((talk.get("steps") or {}).get(name, 0.0)))


def _talk(work: Mapping[str, Any], name: str) -> float:
    return _over_ranks(work, lambda talk: float(talk.get(name, 0.0)))


def _reduced(work: Mapping[str, Any], name: str) -> float:
    return _over_ranks(
        work, lambda talk: float((talk.get("operations") or {}).get("all_reduce", {}).get(name, 0))
    )
