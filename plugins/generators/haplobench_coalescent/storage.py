"""Saving and loading what a coalescent generator has fitted: JSON, and the map as `.npz`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from haplobench import Panel, PluginError, RecombinationMap, RunContext
from haplobench_coalescent.simulation import Region

_HEAD = "generator.json"
_MAP = "recombination_map.npz"


def region_of(train: Panel, ctx: RunContext, *, name: str, cm_per_mb: float) -> Region:
    """The region of `train` with the dataset's map, or at `cm_per_mb` where it has none."""
    recombination_map = ctx.recombination_map
    if not train.n_sites:
        raise PluginError(f"generator {name}: the training panel has no sites, so no region")
    if recombination_map is None:
        ctx.log.info("%s: no recombination map: %g cM/Mb", name, cm_per_mb)
        recombination_map = RecombinationMap.uniform(
            int(train.positions[0]), int(train.positions[-1]) + 1, cm_per_mb
        )
    return Region.of(train, recombination_map)


def save_state(directory: Path, name: str, region: Region, **facts: Any) -> None:
    """Write region and JSON-able `facts` of the generator `name` into an existing folder."""
    np.savez_compressed(
        directory / _MAP, positions=region.map_positions, centimorgans=region.map_centimorgans
    )
    head = {"generator": name, "region": region.facts(), "facts": facts}
    (directory / _HEAD).write_text(json.dumps(head, indent=1) + "\n")


def load_state(directory: Path, name: str) -> tuple[Region, dict[str, Any]]:
    """Region and facts that `save_state` wrote.

    Raises PluginError if the folder doesn't hold a whole fitted generator of that name.
    """
    try:
        head = json.loads((directory / _HEAD).read_text())
        if head["generator"] != name:
            raise ValueError(f"it holds {head['generator']!r}")
        with np.load(directory / _MAP, allow_pickle=False) as table:
            region = Region(
                **head["region"],
                map_positions=table["positions"],
                map_centimorgans=table["centimorgans"],
            )
        return region, dict(head["facts"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PluginError(f"{directory}: not a fitted {name!r}: {error}") from None
