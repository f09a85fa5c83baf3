"""What server and clients tell each other in a round of secure aggregation.

| stage | the server sends | a client answers |
|---|---|---|
| keys | the round | two public keys, its number of people |
| shares | its neighbours' public keys | sealed shares for each neighbour, commitments |
| train | weights, the shares sealed for it | its masked update |
| unmask | who answered and who vanished | for the former shares of seeds, for the latter of keys |
"""

from __future__ import annotations

from typing import Any

from flwr.app import ConfigRecord, Message, RecordDict

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
