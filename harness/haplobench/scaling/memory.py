"""Peak memory of a rank in training against the batch size of the step."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from haplobench.results.costs import CellCost


@dataclass(frozen=True)
class MemoryPoint:
    """What training took at one batch size: of the largest rank, mean over seeds.

    Attributes
    ----------
    dataset : str
        Label in the suite.
    generator : str
        The generator's own name.
    ranks, batch : int
        World size, and haplotypes per step of all ranks together.
    peak : float
        Bytes of resident memory.
    gpu : float or None
        Bytes of GPU memory.
    """

    dataset: str
    generator: str
    ranks: int
    batch: int
    peak: float
    gpu: float | None


def memory_points(costs: Sequence[CellCost]) -> list[MemoryPoint]:
    """Points of trainings that differ in nothing but their parameter `batch_size`, two or more.

    Cells that were profiled are left out: profiling takes memory of its own.
    """
    found: dict[tuple[str, str, int, str], dict[int, list[CellCost]]] = {}
    for cost in costs:
        batch = cost.params.get("batch_size")
        if isinstance(batch, int) and "profile" not in cost.fit:
            others = {name: value for name, value in cost.params.items() if name != "batch_size"}
            asked = json.dumps([others, cost.n_train], sort_keys=True)
            key = (cost.dataset, cost.name, cost.world_size, asked)
            found.setdefault(key, {}).setdefault(batch, []).append(cost)
    return [
        _point(dataset, name, ranks, batch, same)
        for (dataset, name, ranks, _), sizes in found.items()
        if len(sizes) > 1
        for batch, same in sorted(sizes.items())
    ]


def _point(
    dataset: str, name: str, ranks: int, batch: int, costs: Sequence[CellCost]
) -> MemoryPoint:
    peaks = [max(rank["peak_rss"] for rank in cost.fit["ranks"]) for cost in costs]
    gpu = [cost.fit["peak_gpu_memory"] for cost in costs]
    known = [float(peak) for peak in gpu if peak is not None]
    return MemoryPoint(dataset, name, ranks, batch, fmean(peaks), fmean(known) if known else None)
