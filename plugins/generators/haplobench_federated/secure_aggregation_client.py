"""A client's side of SecAgg+ (Bell et al. 2020, doi:10.1145/3372297.3417885), as a Flower mod.

A client adds to its update a mask of a seed of its own and one for each neighbour, which that
neighbour subtracts. It gives away shares of its seed and of the key its pairwise masks come from;
later its neighbours show the server those of the seed (it answered) or of the key (it vanished),
never both. As more than half of a neighbourhood is needed to put a secret together, a server that
asks some for the one and others for the other gets neither.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message
from flwr.clientapp.typing import ClientAppCallable

from haplobench_federated.secure_aggregation_crypto import (
    KEY_BYTES,
    CorruptedError,
    about,
    agreed_key,
    commitment,
    mask,
    new_key,
    public_key,
    seal,
    split_secret,
    unseal,
)
from haplobench_federated.secure_aggregation_messages import (
    BREACHES,
    RECORD,
    ProtocolError,
    handlers,
    stopped,
    values_of,
)
from haplobench_federated.secure_aggregation_quantisation import Quantisation
from haplobench_federated.updates import arrays_of, difference, flat, is_training

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


def secagg_mod(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """A mod that masks what a client's training gives."""
    if not is_training(message):
        return call_next(message, context)
    try:
        return _train(message, context, call_next)
    except BREACHES as error:
        return stopped(message, context, error)


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
    vector = flat(difference(arrays_of(reply), start))
    masked = quantisation.quantise(vector, int(secrets["people"]))
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
