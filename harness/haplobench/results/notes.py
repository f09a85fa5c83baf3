"""What a run notes of its cells: what they cost, rank by rank, and where fitted generators lie."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from haplobench.data.prepared import Prepared
from haplobench.errors import BenchError, FormatError
from haplobench.files import (
    file_name,
    jsonable,
    parse_json,
    read_as,
    read_regular,
    write_json,
    write_whole,
)
from haplobench.plugin import GeneratorSpec, RunContext
from haplobench.registry import Registry, resolve
from haplobench.results.description import check_cost
from haplobench.results.run_folder import RunFolder
from haplobench.runner.plan import Cell
from haplobench.runner.store import STAGES
from haplobench.runner.worker.job import one_line

FOLDER, _MODELS = "costs", "models"


@dataclass(frozen=True)
class CellNote:
    """The cell that a note is of.

    Attributes
    ----------
    dataset, generator : str
        Labels in the suite.
    name : str
        The generator's own name.
    seed, world_size : int
    """

    dataset: str
    generator: str
    name: str
    seed: int
    world_size: int


@dataclass(frozen=True)
class CellCost(CellNote):
    """What a cell cost.

    Attributes
    ----------
    params : dict
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

    params: Mapping[str, Any]
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


# --- fitted generators ------------------------------------------------------------------------


@dataclass(frozen=True)
class FittedModel(CellNote):
    """A generator that a run has fitted.

    Attributes
    ----------
    model : str
        Its saved model, relative to the run folder.
    prepared : str
        The prepared dataset, relative to the run folder.
    """

    model: str
    prepared: str

    @property
    def text(self) -> str:
        """For messages: `chr20/vae, seed 1`."""
        return f"{self.dataset}/{self.generator}, seed {self.seed}"


def note_model(
    folder: RunFolder, cell_name: str, model: Path, prepared: Path, facts: Mapping[str, Any]
) -> None:
    """Note in a run's folder where a cell's model lies; `facts` are the other attributes."""
    here = folder.path.resolve()
    noted = FittedModel(
        model=os.path.relpath(model.resolve(), here),
        prepared=os.path.relpath(prepared.resolve(), here),
        **facts,
    )
    path = folder.path / _MODELS / f"{file_name(cell_name)}.json"
    write_json(path, asdict(noted))


def find_model(
    run: Path, *, generator: str = "", dataset: str = "", seed: int | None = None
) -> FittedModel:
    """The one model of a run that fits what is asked; what isn't asked leaves open.

    Without a seed, the lowest is taken; of several world sizes, whose models are the same but
    for rounding, the smallest. Raises BenchError if none or several fit, with what
    there is.
    """
    there = _models(run)
    fitting = [
        model
        for model in there
        if generator in ("", model.generator)
        and dataset in ("", model.dataset)
        and seed in (None, model.seed)
    ]
    if seed is None and fitting:
        lowest = min(model.seed for model in fitting)
        fitting = [model for model in fitting if model.seed == lowest]
    # The last of a key stays: the fewest ranks.
    many_first = sorted(fitting, key=lambda model: -model.world_size)
    by_cell = {(model.dataset, model.generator, model.seed): model for model in many_first}
    fitting = [by_cell[key] for key in sorted(by_cell)]
    if len(fitting) == 1:
        return fitting[0]
    listed = "; ".join(model.text for model in (fitting or there)[:8]) or "none"
    if fitting:
        raise BenchError(
            f"{run}: {len(fitting)} fitted generators fit: {listed}",
            hint="name one with --generator and --dataset",
        )
    raise BenchError(f"{run}: no fitted generator of that kind; there are: {listed}")


def open_model(
    run: Path, noted: FittedModel, registry: Registry, ctx: RunContext, *, programs: bool = False
) -> tuple[GeneratorSpec, Any, Prepared]:
    """Load a model and its prepared dataset; `programs`: even one that holds command lines to run.

    Raises BenchError if either is no longer in the store, or can't be read.
    """
    model, prepared = (run / noted.model), (run / noted.prepared)
    store = (run.resolve().parent / STAGES).resolve()
    for path in (model, prepared):
        if not path.resolve().is_relative_to(store):
            raise BenchError(
                f"{run}: its note of {noted.text} leads out of the runs' store: {path}",
                hint="run the suite again",
            )
        if not path.is_dir():
            raise BenchError(f"{path}: no longer there", hint="run the suite again")
    spec = registry.generator(noted.name)
    if spec.programs and not programs:
        raise BenchError(
            f"{noted.text}: a model of {spec.name} holds command lines, which sampling would run",
            hint="if the run is yours or you trust it: --run-programs",
        )
    try:
        return spec, resolve(spec.target)().load(model, ctx), Prepared.load(prepared)
    except BenchError:
        raise
    except Exception as error:  # a plugin is someone else's code, and so may the folder be
        raise BenchError(
            f"{model}: generator {spec.name} can't open it: {one_line(error)}",
            hint="run the suite again",
        ) from error


def _models(run: Path) -> list[FittedModel]:
    paths = sorted((run / _MODELS).glob("*.json"))
    return [read_as(FittedModel, path) for path in paths]
