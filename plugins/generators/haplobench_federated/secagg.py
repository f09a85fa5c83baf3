"""SecAgg+ (Bell et al. 2020, doi:10.1145/3372297.3417885): only the sum of masked updates is known.

A client adds to its update a mask of a seed of its own and one for each neighbour, which that
neighbour subtracts. It gives away shares of its seed and of the key its pairwise masks come from;
later its neighbours show the server those of the seed (it answered) or of the key (it vanished),
never both. As more than half of a neighbourhood is needed to put a secret together, a server that
asks some for the one and others for the other gets neither.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message
from flwr.clientapp.typing import ClientAppCallable
from numpy.typing import NDArray

from haplobench_federated.grid import client_of
from haplobench_federated.secure_arithmetic import (
    KEY_BYTES,
    CorruptedError,
    Quantisation,
    about,
    agreed_key,
    commitment,
    join_shares,
    mask,
    new_key,
    public_key,
    seal,
    split_secret,
    unseal,
)
from haplobench_federated.secure_round import (
    RECORD,
    SHARES,
    UNMASK,
    AbandonedError,
    Offer,
    ProtocolError,
    SecureRound,
    enough,
    handlers,
    training_mod,
    values_of,
    with_record,
)
from haplobench_federated.shared_noise import least_clients
from haplobench_federated.updates import (
    Vector,
    arrays_of,
    sizes_of,
    update_of,
)

Secrets = dict[str, Any]


def secagg_stages(
    people_of: Callable[[Context], int], least: int = 2
) -> dict[str, ClientAppCallable]:
    """Handlers of the stages beside training, by action.

    `people_of` is the client's weight, `least` the fewest clients whose sum it agrees to.
    """
    return handlers(
        lambda asked, context: _keys(asked, context, people_of(context)),
        lambda asked, context: _shares(asked, context, least),
        _unmask,
    )


def _keys(asked: dict[str, Any], context: Context, people: int) -> dict[str, Any]:
    secrets: Secrets = {"round": int(asked["round"]), "cipher": new_key(), "mask": new_key()}
    secrets |= {"people": people, "stage": "keys"}
    _keep(secrets, context)
    return {
        "cipher-key": public_key(secrets["cipher"]),
        "mask-key": public_key(secrets["mask"]),
        "people": people,
    }


def _shares(asked: dict[str, Any], context: Context, least: int) -> dict[str, Any]:
    secrets = _secrets(context, "keys", asked)
    me = context.node_id
    nodes = [int(node) for node in asked["nodes"]]
    cipher_keys, mask_keys = list(asked["cipher-keys"]), list(asked["mask-keys"])
    threshold = int(asked["threshold"])
    if len(set(nodes)) != len(nodes) or len(set(cipher_keys + mask_keys)) != 2 * len(nodes):
        raise ProtocolError("nodes or keys are repeated")
    here = nodes.index(me)
    own = public_key(secrets["cipher"]), public_key(secrets["mask"])
    if (cipher_keys[here], mask_keys[here]) != own:
        raise ProtocolError("the server shows others keys that aren't this client's")
    if not max(2, least, len(nodes) // 2 + 1) <= threshold <= len(nodes):
        raise ProtocolError(
            f"threshold {threshold} of {len(nodes)}: expected more than half, and {least} or more"
        )
    round_number = int(secrets["round"])
    seed = os.urandom(KEY_BYTES)
    seed_shares = split_secret(seed, threshold, len(nodes))
    key_shares = split_secret(secrets["mask"], threshold, len(nodes))
    sealed = []
    for node, cipher_key, seed_share, key_share in zip(
        nodes, cipher_keys, seed_shares, key_shares, strict=True
    ):
        if node != me:
            key = agreed_key(secrets["cipher"], cipher_key, "shares", round_number)
            belongs = about(round_number, me, node, "shares")
            sealed.append(seal(key, seed_share + key_share, belongs))
    secrets |= {
        "stage": "shares",
        "seed": seed,
        "threshold": threshold,
        "nodes": nodes,
        "cipher-keys": cipher_keys,
        "mask-keys": mask_keys,
        "own-shares": [seed_shares[here], key_shares[here]],
    }
    _keep(secrets, context)
    return {
        "destinations": [node for node in nodes if node != me],
        "sealed": sealed,
        "seed-commitment": commitment(seed, about(round_number, me, me, "seed")),
        "seed-share-commitments": _committed(seed_shares, nodes, round_number, me, "seed"),
        "key-share-commitments": _committed(key_shares, nodes, round_number, me, "key"),
    }


def _committed(
    shares: list[bytes], nodes: list[int], round_number: int, me: int, kind: str
) -> list[bytes]:
    return [
        commitment(share, about(round_number, me, node, kind))
        for share, node in zip(shares, nodes, strict=True)
    ]


def _train(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    asked = values_of(message)
    secrets = _secrets(context, "shares", asked)
    me, round_number = context.node_id, int(secrets["round"])
    sources = [int(node) for node in asked["sources"]]
    known = dict(
        zip(secrets["nodes"], zip(secrets["cipher-keys"], secrets["mask-keys"], strict=True),
            strict=True)
    )  # fmt: skip
    if len(set(sources)) != len(sources) or me in sources or not set(sources) <= set(known):
        raise ProtocolError("shares of nodes that aren't neighbours")
    if len(sources) + 1 < secrets["threshold"]:
        raise ProtocolError(
            f"{len(sources) + 1} neighbours are left; expected at least {secrets['threshold']}"
        )
    held = {me: list(secrets["own-shares"])}
    for source, sealed, seed_hash, key_hash in zip(
        sources,
        asked["sealed"],
        asked["seed-share-commitments"],
        asked["key-share-commitments"],
        strict=True,
    ):
        key = agreed_key(secrets["cipher"], known[source][0], "shares", round_number)
        try:
            plain = unseal(key, sealed, about(round_number, source, me, "shares"))
        except CorruptedError as error:
            raise CorruptedError(f"from node {source}: {error}") from None
        shares = [plain[: len(plain) // 2], plain[len(plain) // 2 :]]
        for share, kind, said in zip(shares, ("seed", "key"), (seed_hash, key_hash), strict=True):
            if commitment(share, about(round_number, source, me, kind)) != said:
                raise CorruptedError(f"from node {source}: a share it hasn't committed to")
        held[source] = shares
    quantisation = Quantisation(
        int(asked["bits"]), float(asked["clipping-range"]), int(asked["people"])
    )
    start = ArrayRecord(dict(arrays_of(message).items()))
    reply = call_next(message, context)
    if reply.has_error():
        return reply
    masked = quantisation.quantise(update_of(reply, start), int(secrets["people"]))
    masked = masked + mask(secrets["seed"], masked.size, masked.dtype)
    for node in sources:
        pair = mask(
            agreed_key(secrets["mask"], known[node][1], "mask", round_number),
            masked.size,
            masked.dtype,
        )
        masked = masked + pair if me > node else masked - pair
    secrets |= {"stage": "train", "holders": list(held)}
    secrets["seed-shares"] = [seed_share for seed_share, _ in held.values()]
    secrets["key-shares"] = [key_share for _, key_share in held.values()]
    _keep(secrets, context)
    reply.content["arrays"] = ArrayRecord({"masked": Array(np.asarray(masked))})
    return reply


def _unmask(asked: dict[str, Any], context: Context) -> dict[str, Any]:
    secrets = _secrets(context, "train", asked)
    answered = [int(node) for node in asked["answered"]]
    vanished = [int(node) for node in asked["vanished"]]
    both = answered + vanished
    if len(set(both)) != len(both) or not set(both) <= set(secrets["holders"]):
        raise ProtocolError("asked for two shares of one node, or of one that isn't a neighbour")
    if len(answered) < secrets["threshold"]:
        raise ProtocolError(
            f"{len(answered)} neighbours answered; expected at least {secrets['threshold']}"
        )
    seeds = dict(zip(secrets["holders"], secrets["seed-shares"], strict=True))
    keys = dict(zip(secrets["holders"], secrets["key-shares"], strict=True))
    context.state.pop(RECORD, None)  # asked a second time, there is nothing to tell
    return {
        "nodes": both,
        "shares": [seeds[node] for node in answered] + [keys[node] for node in vanished],
    }


def _keep(secrets: Secrets, context: Context) -> None:
    context.state[RECORD] = ConfigRecord(dict(secrets))


def _secrets(context: Context, stage: str, asked: dict[str, Any]) -> Secrets:
    record = context.state.get(RECORD)
    if not isinstance(record, ConfigRecord) or record["stage"] != stage:
        raise ProtocolError("a stage out of its turn")
    if int(asked["round"]) != record["round"]:
        raise ProtocolError(f"round {asked['round']}, expected {record['round']}")
    return dict(record.items())


Masked = NDArray[np.unsignedinteger]


@dataclass(frozen=True)
class Dealt:
    """A client's commitments to its seed and to the shares of its secrets, by holder."""

    seed: bytes
    seed_shares: dict[int, bytes]
    key_shares: dict[int, bytes]


secagg_mod = training_mod(_train)
"""A mod that masks what a client's training gives."""


def secagg_sum(
    talk: SecureRound, messages: Sequence[Message], start: ArrayRecord
) -> tuple[Vector, list[int], int]:
    """The average of updates, by a sum of masked ones; its nodes and their people.

    Neighbours are drawn from the global `random`.
    """
    params, secure = talk.params, talk.params.aggregation.secure
    by_node = {message.metadata.dst_node_id: message for message in messages}
    offers = talk.offers(list(by_node))
    least = least_clients(params)
    enough(offers, least)
    graph = neighbourhoods(list(offers), secure.neighbours)
    thresholds = {
        node: max(2, least, math.ceil(secure.threshold * len(near))) for node, near in graph.items()
    }
    dealt, sealed = _dealt(talk, offers, graph, thresholds)
    quantisation = Quantisation(
        secure.bits,
        secure.clipping_range,
        sum(offers[node].people for node in dealt),
    )
    vectors = _masked(talk, by_node, dealt, sealed, quantisation, sum(sizes_of(start)))
    enough(vectors, least)
    answered = sorted(vectors)
    vanished = sorted(set(dealt) - set(vectors))
    shares = _revealed(talk, graph, dealt, answered, vanished)
    total = np.sum(list(vectors.values()), axis=0, dtype=quantisation.dtype)
    for node in answered:
        seed = _reconstructed(node, "seed", shares[node], thresholds[node])
        if commitment(seed, about(talk.number, node, node, "seed")) != dealt[node].seed:
            raise AbandonedError(f"client {client_of(node)}: its seed isn't what it committed")
        total = total - mask(seed, total.size, total.dtype)
    for node in vanished:
        near = [other for other in graph[node] if other in vectors]
        if not near:
            continue
        key = _reconstructed(node, "key", shares[node], thresholds[node])
        if public_key(key) != offers[node].mask_key:
            raise AbandonedError(f"client {client_of(node)}: its key isn't what it gave out")
        for other in near:
            pair = agreed_key(key, offers[other].mask_key, "mask", talk.number)
            one = mask(pair, total.size, total.dtype)
            total = total - one if other > node else total + one
    people = sum(offers[node].people for node in answered)
    return quantisation.average(total, people), answered, people


def _dealt(
    talk: SecureRound,
    offers: Mapping[int, Offer],
    graph: Mapping[int, list[int]],
    thresholds: Mapping[int, int],
) -> tuple[dict[int, Dealt], dict[int, dict[int, bytes]]]:
    """Commitments by owner, and sealed shares by holder and owner."""
    asked = {
        node: {
            "nodes": near,
            "cipher-keys": [offers[other].cipher_key for other in near],
            "mask-keys": [offers[other].mask_key for other in near],
            "threshold": thresholds[node],
        }
        for node, near in graph.items()
    }
    dealt: dict[int, Dealt] = {}
    sealed: dict[int, dict[int, bytes]] = {node: {} for node in graph}
    for owner, values in talk.ask(SHARES, asked).items():
        near = graph[owner]
        others = [node for node in near if node != owner]
        try:
            given = dict(zip(values["destinations"], values["sealed"], strict=True))
            seed_shares = dict(zip(near, values["seed-share-commitments"], strict=True))
            key_shares = dict(zip(near, values["key-share-commitments"], strict=True))
            if sorted(given) != sorted(others):
                raise ValueError("shares for other clients than its neighbours")
            one = Dealt(values["seed-commitment"], seed_shares, key_shares)
        except (KeyError, TypeError, ValueError) as error:
            talk.caught(owner, "malformed", str(error))
            continue
        dealt[owner] = one
        for holder, content in given.items():
            sealed[holder][owner] = content
    return dealt, {
        node: {owner: content for owner, content in by_owner.items() if owner in dealt}
        for node, by_owner in sealed.items()
        if node in dealt
    }


def _masked(
    talk: SecureRound,
    by_node: Mapping[int, Message],
    dealt: Mapping[int, Dealt],
    sealed: Mapping[int, Mapping[int, bytes]],
    quantisation: Quantisation,
    size: int,
) -> dict[int, Masked]:
    """Masked updates by node."""
    asked = []
    for node, by_owner in sealed.items():
        values: dict[str, Any] = {
            "round": talk.number,
            "sources": list(by_owner),
            "sealed": list(by_owner.values()),
            "seed-share-commitments": [dealt[o].seed_shares[node] for o in by_owner],
            "key-share-commitments": [dealt[o].key_shares[node] for o in by_owner],
            "bits": quantisation.bits,
            "clipping-range": quantisation.clipping_range,
            "people": quantisation.people,
        }
        asked.append(with_record(by_node[node], values))
    vectors = {}
    for reply in talk.train(asked):
        node = reply.metadata.src_node_id
        try:
            vector = arrays_of(reply)["masked"].numpy()
            if vector.dtype != quantisation.dtype or vector.shape != (size,):
                raise ValueError(f"masked update: {vector.dtype} {vector.shape}")
        except (KeyError, TypeError, ValueError) as error:
            talk.caught(node, "malformed", str(error))
            continue
        vectors[node] = vector
    if not vectors:
        raise AbandonedError("no client answered")
    return vectors


def _revealed(
    talk: SecureRound,
    graph: Mapping[int, list[int]],
    dealt: Mapping[int, Dealt],
    answered: Sequence[int],
    vanished: Sequence[int],
) -> dict[int, list[bytes]]:
    """Shares by owner that are what the owner committed to."""
    asked = {
        node: {
            "answered": [other for other in graph[node] if other in answered],
            "vanished": [other for other in graph[node] if other in vanished],
        }
        for node in answered
    }
    shares: dict[int, list[bytes]] = {node: [] for node in dealt}
    for holder, values in talk.ask(UNMASK, asked).items():
        expected = asked[holder]["answered"] + asked[holder]["vanished"]
        if list(values.get("nodes", [])) != expected or len(values["shares"]) != len(expected):
            talk.caught(holder, "malformed", "shares of other clients than asked for")
            continue
        for owner, share in zip(expected, values["shares"], strict=True):
            kind = "seed" if owner in answered else "key"
            of_owner = dealt[owner].seed_shares if kind == "seed" else dealt[owner].key_shares
            if commitment(share, about(talk.number, owner, holder, kind)) == of_owner.get(holder):
                shares[owner].append(share)
            else:
                talk.caught(holder, "share", f"client {client_of(owner)}'s {kind}: changed")
    return shares


def neighbourhoods(nodes: Sequence[int], neighbours: int | None) -> dict[int, list[int]]:
    """Each node's neighbours and itself, sorted; by a random ring, from the global `random`.

    None, or as many as there are others: all.
    """
    ring = sorted(nodes)
    random.shuffle(ring)
    n = len(ring)
    reach = n if neighbours is None else math.ceil(neighbours / 2)
    if 2 * reach + 1 >= n:
        return {node: sorted(ring) for node in sorted(ring)}
    near = {
        node: sorted(ring[(place + step) % n] for step in range(-reach, reach + 1))
        for place, node in enumerate(ring)
    }
    return dict(sorted(near.items()))


def _reconstructed(node: int, kind: str, shares: Sequence[bytes], threshold: int) -> bytes:
    if len(shares) < threshold:
        raise AbandonedError(
            f"client {client_of(node)}: {len(shares)} sound shares of its {kind}; "
            f"expected at least {threshold}"
        )
    try:
        return join_shares(shares[:threshold])
    except CorruptedError as error:
        raise AbandonedError(f"client {client_of(node)}: its {kind}: {error}") from None
