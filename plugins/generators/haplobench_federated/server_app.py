"""The server: rounds of a federation, with a budget, a checkpoint after each, and its costs.

A checkpoint is one safetensors file, replaced whole after every round. It holds the server's
weights, average and strategy, and each client's state: ledger, noise multiplier, optimiser and
clipping norm. Costs are kept beside it, as they differ from run to run. Where noise isn't to be
repeated, so are ledgers, written before anything is released: a round that was broken off and is
done again is charged twice.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from flwr.proto.recorddict_pb2 import RecordDict as ProtoRecordDict
from flwr.serverapp import Grid
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from haplobench.files import write_whole
from haplobench_federated.accounting import Ledger
from haplobench_federated.aggregation import (
    Quarantined,
    central_charge,
    central_noise,
    combine,
    make_strategy,
    noised_average,
    restore_strategy,
    screen,
    set_rate,
    strategy_state,
)
from haplobench_federated.client_app import BUDGET_SPENT
from haplobench_federated.grid import InProcessGrid, client_of
from haplobench_federated.homomorphic import homomorphic_sum
from haplobench_federated.params import CompressionParams, FederatedParams
from haplobench_federated.secagg import secagg_sum
from haplobench_federated.secure_round import RECORD, SecureRound, SecureSum
from haplobench_federated.seeds import derive, global_seed, noise_source
from haplobench_federated.shared_noise import frequencies_scale
from haplobench_federated.updates import (
    FREQUENCIES,
    STAGE,
    arrays_of,
    decompressed,
    number_in,
    people_of,
    to_record,
    to_tensors,
)

_SUMS: dict[str, SecureSum] = {"secagg": secagg_sum, "homomorphic": homomorphic_sum}
# Hours that a server without a deadline waits for a client; Flower needs a number.
_PATIENCE = 12 * 3600.0


@dataclass
class Progress:
    """A federation after some rounds.

    Attributes
    ----------
    weights : dict of tensors
        The server's.
    average : dict of tensors
        Moving average of the weights; empty where none is kept.
    strategy : dict of arrays
        What the strategy keeps.
    frequencies : (n_sites,) float64 or None
        As released by the clients.
    ledger : Ledger
        Of central noise.
    stopped : str
        Why the federation ended before its last round, or empty.
    costs : list of dict
        A record per round: clients drawn, answered and lost, bytes, CPU seconds, memory.
    """

    rounds_done: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)
    average: dict[str, Tensor] = field(default_factory=dict)
    strategy: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    frequencies: NDArray[np.float64] | None = None
    ledger: Ledger = field(default_factory=Ledger)
    stopped: str = ""
    costs: list[dict[str, Any]] = field(default_factory=list)

    @property
    def model_weights(self) -> dict[str, Tensor]:
        """What is kept as the model."""
        return self.average or self.weights


@dataclass(frozen=True)
class ServerPlan:
    """What a server is to do.

    Attributes
    ----------
    clients : int
        That the federation has; the server waits for all of them to connect.
    seed : int
        Of drawing clients.
    repeatable_seed : int or None
        Of central noise, where it is to be repeated. None: the operating system's entropy.
    build : callable
        Frequencies (n_sites,) float64 or None to the model to begin with.
    before_release : callable
        Called with the ledger of central noise before what it charges for is known to anybody.
    after_round : callable
        Called with the progress after every round.
    log : logging.Logger
        Told of updates that are left out.
    """

    params: FederatedParams
    clients: int
    delta: float
    n_sites: int
    seed: int
    build: Callable[[NDArray[np.float64] | None], nn.Module]
    repeatable_seed: int | None = None
    before_release: Callable[[Ledger], None] = lambda ledger: None
    after_round: Callable[[Progress], None] = lambda progress: None
    log: logging.Logger = field(default_factory=lambda: logging.getLogger(__name__))


def run_rounds(grid: Grid, plan: ServerPlan, progress: Progress) -> None:
    """All rounds not yet done that the budget covers; goes on from `progress`, and fills it."""
    params = plan.params
    # Flower logs every round, and advice that doesn't apply here, on standard error.
    logging.getLogger("flwr").setLevel(logging.ERROR)
    privacy, central = params.privacy, params.privacy.central
    multiplier = central_noise(params, plan.delta) if central else 0.0
    strategy = make_strategy(params, plan.clients)
    if not progress.weights:
        if privacy.frequencies == "noised":
            with global_seed(derive(plan.seed, "server", 0)):
                progress.frequencies = ask_frequencies(grid, plan)
        progress.weights = _copied(plan.build(progress.frequencies).state_dict())
    restore_strategy(strategy, progress.strategy)
    config = ConfigRecord()
    while progress.rounds_done < params.training.rounds and not progress.stopped:
        number = progress.rounds_done + 1
        if central:
            charge = central_charge(multiplier)
            spent = progress.ledger.epsilon(plan.delta, privacy.accountant, charge)
            if privacy.epsilon is not None and spent > privacy.epsilon:
                progress.stopped = (
                    f"budget: round {number} would exceed epsilon {privacy.epsilon:g}"
                )
                break
        weights = to_record(progress.weights)
        set_rate(strategy, params, number)
        with global_seed(derive(plan.seed, "server", number)):
            messages = list(strategy.configure_train(number, weights, config, grid))
            outcome = _exchanged(grid, plan, number, messages, weights)
            refused = [
                reply
                for reply in outcome.replies
                if reply.has_error() and reply.error.code == BUDGET_SPENT
            ]
            if messages and len(refused) == len(messages):
                progress.stopped = (
                    f"round {number}: every client refused: {refused[0].error.reason}"
                )
                break
            # The sensitivity of an average rises where fewer answer than its noise was made for.
            if central and outcome.averaged < len(messages):
                outcome = replace(outcome, combinable=[], averaged=0)
            if outcome.combinable:
                combinable = outcome.combinable
                if central:
                    progress.ledger.add(central_charge(multiplier))
                    plan.before_release(progress.ledger)
                    source = noise_source(plan.repeatable_seed, number)
                    combinable = [
                        noised_average(
                            combinable, weights, privacy.clipping_norm, multiplier, source
                        )
                    ]
                combined, _ = strategy.aggregate_train(number, combinable)
                if combined is not None:
                    # Flower's FedAdam gives float64, twice the bytes to send to every client.
                    progress.weights = {
                        name: value.to(progress.weights[name].dtype)
                        for name, value in to_tensors(combined).items()
                    }
        progress.rounds_done = number
        progress.strategy = strategy_state(strategy)
        if params.training.averaging:
            progress.average = _averaged(progress, params.training.averaging)
        cost = _cost(number, grid, messages, outcome.replies, refused)
        cost["averaged"] = outcome.averaged
        cost["quarantined"] = [asdict(one) for one in outcome.quarantined]
        cost["abandoned"] = outcome.abandoned
        progress.costs.append(cost)
        plan.after_round(progress)


@dataclass(frozen=True)
class _Outcome:
    """A round's replies, what the strategy is to aggregate, and of how many clients it is."""

    replies: list[Message]
    combinable: list[Message]
    averaged: int
    quarantined: list[Quarantined]
    abandoned: str = ""


def _exchanged(
    grid: Grid,
    plan: ServerPlan,
    number: int,
    messages: Sequence[Message],
    weights: ArrayRecord,
) -> _Outcome:
    """Have clients train, and leave out what no average may hold."""
    params = plan.params
    timeout = params.federation.round_seconds or _PATIENCE
    if params.aggregation.secure.kind != "none":
        found = SecureRound(params, grid, number, timeout)
        found.collect(_SUMS[params.aggregation.secure.kind], messages, weights)
        combinable = [] if found.average is None else [found.average]
        outcome = _Outcome(
            found.replies, combinable, len(found.clients), found.quarantined, found.abandoned
        )
    else:
        replies = [
            decompressed(reply, weights, params.aggregation.compression)
            for reply in grid.send_and_receive(messages, timeout=timeout)
        ]
        answered = [reply for reply in replies if reply.has_content()]
        kept, quarantined = screen(number, weights, answered, params)
        combinable = combine(params.aggregation.robust, number, weights, kept, len(quarantined))
        outcome = _Outcome(replies, combinable, len(kept) if combinable else 0, quarantined)
    for one in outcome.quarantined:
        plan.log.warning(
            "round %d: client %d quarantined: %s: %s", number, one.client, one.reason, one.found
        )
    if outcome.abandoned:
        plan.log.warning("round %d: abandoned: %s", number, outcome.abandoned)
    return outcome


def ask_frequencies(grid: Grid, plan: ServerPlan) -> NDArray[np.float64] | None:
    """Allele frequencies (n_sites,) of all clients together, noised by them.

    Collected as updates are: summed securely where those are, screened and combined by the same
    rule; but neither compressed nor held to the bound that updates have. None if no client answers.
    """
    start = ArrayRecord({FREQUENCIES: Array(np.zeros(plan.n_sites))})
    config = ConfigRecord({"server-round": 0, STAGE: FREQUENCIES})
    record = RecordDict({"arrays": start, "config": config})
    messages = [Message(record, node, "train") for node in grid.get_node_ids()]
    robust = plan.params.aggregation.robust.model_copy(update={"update_norm": None})
    plain = CompressionParams.model_validate({})
    params = plan.params.changed(aggregation={"robust": robust, "compression": plain})
    found = _exchanged(grid, replace(plan, params=params), 0, messages, start)
    if not found.combinable:
        return None
    people = np.array([people_of(reply) for reply in found.combinable])
    scaled = np.stack([arrays_of(reply)[FREQUENCIES].numpy() for reply in found.combinable])
    shifts = people @ scaled / (people.sum() * frequencies_scale(plan.n_sites))
    return np.asarray(np.clip(0.5 + shifts, 0.0, 1.0), np.float64)


def _averaged(progress: Progress, decay: float) -> dict[str, Tensor]:
    if not progress.average:
        return _copied(progress.weights)
    return {
        name: decay * progress.average[name] + (1 - decay) * value
        for name, value in progress.weights.items()
    }


def _copied(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in state.items()}


def _cost(
    number: int,
    grid: Grid,
    messages: Sequence[Message],
    replies: Sequence[Message],
    refused: Sequence[Message],
) -> dict[str, Any]:
    clients = {}
    for reply in replies:
        if reply.has_content():
            said = {
                "cpu_seconds": number_in(reply, "cpu-seconds"),
                "peak_rss": number_in(reply, "peak-rss"),
                "epsilon": number_in(reply, "epsilon"),
            }
            clients[str(client_of(reply.metadata.src_node_id))] = {
                key: value if math.isfinite(value) else None for key, value in said.items()
            }
    cost: dict[str, Any] = {
        "round": number,
        "drawn": len(messages),
        "answered": len(clients),
        "refused": len(refused),
        "lost": len(messages) - len(replies),
        "failed": len(replies) - len(clients) - len(refused),
        "clients": clients,
    }
    if isinstance(grid, InProcessGrid):
        traffic = grid.traffic.take()
        cost["bytes_down"] = sum(traffic.down.values())
        cost["bytes_up"] = sum(traffic.up.values())
    return cost


_KEY = "federation"


@dataclass(frozen=True)
class FederationCheckpoint:
    """Where a federation keeps its progress.

    Attributes
    ----------
    folder : Path
        Gets `federation.safetensors` and `costs.json`.
    identity : dict
        What the federation rests on (parameters, seed, people), plain values: a file that says
        something else belongs to another one and is passed over.
    """

    folder: Path
    identity: Mapping[str, Any]

    def ledgers(self) -> Path:
        """A folder of this federation's for what was charged, which goes ahead of the progress."""
        said = json.dumps(self.identity, sort_keys=True).encode()
        folder = self.folder / f"ledgers-{hashlib.sha256(said).hexdigest()[:16]}"
        folder.mkdir(exist_ok=True)
        return folder

    def write(self, progress: Progress, contexts: Mapping[int, Context]) -> None:
        """Replace both files."""
        write_whole(self.folder / "costs.json", json.dumps(progress.costs))
        tensors = {f"weights/{name}": value for name, value in progress.weights.items()}
        tensors |= {f"average/{name}": value for name, value in progress.average.items()}
        tensors |= {
            f"strategy/{name}": torch.from_numpy(np.array(value))
            for name, value in progress.strategy.items()
        }
        if progress.frequencies is not None:
            tensors["frequencies"] = torch.from_numpy(progress.frequencies)
        for client, context in contexts.items():
            # Keys of secure aggregation live for a round and are written nowhere.
            kept = RecordDict({k: v for k, v in context.state.items() if k != RECORD})
            wire = recorddict_to_proto(kept).SerializeToString(deterministic=True)
            tensors[f"client/{client}"] = torch.from_numpy(np.frombuffer(wire, np.uint8).copy())
        said = {
            "identity": self.identity,
            "rounds_done": progress.rounds_done,
            "ledger": progress.ledger.to_json(),
            "stopped": progress.stopped,
        }
        held = {name: value.detach().cpu().clone() for name, value in tensors.items()}
        # Clients' state, and a model that is not released yet: readable by its owner only.
        content = save(held, metadata={_KEY: json.dumps(said, sort_keys=True)})
        write_whole(self.folder / "federation.safetensors", content, 0o600)

    def read(self, contexts: Mapping[int, Context]) -> Progress | None:
        """Progress, the clients' state put into `contexts`; None where there is none."""
        path = self.folder / "federation.safetensors"
        try:
            with safe_open(path, framework="pt") as file:
                said = json.loads((file.metadata() or {}).get(_KEY, "{}"))
                if said.get("identity") != json.loads(json.dumps(self.identity)):
                    return None
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            costs = json.loads((self.folder / "costs.json").read_text())
        except (OSError, ValueError, SafetensorError):
            return None
        for client, context in contexts.items():
            wire = tensors[f"client/{client}"].numpy().tobytes()
            context.state = recorddict_from_proto(ProtoRecordDict.FromString(wire))
        frequencies = tensors.get("frequencies")
        return Progress(
            rounds_done=int(said["rounds_done"]),
            weights=_under("weights/", tensors),
            average=_under("average/", tensors),
            strategy={k: v.numpy() for k, v in _under("strategy/", tensors).items()},
            frequencies=None if frequencies is None else frequencies.numpy(),
            ledger=Ledger.from_json(said["ledger"]),
            stopped=said["stopped"],
            costs=costs[: int(said["rounds_done"])],
        )


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v.clone() for k, v in tensors.items() if k.startswith(prefix)}
