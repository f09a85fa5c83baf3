"""What the cells of a run cost, rank by rank: what scaling is read from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from haplobench.errors import FormatError
from haplobench.files import file_name, jsonable, parse_json, read_regular, write_whole
from haplobench.results.description import check_cost
from haplobench.results.run_folder import RunFolder
from haplobench.runner.plan import Cell

FOLDER = "costs"


@dataclass(frozen=True)
class CellCost:
    """What a cell cost.

    Attributes
    ----------
    dataset, generator : str
        Labels in the suite.
    name : str
        The generator's own name.
    params : dict
    seed, world_size : int
    backend : str
        What carried the ranks' communication: `torch` or `horovod`; empty for one rank.
    mode : str
        `strong` (the same work for every world size) or `weak` (work grows with the ranks).
    n_train : int
        Haplotypes that it was fitted on.
    fit : dict
        `wall`, `cpu`, `peak_rss`, `base_rss`, `peak_gpu_memory` of all ranks together, and
        `ranks`: each one's, see `Telemetry.fit_ranks`. Where the suite asks for it, `profile`:
        `operators` and `parts`, rows of `name`, `calls`, `seconds` and `device_seconds`.
    draws : tuple of dict
        The same of every cohort sampled, with `n_haplotypes`, `n_sites` and `span` (bp).
    """

    dataset: str
    generator: str
    name: str
    params: Mapping[str, Any]
    seed: int
    world_size: int
    backend: str
    mode: str
    n_train: int
    fit: Mapping[str, Any]
    draws: tuple[Mapping[str, Any], ...]

    @property
    def cell(self) -> str:
        """The cell's name as its files in the run's folder have it."""
        ranks = f".ranks{self.world_size}" if self.world_size > 1 else ""
        return file_name(f"{self.dataset}.{self.generator}.seed{self.seed}{ranks}")

    def to_json(self) -> str:
        """One object of JSON, indented."""
        return json.dumps(asdict(self), indent=1, allow_nan=False) + "\n"


def read_costs(folder: RunFolder) -> list[CellCost]:
    """The cells' costs in the order of their names; none where the run is older than they are.

    Raises FormatError, naming the file, for one that isn't whole.
    """
    found = []
    for path in sorted((folder.path / FOLDER).glob("*.json")):
        try:
            values = check_cost(parse_json(read_regular(path)), path)
            found.append(CellCost(**{**values, "draws": tuple(values["draws"])}))
        except (OSError, ValueError, TypeError) as error:
            raise FormatError(f"{path}: not a cell's cost: {error}") from None
    return found


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
        world_size=entry.ranks,
        backend=entry.backend if entry.ranks > 1 else "",
        mode=entry.scaling.mode,
        n_train=round(n_train * entry.train_share),
        fit=_part(fit, _STAGE),
        draws=tuple(_part(draw, _DRAW) for draw in sample["draws"]),
    )
    write_whole(folder.path / FOLDER / f"{file_name(cell.name)}.json", cost.to_json())


def _part(facts: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: facts[name] for name in names} | (
        {"profile": facts["profile"]} if "profile" in facts else {}
    )
