"""A federation of clients with given updates, and a grid that loses, changes and records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import ClientAppCallable, Mod
from numpy.typing import NDArray

from haplobench.noise import (
    NoiseSource,
)
from haplobench_federated.grid import InProcessGrid, client_of, new_context, node_id
from haplobench_federated.homomorphic import homomorphic_mod, homomorphic_stages, homomorphic_sum
from haplobench_federated.params import FederatedParams
from haplobench_federated.secagg import secagg_mod, secagg_stages, secagg_sum
from haplobench_federated.secure_round import SecureRound
from haplobench_federated.seeds import global_seed

Vector = NDArray[np.float64]
STAGES = ("query.secure_keys", "query.secure_shares", "train", "query.secure_unmask")
QUICK: dict[str, Any] = {
    "clients": 3,
    "rounds": 2,
    "local_steps": 2,
    "sampling_rate": 0.3,
    "privacy": "none",
    "frequencies": "half",
    "strategy": "fedavg",
    "optimiser": "adam",
    "learning_rate": 0.05,
    "averaging": 0.0,
    "model": {"window": 8, "codes": 4},
}


def parameters(**changes: Any) -> FederatedParams:
    return FederatedParams.model_validate(QUICK | changes)


# A grid gives messages the identity that Flower's runtime would; tests make some before any grid.
InProcessGrid(ClientApp(), {})


@dataclass
class Network:
    """What happens to messages.

    Attributes
    ----------
    lost : callable
        (stage, client) to `""`, `before` (the client doesn't get it) or `after` (no answer comes).
    down, up : callable
        Change a message before it is delivered: (stage, client, message).
    seen : list
        All that the server gets: (stage, client, message).
    """

    lost: Callable[[str, int], str] = lambda stage, client: ""
    down: Callable[[str, int, Message], None] = lambda stage, client, message: None
    up: Callable[[str, int, Message], None] = lambda stage, client, message: None
    seen: list[tuple[str, int, Message]] = field(default_factory=list)


class BadNetwork(InProcessGrid):
    def __init__(self, app: ClientApp, contexts: dict[int, Context], network: Network) -> None:
        super().__init__(app, contexts)
        self.network = network

    def _deliver(self, message: Message, timeout: float | None) -> str:
        stage, client = message.metadata.message_type, client_of(message.metadata.dst_node_id)
        fate = self.network.lost(stage, client)
        if fate == "before":
            return "lost"
        self.network.down(stage, client, message)
        identity = super()._deliver(message, timeout)
        reply = self._replies[identity]
        if fate == "after":
            del self._replies[identity]
        else:
            if reply.has_content():
                self.network.up(stage, client, reply)
            self.network.seen.append((stage, client, reply))
        return identity


def start(size: int = 60) -> ArrayRecord:
    half = size // 2
    values = np.linspace(-1, 1, size, dtype=np.float32)
    return ArrayRecord({"a": Array(values[:half].reshape(2, -1)), "b": Array(values[half:])})


def fixed_app(
    updates: Sequence[Vector],
    people: Sequence[int],
    mod: Mod,
    stages: dict[str, ClientAppCallable],
) -> ClientApp:
    """Clients whose training adds a given vector to the weights."""
    app = ClientApp(mods=[mod])
    for action, answer in stages.items():
        app.query(action)(answer)

    @app.train()  # type: ignore[untyped-decorator]
    def train(message: Message, context: Context) -> Message:
        client = int(context.node_config["partition-id"])
        first, out = 0, {}
        for name, array in message.content["arrays"].items():
            value = array.numpy()
            change = updates[client][first : first + value.size].reshape(value.shape)
            out[name] = Array(np.asarray(value + change, np.float32))
            first += value.size
        metrics = MetricRecord(
            {
                "num-examples": people[client],
                "epsilon": 0.0,
                "server-round": int(message.content["config"]["server-round"]),
                "cpu-seconds": 0.0,
                "peak-rss": 0,
            }
        )
        return Message(
            RecordDict({"arrays": ArrayRecord(out), "metrics": metrics}), reply_to=message
        )

    return app


def secure_round(
    updates: Sequence[Vector],
    people: Sequence[int],
    network: Network | None = None,
    *,
    contexts: dict[int, Context] | None = None,
    number: int = 1,
    **secure: Any,
) -> SecureRound:
    """A round in which each client's update is given."""
    secure = {"kind": "secagg"} | secure
    params = parameters(clients=len(updates), secure=secure)

    def people_of(context: Context) -> int:
        return people[int(context.node_config["partition-id"])]

    homomorphic = secure["kind"] == "homomorphic"
    mod = homomorphic_mod if homomorphic else secagg_mod
    stages = homomorphic_stages(people_of) if homomorphic else secagg_stages(people_of)
    contexts = contexts or {client: new_context(client, {}) for client in range(len(updates))}
    grid = BadNetwork(fixed_app(updates, people, mod, stages), contexts, network or Network())
    begun = start(len(updates[0]))
    config = ConfigRecord({"server-round": number})
    messages = [
        Message(RecordDict({"arrays": begun, "config": config}), node_id(client), "train")
        for client in range(len(updates))
    ]
    summed = homomorphic_sum if homomorphic else secagg_sum
    with global_seed(7):
        return SecureRound(params, grid, number, 60.0).collect(summed, messages, begun)


def average_update(found: SecureRound, size: int) -> Vector:
    """The update that a round's average stands for, in float64."""
    assert found.average is not None
    arrays = found.average.content["arrays"].to_numpy_ndarrays()
    begun = start(size).to_numpy_ndarrays()
    return np.concatenate(
        [(a.astype(np.float64) - b).ravel() for a, b in zip(arrays, begun, strict=True)]
    )


def drawn(clients: int, size: int = 60, seed: int = 0, scale: float = 0.5) -> list[Vector]:
    rng = np.random.default_rng(seed)
    return [scale * rng.standard_normal(size) for _ in range(clients)]


class Silent(NoiseSource):
    """Adds nothing, and keeps how wide the noise was to be."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.sums: list[Any] = []

    def discrete_gaussian(self, deviation: float, n: int) -> NDArray[np.int64]:
        self.asked.append(deviation)
        return np.zeros(n, np.int64)


SIZE = 60


def reply_of(client: int, update: Any, number: int = 1, **metrics: Any) -> Message:
    begun = start(SIZE)
    values = np.split(np.asarray(update, np.float64), [SIZE // 2])
    arrays = {
        name: Array(np.asarray(array.numpy() + change.reshape(array.shape), np.float32))
        for (name, array), change in zip(begun.items(), values, strict=True)
    }
    said = {"num-examples": 10, "epsilon": 0.0, "server-round": number} | metrics
    content = RecordDict({"arrays": ArrayRecord(arrays), "metrics": MetricRecord(said)})
    message = Message(content, 1, "train")
    message.metadata.__dict__["_src_node_id"] = node_id(client)
    return message


def honest(clients: int, seed: int = 0) -> list[Any]:
    rng = np.random.default_rng(seed)
    common = rng.standard_normal(SIZE)
    return [common + 0.3 * rng.standard_normal(SIZE) for _ in range(clients)]


# Weights of up to 3 as float32, once on the client's side and once on the server's.
ROUNDING = 2 * 3 * 2.0**-24


KEYS, SHARES, TRAIN, UNMASK = STAGES


PEOPLE = [3, 17, 1, 40, 8, 5, 9]


def plain(updates: list[Any], people: list[int], clients: list[int]) -> Any:
    return np.average([updates[c] for c in clients], axis=0, weights=[people[c] for c in clients])


def bound(people: list[int], bits: int = 20, clipping_range: float = 4.0) -> float:
    """Half a step a client, over all people; rounding to float32 comes on top."""
    return clipping_range / (2**bits - 1) * len(people) / sum(people) + ROUNDING


def weights(clients: list[int]) -> list[int]:
    return [PEOPLE[client] for client in clients]
