"""Updates that no average may hold: quarantined, with the reason, before anything is combined.

Some reasons need no comparison between clients: an update that isn't the model's shape, isn't
finite, belongs to another round, is longer than the declared bound, or spent more ε than agreed.
Norm and direction are held against the other clients of the round, where the screen is on; honest
clients with very different people may be caught by it, and a client that copies an honest update,
or adds noise like DP-SGD's to nothing, is not.

ε and numbers of people are what a client says of itself: a liar is not found by them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from flwr.app import ArrayRecord, Message

from haplobench_federated.grid import client_of
from haplobench_federated.params import FederatedParams
from haplobench_federated.updates import (
    Update,
    arrays_of,
    difference,
    flat,
    number_in,
    people_of,
)

_ROUNDING = 1e-5  # of a norm, relative: weights travel as float32


@dataclass(frozen=True)
class Quarantined:
    """An update that was left out.

    Attributes
    ----------
    client : int
    reason : str
        `malformed`, `stale`, `not-finite`, `bound`, `budget`, `people`, `long`, `short` or
        `direction`; of secure aggregation also `share` (changed) and `protocol` (the client
        stopped, as somebody broke the protocol).
    found : str
        What was found and expected.
    """

    client: int
    reason: str
    found: str


@dataclass(frozen=True)
class Screened:
    """Replies of a round, divided.

    Attributes
    ----------
    kept : list of Message
    quarantined : list of Quarantined
    """

    kept: list[Message]
    quarantined: list[Quarantined]


def screen(
    round_number: int, start: ArrayRecord, replies: Sequence[Message], params: FederatedParams
) -> Screened:
    """Divide a round's replies into those that may be combined and those that may not.

    Parameters
    ----------
    round_number : int
    start : ArrayRecord
        The server's weights, which the clients started from.
    replies : sequence of Message
        With content.
    params : FederatedParams
    """
    kept: list[tuple[Message, Update]] = []
    quarantined: list[Quarantined] = []
    for reply in replies:
        client = client_of(reply.metadata.src_node_id)
        try:
            update = difference(arrays_of(reply), start)
        except (KeyError, TypeError, ValueError) as error:
            quarantined.append(Quarantined(client, "malformed", " ".join(str(error).split())))
            continue
        reason, found = said_beside(round_number, reply, params)
        if not reason:
            reason, found = _by_itself(update, params)
        if reason:
            quarantined.append(Quarantined(client, reason, found))
        else:
            kept.append((reply, update))
    if params.robust.screen and len(kept) > 1:
        passed = []
        judged = _among_others([update for _, update in kept], params)
        for (reply, update), (reason, found) in zip(kept, judged, strict=True):
            if reason:
                client = client_of(reply.metadata.src_node_id)
                quarantined.append(Quarantined(client, reason, found))
            else:
                passed.append((reply, update))
        kept = passed
    quarantined.sort(key=lambda one: one.client)
    return Screened([reply for reply, _ in kept], quarantined)


def said_beside(round_number: int, reply: Message, params: FederatedParams) -> tuple[str, str]:
    """What is wrong with what a reply says beside its update: reason and finding, or empty."""
    said = number_in(reply, "server-round")
    if said != round_number:
        return "stale", f"round {said:g}, expected {round_number}"
    people = people_of(reply)
    if not (math.isfinite(people) and people > 0):
        return "people", f"{people:g}, expected a positive number"
    if params.privacy == "central" and people != 1:
        return "people", f"weight {people:g}, expected 1 with central privacy"
    if params.noised and params.privacy == "local" and params.epsilon is not None:
        spent = number_in(reply, "epsilon")
        if not spent <= params.epsilon:
            return "budget", f"epsilon {spent:g}, expected at most {params.epsilon:g}"
    return "", ""


def _by_itself(update: Update, params: FederatedParams) -> tuple[str, str]:
    vector = flat(update)
    if not np.isfinite(vector).all():
        return "not-finite", f"{int((~np.isfinite(vector)).sum())} values of {vector.size}"
    norm = float(np.linalg.norm(vector))
    bound = params.robust.update_norm
    if bound is not None and norm > bound * (1 + _ROUNDING):
        return "bound", f"norm {norm:.4g}, declared at most {bound:g}"
    return "", ""


def _among_others(updates: Sequence[Update], params: FederatedParams) -> list[tuple[str, str]]:
    robust = params.robust
    stacked = np.stack([flat(update) for update in updates])
    norms = np.linalg.norm(stacked, axis=1)
    typical = float(np.median(norms))
    middle = np.median(stacked, axis=0)
    length = float(np.linalg.norm(middle))
    judged = []
    for vector, norm in zip(stacked, norms, strict=True):
        cosine = float(vector @ middle) / (norm * length) if norm and length else 0.0
        if norm > typical * robust.norm_factor:
            judged.append(("long", f"norm {norm:.4g}, median of the round {typical:.4g}"))
        elif norm < typical / robust.norm_factor:
            judged.append(("short", f"norm {norm:.4g}, median of the round {typical:.4g}"))
        elif cosine < robust.least_cosine:
            judged.append(
                ("direction", f"cosine {cosine:.3f}, expected at least {robust.least_cosine:g}")
            )
        else:
            judged.append(("", ""))
    return judged
