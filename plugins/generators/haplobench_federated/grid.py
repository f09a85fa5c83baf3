"""Flower's Grid within one process: the clients are called, one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

_RUN = 1
_SERVER = 1  # Flower's node id of a SuperLink


Failures = Callable[[int, int], str]
"""For tests: by round and client `""`, `before` or `after` (it vanishes before or after training),
or `late`."""


@dataclass
class Traffic:
    """Bytes between server and clients, by client, as serialised for the wire."""

    down: dict[int, int] = field(default_factory=dict)
    up: dict[int, int] = field(default_factory=dict)

    def take(self) -> Traffic:
        """What was counted so far; counting starts again."""
        taken = replace(self)
        self.down, self.up = {}, {}
        return taken


class InProcessGrid(Grid):  # type: ignore[misc]
    """Sends messages by calling a ClientApp, each client with a Context of its own.

    Messages are serialised both ways, as over a network, so that neither side can change what
    the other holds and bytes are those of the wire.

    Parameters
    ----------
    contexts : mapping of int to Context
        By client, from 0; their state is kept between rounds. Node ids are those of `node_id`.
    """

    def __init__(
        self, app: ClientApp, contexts: Mapping[int, Context], failures: Failures | None = None
    ) -> None:
        self.app = app
        self.contexts = dict(contexts)
        self.traffic = Traffic()
        self._failures = failures
        self._run = Run.create_empty(_RUN)
        self._replies: dict[str, Message] = {}
        self._sent = 0
        # Flower 1.41 gives every message the identity of the task that its runtime started.
        TaskIdentity.run_id = _RUN
        TaskIdentity.task_id = 1
        TaskIdentity.node_id = _SERVER

    def set_run(self, run: Run) -> None:
        """Set the run."""
        self._run = run

    @property
    def run(self) -> Run:
        """Run information."""
        return self._run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """A new message to a node."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """Ids of all clients."""
        return [node_id(client) for client in self.contexts]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Deliver; the clients answer at once."""
        return [self._deliver(message, None) for message in messages]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Answers that came."""
        return [self._replies.pop(one) for one in message_ids if one in self._replies]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Deliver and collect; who needs more than `timeout` seconds by itself is left out."""
        return self.pull_messages([self._deliver(message, timeout) for message in messages])

    def _deliver(self, message: Message, timeout: float | None) -> str:
        self._sent += 1
        identity = f"message-{self._sent}"
        client = client_of(message.metadata.dst_node_id)
        message.metadata.__dict__["_message_id"] = identity
        wire = message_to_proto(message)
        self.traffic.down[client] = self.traffic.down.get(client, 0) + wire.ByteSize()
        fate = self._failures(_round(message), client) if self._failures is not None else ""
        if fate == "before":
            return identity
        started = time.monotonic()
        reply = self.app(message_from_proto(wire), self.contexts[client])
        late = timeout is not None and time.monotonic() - started > timeout
        if fate or late:
            return identity
        wire = message_to_proto(reply)
        self.traffic.up[client] = self.traffic.up.get(client, 0) + wire.ByteSize()
        self._replies[identity] = message_from_proto(wire)
        return identity


def new_context(client: int, run_config: Mapping[str, str | int | float | bool]) -> Context:
    """The Context of a client that has not begun."""
    return Context(
        run_id=_RUN,
        node_id=node_id(client),
        node_config={"partition-id": client},
        state=RecordDict(),
        run_config=dict(run_config),
    )


def node_id(client: int) -> int:
    """Flower's node id of a client; 0 and 1 are taken."""
    return client + 2


def client_of(node: int) -> int:
    """Undo `node_id`."""
    return node - 2


def _round(message: Message) -> int:
    config = message.content.get("config")
    if isinstance(config, ConfigRecord) and "server-round" in config:
        return int(config["server-round"])
    return 0
