"""A round whose updates only become known as a sum, as the server sees it.

Two kinds, one interface: SecAgg+ in `haplobench_federated.secagg`, and CKKS in
`haplobench_federated.homomorphic`. What they protect, and from whom, is said in
`haplobench_federated.params`.

No check that looks at a single update can be made: norm and cosine screening, Krum, multi-Krum,
trimmed mean, median, quarantine of values that aren't finite or of updates that are too long. What
remains is what each client does to its own update (the bound on its norm, the clipping range), and
what a reply says beside its update (round, ε).

What server and clients tell each other:

| stage | the server sends | a client answers |
|---|---|---|
| keys | the round | two public keys, its number of people |
| shares | its neighbours' public keys | sealed shares for each neighbour, commitments |
| train | weights, the shares sealed for it | its masked update |
| unmask | who answered and who vanished | for the former shares of seeds, for the latter of keys |
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Context, Error, Message, RecordDict
from flwr.clientapp.typing import ClientAppCallable, Mod
from flwr.serverapp import Grid

from haplobench_federated.aggregation import Quarantined, said_beside
from haplobench_federated.grid import client_of
from haplobench_federated.params import FederatedParams
from haplobench_federated.secure_arithmetic import CorruptedError
from haplobench_federated.updates import Vector, is_training, message_of, moved

KEYS = "query.secure_keys"
SHARES = "query.secure_shares"
UNMASK = "query.secure_unmask"
RECORD = "secure"
"""Name of the record that holds a stage's values, and of a client's secrets in its state."""

BROKEN = 9002  # error code of a client that stops because the protocol was broken


def values_of(message: Message) -> dict[str, Any]:
    """A stage's values. Raises KeyError or TypeError if the message has none."""
    record = message.content[RECORD]
    if not isinstance(record, ConfigRecord):
        raise TypeError(f"{RECORD}: found {type(record).__name__}, expected a ConfigRecord")
    return dict(record.items())


def content_of(values: dict[str, Any]) -> RecordDict:
    """A message's content of a stage's values."""
    return RecordDict({RECORD: ConfigRecord(values)})


class ProtocolError(Exception):
    """The server asked for what would show a single update."""


Stage = Callable[[dict[str, Any], Context], dict[str, Any]]
"""A client's answer to a stage's values."""


def handlers(keys: Stage, shares: Stage, unmask: Stage) -> dict[str, ClientAppCallable]:
    """What a ClientApp registers for the stages other than training, by action."""
    stages = {KEYS: keys, SHARES: shares, UNMASK: unmask}
    return {kind.removeprefix("query."): _handler(stage) for kind, stage in stages.items()}


BREACHES = (ProtocolError, CorruptedError, KeyError, TypeError, ValueError)
"""What makes a client stop."""


def stopping(answer: Callable[[], Message], message: Message, context: Context) -> Message:
    """A client's answer; one that goes no further forgets its secrets and says why."""
    try:
        return answer()
    except BREACHES as error:
        context.state.pop(RECORD, None)
        return Message(Error(BROKEN, f"secure aggregation: {error}"), reply_to=message)


def _handler(stage: Stage) -> ClientAppCallable:
    def answer(message: Message, context: Context) -> Message:
        return stopping(
            lambda: Message(content_of(stage(values_of(message), context)), reply_to=message),
            message,
            context,
        )

    return answer


def training_mod(train: Callable[[Message, Context, ClientAppCallable], Message]) -> Mod:
    """A mod that protects what a client's training gives."""

    def mod(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        if not is_training(message):
            return call_next(message, context)
        return stopping(lambda: train(message, context, call_next), message, context)

    return mod


class AbandonedError(Exception):
    """A round that can't end in a sum that is right."""


@dataclass(frozen=True)
class Offer:
    """What a client gave out before it trained."""

    people: int
    cipher_key: bytes
    mask_key: bytes


@dataclass
class SecureRound:
    """Exchanges of a round with the clients, and what it left.

    Attributes
    ----------
    timeout : float
        Seconds that each exchange of messages waits at most.
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

    params: FederatedParams
    grid: Grid
    number: int
    timeout: float
    replies: list[Message] = field(default_factory=list)
    clients: list[int] = field(default_factory=list)
    average: Message | None = None
    abandoned: str = ""
    quarantined: list[Quarantined] = field(default_factory=list)

    def collect(
        self, summed: SecureSum, messages: Sequence[Message], start: ArrayRecord
    ) -> SecureRound:
        """Have the clients of `messages` train from `start`, and average what they answer."""
        try:
            total, nodes, people = summed(self, messages, start)
        except AbandonedError as error:
            self.abandoned = str(error)
        else:
            self.average = message_of(moved(start, total), people)
            self.clients = [client_of(node) for node in nodes]
        return self

    def caught(self, node: int, reason: str, found: str) -> None:
        """Record a client that broke the protocol."""
        self.quarantined.append(Quarantined(client_of(node), reason, found))

    def ask(self, kind: str, values: Mapping[int, dict[str, Any]]) -> dict[int, dict[str, Any]]:
        """Ask each node; the answers of those that gave one."""
        messages = [
            Message(content_of({"round": self.number, **one}), node, kind)
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

    def train(self, messages: Sequence[Message]) -> list[Message]:
        """Replies to training that may be summed; all that came are kept in the round."""
        replies = list(self.grid.send_and_receive(messages, timeout=self.timeout))
        self.replies = replies
        usable = []
        for reply in replies:
            if self._sound(reply):
                reason, found = said_beside(self.number, reply, self.params)
                if reason:
                    self.caught(reply.metadata.src_node_id, reason, found)
                else:
                    usable.append(reply)
        return usable

    def _sound(self, reply: Message) -> bool:
        if reply.has_error() and reply.error.code == BROKEN:
            self.caught(reply.metadata.src_node_id, "protocol", reply.error.reason)
        return bool(reply.has_content())


SecureSum = Callable[
    [SecureRound, Sequence[Message], ArrayRecord], tuple[Vector, Sequence[int], int]
]
"""Learns the average update of a round, its nodes and their people, or raises AbandonedError."""


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
