"""What server and clients tell each other in a round of secure aggregation.

| stage | the server sends | a client answers |
|---|---|---|
| keys | the round | two public keys, its number of people |
| shares | its neighbours' public keys | sealed shares for each neighbour, commitments |
| train | weights, the shares sealed for it | its masked update |
| unmask | who answered and who vanished | for the former shares of seeds, for the latter of keys |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flwr.app import ConfigRecord, Context, Error, Message, RecordDict
from flwr.clientapp.typing import ClientAppCallable

from haplobench_federated.secure_aggregation_crypto import CorruptedError

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


def stopped(message: Message, context: Context, error: Exception) -> Message:
    """The answer of a client that goes no further, its secrets forgotten."""
    context.state.pop(RECORD, None)
    return Message(Error(BROKEN, f"secure aggregation: {error}"), reply_to=message)


BREACHES = (ProtocolError, CorruptedError, KeyError, TypeError, ValueError)
"""What makes a client stop."""


def _handler(stage: Stage) -> ClientAppCallable:
    def answer(message: Message, context: Context) -> Message:
        try:
            return Message(content_of(stage(values_of(message), context)), reply_to=message)
        except BREACHES as error:
            return stopped(message, context, error)

    return answer
