"""A round whose updates only become known as a sum, as the server sees it.

Two kinds, one interface: SecAgg+ in `haplobench_federated.secure_aggregation`, and CKKS in
`haplobench_federated.homomorphic`. What they protect, and from whom, is said in
`haplobench_federated.secure_params`.

No check that looks at a single update can be made: norm and cosine screening, Krum, multi-Krum,
trimmed mean, median, quarantine of values that aren't finite or of updates that are too long. What
remains is what each client does to its own update (the bound on its norm, the clipping range), and
what a reply says beside its update (round, ε).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid

from haplobench_federated.grid import client_of
from haplobench_federated.params import FederatedParams
from haplobench_federated.screening import Quarantined, said_beside
from haplobench_federated.secure_aggregation_messages import (
    BROKEN,
    KEYS,
    RECORD,
    content_of,
    values_of,
)


@dataclass
class SecureRound:
    """What a round left.

    Attributes
    ----------
    replies : list of Message
        Of the clients that were asked to train: masked updates, or errors.
    clients : list of int
        Whose updates are in the average.
    average : Message or None
        As of one client with all their people. None: the round was abandoned.
    abandoned : str
        Why.
    quarantined : list of Quarantined
        Clients caught breaking the protocol, or whose reply couldn't be used.
    """

    replies: list[Message] = field(default_factory=list)
    clients: list[int] = field(default_factory=list)
    average: Message | None = None
    abandoned: str = ""
    quarantined: list[Quarantined] = field(default_factory=list)


@dataclass(frozen=True)
class Offer:
    """What a client gave out before it trained."""

    people: int
    cipher_key: bytes
    mask_key: bytes


class AbandonedError(Exception):
    """A round that can't end in a sum that is right."""


class SecureAggregation(ABC):
    """A way to learn only the sum of a round's updates.

    Parameters
    ----------
    params : FederatedParams
    """

    def __init__(self, params: FederatedParams) -> None:
        self.params = params

    def collect(
        self,
        grid: Grid,
        round_number: int,
        messages: Sequence[Message],
        start: ArrayRecord,
        timeout: float,
    ) -> SecureRound:
        """Have the clients of `messages` train from `start`, and average what they answer.

        Each exchange of messages waits `timeout` seconds at most.
        """
        found = SecureRound()
        try:
            self._run(Talk(grid, round_number, timeout, found), messages, start)
        except AbandonedError as error:
            found.abandoned, found.average, found.clients = str(error), None, []
        return found

    @abstractmethod
    def _run(self, talk: Talk, messages: Sequence[Message], start: ArrayRecord) -> None:
        """Put average and clients into `talk.found`, or raise AbandonedError."""


class Talk:
    """Exchanges of a round with the clients."""

    def __init__(self, grid: Grid, round_number: int, timeout: float, found: SecureRound) -> None:
        self.grid = grid
        self.round_number = round_number
        self.timeout = timeout
        self.found = found

    def caught(self, node: int, reason: str, found: str) -> None:
        """Record a client that broke the protocol."""
        self.found.quarantined.append(Quarantined(client_of(node), reason, found))

    def ask(self, kind: str, values: Mapping[int, dict[str, Any]]) -> dict[int, dict[str, Any]]:
        """Ask each node; the answers of those that gave one."""
        messages = [
            Message(content_of({"round": self.round_number, **one}), node, kind)
            for node, one in values.items()
        ]
        answers = {}
        for reply in self.grid.send_and_receive(messages, timeout=self.timeout):
            node = reply.metadata.src_node_id
            if self._sound(reply):
                try:
                    answers[node] = values_of(reply)
                except (KeyError, TypeError) as error:
                    self.caught(node, "malformed", str(error))
        return dict(sorted(answers.items()))

    def offers(self, nodes: Sequence[int]) -> dict[int, Offer]:
        """Keys and numbers of people of the nodes that answer."""
        offers = {}
        for node, values in self.ask(KEYS, {node: {} for node in nodes}).items():
            try:
                offer = Offer(
                    int(values["people"]), bytes(values["cipher-key"]), bytes(values["mask-key"])
                )
                if offer.people < 1:
                    raise ValueError(f"people: {offer.people}")
            except (KeyError, TypeError, ValueError) as error:
                self.caught(node, "malformed", str(error))
                continue
            offers[node] = offer
        if len(offers) < 2:
            raise AbandonedError(f"{len(offers)} clients gave keys; expected at least 2")
        return offers

    def train(self, messages: Sequence[Message], params: FederatedParams) -> list[Message]:
        """Replies to training that may be summed; all that came are kept in the round."""
        replies = list(self.grid.send_and_receive(messages, timeout=self.timeout))
        self.found.replies = replies
        usable = []
        for reply in replies:
            if self._sound(reply):
                reason, found = said_beside(self.round_number, reply, params)
                if reason:
                    self.caught(reply.metadata.src_node_id, reason, found)
                else:
                    usable.append(reply)
        return usable

    def _sound(self, reply: Message) -> bool:
        if reply.has_error() and reply.error.code == BROKEN:
            self.caught(reply.metadata.src_node_id, "protocol", reply.error.reason)
        return bool(reply.has_content())


def enough(clients: Collection[int], least: int) -> None:
    """Raise AbandonedError for fewer clients than `least`, whose noise the claim needs."""
    if len(clients) < least:
        raise AbandonedError(
            f"{len(clients)} clients answered; expected at least {least}, which share the noise"
        )


def with_record(message: Message, values: Mapping[str, Any]) -> Message:
    """A copy of a message with a record of secure aggregation's values more."""
    content = RecordDict(dict(message.content.items()))
    content[RECORD] = ConfigRecord(dict(values))
    metadata = message.metadata
    return Message(content, metadata.dst_node_id, metadata.message_type, group_id=metadata.group_id)
