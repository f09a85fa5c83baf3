"""Keep in a run's folder what its cells cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from haplobench.files import file_name, jsonable, write_whole
from haplobench.results.costs import FOLDER, CellCost
from haplobench.results.run_folder import RunFolder
from haplobench.runner.plan import Cell

_STAGE = ("wall", "cpu", "peak_rss", "base_rss", "peak_gpu_memory", "ranks")
_DRAW = (*_STAGE, "n_haplotypes", "n_sites", "span")


def note_cost(
    folder: RunFolder, cell: Cell, fit: Mapping[str, Any], sample: Mapping[str, Any], n_train: int
) -> None:
    """Note what fitting and sampling a cell cost; `n_train` haplotypes are the dataset's."""
    entry = cell.generator
    if entry is None:
        raise ValueError("the floor costs nothing")
    cost = CellCost(
        dataset=cell.dataset.label,
        generator=cell.label,
        name=entry.name,
        params=jsonable(entry.params),
        seed=cell.seed,
        world_size=entry.world_size,
        backend=entry.backend if entry.world_size > 1 else "",
        mode=entry.scaling.mode,
        n_train=round(n_train * entry.people),
        fit=_part(fit, _STAGE),
        draws=tuple(_part(draw, _DRAW) for draw in sample["draws"]),
    )
    write_whole(folder.path / FOLDER / f"{file_name(cell.name)}.json", cost.to_json())


def _part(facts: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: facts[name] for name in names} | (
        {"profile": facts["profile"]} if "profile" in facts else {}
    )
