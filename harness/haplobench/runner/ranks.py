"""What several ranks did of one stage, put together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from haplobench.distributed.group import ProcessGroup


def gather_cost(
    group: ProcessGroup, cost: Mapping[str, Any], communication: Mapping[str, Any]
) -> dict[str, Any]:
    """The cost of a piece of work, on rank 0; all ranks call it.

    Parameters
    ----------
    cost : mapping
        This rank's, as `Meter.facts`.
    communication : mapping
        This rank's, as `Counters.facts`.

    Returns
    -------
    dict
        `wall` and `peak_gpu_memory` of the rank that had most; `cpu`, `base_rss` and `peak_rss`
        of all together; `ranks`, a list of each one's own. Empty on other ranks.
    """
    own = {"rank": group.rank, **cost, "communication": dict(communication)}
    return combine(cast("list[dict[str, Any]]", group.gather(own)))


def combine(ranks: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Costs of ranks that worked side by side, as `gather_cost` says."""
    each = [dict(rank) for rank in ranks]
    if not each:
        return {}
    gpu = [rank["peak_gpu_memory"] for rank in each if rank["peak_gpu_memory"] is not None]
    return {
        "wall": max(rank["wall"] for rank in each),
        "cpu": sum(rank["cpu"] for rank in each),
        "base_rss": sum(rank["base_rss"] for rank in each),
        "peak_rss": sum(rank["peak_rss"] for rank in each),
        "peak_gpu_memory": max(gpu, default=None),
        "ranks": each,
    }
