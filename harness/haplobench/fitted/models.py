"""The fitted generators of a run: noted in its folder, found and opened again."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from haplobench.data.prepared import Prepared
from haplobench.errors import BenchError
from haplobench.files import file_name, read_as, write_json
from haplobench.plugin import GeneratorSpec, RunContext
from haplobench.registry import Registry, resolve
from haplobench.results.run_folder import RunFolder
from haplobench.runner.store import STAGES
from haplobench.runner.worker.job import one_line

_FOLDER = "models"


@dataclass(frozen=True)
class FittedModel:
    """A generator that a run has fitted.

    Attributes
    ----------
    dataset, generator : str
        Labels in the suite.
    name : str
        The generator's own name.
    seed, world_size : int
    model : str
        Its saved model, relative to the run folder.
    prepared : str
        The prepared dataset, relative to the run folder.
    """

    dataset: str
    generator: str
    name: str
    seed: int
    world_size: int
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
    path = folder.path / _FOLDER / f"{file_name(cell_name)}.json"
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
    paths = sorted((run / _FOLDER).glob("*.json"))
    return [read_as(FittedModel, path) for path in paths]
