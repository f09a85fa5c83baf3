"""`vae-federated`: fitting, sampling, storage."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from haplobench import BenchError, Panel, Populations, PrivacyStatement, RunContext, SampleRequest
from haplobench_federated.model import ModelFamily, PublicFacts, WindowCodeFamily
from haplobench_federated.params import FederatedParams, ModelParams

if TYPE_CHECKING:
    from haplobench_federated.federation import Simulation

_BLOCK = 256
_FORMAT = 1


@dataclass(frozen=True, eq=False)
class FittedFederated:
    """The model that a federation trained, and what it claims.

    Attributes
    ----------
    positions : (n_sites,) int64
    populations : Populations
        Names and numbers of people are taken to be public.
    """

    model: nn.Module = field(repr=False)
    positions: NDArray[np.int64] = field(repr=False)
    populations: Populations
    ploidy: int
    params: ModelParams
    statement: PrivacyStatement
    family: ModelFamily

    def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[NDArray[np.int8]]:
        """Yield (batch, n_sites) int8; labels may be superpopulations, too.

        Where none are asked for, each person's is drawn by its share of the training people.
        """
        done = 0
        for block, wanted, into in request.blocks(_BLOCK):
            people = ctx.rng("federated", "people", block).random(-(-_BLOCK // self.ploidy))
            level = np.repeat(people, self.ploidy)[:_BLOCK]
            population = self.populations.draw(None, level)
            if request.populations is not None:
                population[wanted] = self.populations.draw(request.populations[into], level[wanted])
            rng = ctx.rng("federated", "sample", block)
            with torch.no_grad():
                rows = self.family.sample(self.model, self.params, population, rng)[wanted]
            for first in range(0, len(rows), request.batch_size):
                yield rows[first : first + request.batch_size]
            done += len(rows)
            ctx.progress(done / request.n_haplotypes, f"{done} haplotypes")

    def privacy_statement(self) -> PrivacyStatement:
        """The differential privacy of the weights, and so of everything sampled from them."""
        return self.statement

    def save(self, directory: Path) -> None:
        """Write `model.json`, `model.safetensors` and `privacy.json`."""
        head = {
            "format": _FORMAT,
            "positions": self.positions.tolist(),
            "ploidy": self.ploidy,
            "populations": asdict(self.populations),
            "model": self.params.model_dump(),
        }
        state = self.model.state_dict()
        weights = {name: value.detach().cpu().contiguous() for name, value in state.items()}
        # Not by `save_file`, whose files are for their owner only, whatever the umask.
        (directory / "model.safetensors").write_bytes(save(weights))
        (directory / "model.json").write_text(json.dumps(head) + "\n")
        (directory / "privacy.json").write_text(self.statement.to_json())


class Federated:
    """Hospitals train one model together; only protected updates leave them."""

    def __init__(
        self, family: ModelFamily | None = None, simulation: Simulation | None = None
    ) -> None:
        self._family = WindowCodeFamily() if family is None else family
        self._simulation = simulation

    def fit(self, train: Panel, params: FederatedParams, ctx: RunContext) -> FittedFederated:
        """Run the federation; writes `federation.json` and `privacy.json` to the artifacts.

        Raises BenchError if the panel has no sites, nobody's consent is left, or partition,
        files or budget don't allow a run.
        """
        if not train.n_sites:
            raise BenchError("training panel: found 0 sites, expected at least 1")
        # Flower and Opacus take seconds to import; sampling needs neither.
        from haplobench_federated.federation import federate

        counts = None
        if withdrawn := params.federation.withdrawn:
            (train,), counts = withdrawn.read().leave_out(
                train, allow_unknown=withdrawn.allow_unknown, key="withdrawn", private=True
            )
        torch.set_num_threads(max(1, ctx.threads))
        result = federate(train, params, ctx, self._family, self._simulation)
        report = result.report | ({"withdrawn": counts} if counts else {})
        _write(ctx.artifacts / "federation.json", report)
        (ctx.artifacts / "privacy.json").write_text(result.statement.to_json())
        return FittedFederated(
            result.model,
            train.positions,
            Populations.of(train),
            train.ploidy,
            result.model_params,
            result.statement,
            self._family,
        )

    def load(self, directory: Path, ctx: RunContext) -> FittedFederated:
        """Read what `FittedFederated.save` wrote.

        Raises BenchError if the folder isn't such a model.
        """
        try:
            head: dict[str, Any] = json.loads((directory / "model.json").read_text())
            if head["format"] != _FORMAT:
                raise BenchError(f"{directory}: format {head['format']}, expected {_FORMAT}")
            state = load_file(directory / "model.safetensors")
            statement = PrivacyStatement.from_json((directory / "privacy.json").read_text())
            params = ModelParams.model_validate(head["model"])
            populations = Populations(**{k: tuple(v) for k, v in head["populations"].items()})
            positions = np.array(head["positions"], np.int64)
            facts = PublicFacts(positions, populations.names, int(head["ploidy"]))
            model = self._family.build(facts, params, 0)
            model.load_state_dict(state)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise BenchError(f"{directory}: not a saved vae-federated model: {error}") from None
        return FittedFederated(
            model.eval().to(ctx.device),
            positions,
            populations,
            facts.ploidy,
            params,
            statement,
            self._family,
        )


def _write(path: Path, record: dict[str, Any]) -> None:
    path.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n")
