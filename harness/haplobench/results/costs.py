"""What the cells of a run cost, rank by rank: what scaling is read from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from haplobench.errors import FormatError
from haplobench.files import file_name, parse_json, read_regular
from haplobench.results.description import check_cost
from haplobench.results.run_folder import RunFolder

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
