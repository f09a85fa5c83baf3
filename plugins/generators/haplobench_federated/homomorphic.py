"""Sums of encrypted updates by CKKS (Cheon, Kim, Kim & Song 2017, ePrint 2016/421) with TenSEAL.

The clients of a round share a secret key that the server lacks: one of them makes it and seals it
for each of the others. The server adds ciphertexts, and has a client decrypt the sum. A client
that colludes with the server, or a server that has a single ciphertext decrypted, undoes the
protection; SecAgg+ bears both, sends less, and is exact to its quantisation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message
from flwr.clientapp.typing import ClientAppCallable
from numpy.typing import NDArray

from haplobench_federated.secure_arithmetic import (
    MODULI,
    RING,
    SCALE,
    SLOTS,
    about,
    agreed_key,
    new_key,
    public_key,
    seal,
    unseal,
)
from haplobench_federated.secure_round import (
    RECORD,
    SHARES,
    UNMASK,
    AbandonedError,
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


def homomorphic_stages(
    people_of: Callable[[Context], int], step: float = 0.0
) -> dict[str, ClientAppCallable]:
    """Handlers of the stages beside training, by action.

    `people_of` is the client's weight. Who decrypts a sum gives it in whole steps of `step`, where
    that isn't 0: what is beyond is the ciphertexts' noise, which may tell of the summands (Li &
    Micciancio 2021, ePrint 2020/1533).
    """
    return handlers(
        lambda asked, context: _keys(asked, context, people_of(context)),
        _make_key,
        lambda asked, context: _decrypt(asked, context, step),
    )


def _keys(asked: dict[str, Any], context: Context, people: int) -> dict[str, Any]:
    private = new_key()
    secrets = {"round": int(asked["round"]), "cipher": private, "people": people}
    context.state[RECORD] = ConfigRecord(secrets)
    public = public_key(private)
    return {"cipher-key": public, "mask-key": public, "people": people}


def _make_key(asked: dict[str, Any], context: Context) -> dict[str, Any]:
    import tenseal

    secrets = _secrets(context, asked)
    made = tenseal.context(tenseal.SCHEME_TYPE.CKKS, RING, coeff_mod_bit_sizes=MODULI)
    made.global_scale = SCALE
    private = _serialised(made, secret=True)
    sealed = [
        seal(
            agreed_key(secrets["cipher"], key, "ckks", secrets["round"]),
            private,
            about(secrets["round"], context.node_id, int(node), "ckks"),
        )
        for node, key in zip(asked["nodes"], asked["cipher-keys"], strict=True)
    ]
    return {"sealed": sealed, "public": _serialised(made, secret=False)}


def _train(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    import tenseal

    asked = values_of(message)
    secrets = _secrets(context, asked)
    leader, me = int(asked["leader"]), context.node_id
    private = unseal(
        agreed_key(secrets["cipher"], asked["leader-key"], "ckks", secrets["round"]),
        asked["sealed"],
        about(secrets["round"], leader, me, "ckks"),
    )
    context.state[RECORD] = ConfigRecord(secrets | {"context": private})
    start = ArrayRecord(dict(arrays_of(message).items()))
    reply = call_next(message, context)
    if reply.has_error():
        return reply
    vector = update_of(reply, start) * secrets["people"]
    if not np.isfinite(vector).all():
        raise ValueError("update: found values that aren't finite")
    limit = 2.0 ** (MODULI[0] - 1) / SCALE / 2 / max(1, int(asked["clients"]))
    if np.abs(vector).max(initial=0.0) >= limit:
        raise ValueError(f"update: found values beyond {limit:g}, which would overflow")
    encrypted = tenseal.context_from(private)
    reply.content["arrays"] = ArrayRecord({})
    reply.content[RECORD] = ConfigRecord(
        {
            "ciphertexts": [
                tenseal.ckks_vector(encrypted, vector[first : first + SLOTS].tolist()).serialize()
                for first in range(0, vector.size, SLOTS)
            ]
        }
    )
    return reply


def _decrypt(asked: dict[str, Any], context: Context, step: float) -> dict[str, Any]:
    import tenseal

    secrets = _secrets(context, asked)
    context.state.pop(RECORD, None)  # one sum a round
    private = tenseal.context_from(secrets["context"])
    values: list[float] = []
    for ciphertext in asked["ciphertexts"]:
        values += tenseal.ckks_vector_from(private, ciphertext).decrypt()
    if step:
        values = (np.rint(np.array(values) / step) * step).tolist()
    return {"sum": values}


def _serialised(context: Any, *, secret: bool) -> bytes:
    return bytes(
        context.serialize(
            save_public_key=True,
            save_secret_key=secret,
            save_galois_keys=False,
            save_relin_keys=False,
        )
    )


def _secrets(context: Context, asked: dict[str, Any]) -> dict[str, Any]:
    record = context.state.get(RECORD)
    if not isinstance(record, ConfigRecord) or record["round"] != int(asked["round"]):
        raise ValueError("a stage out of its turn")
    return dict(record.items())


homomorphic_mod = training_mod(_train)
"""A mod that encrypts people times the update that a client's training gives."""


def homomorphic_sum(
    talk: SecureRound, messages: Sequence[Message], start: ArrayRecord
) -> tuple[Vector, list[int], int]:
    """The average of updates, by a sum of ciphertexts; its nodes and their people."""
    by_node = {message.metadata.dst_node_id: message for message in messages}
    offers = talk.offers(list(by_node))
    keys = {node: offer.cipher_key for node, offer in offers.items()}
    leader, sealed, public = _key_from(talk, keys)
    asked = [
        with_record(
            by_node[node],
            {
                "round": talk.number,
                "leader": leader,
                "leader-key": keys[leader],
                "sealed": sealed[node],
                "clients": len(offers),
            },
        )
        for node in offers
    ]
    encrypted = {}
    for reply in talk.train(asked):
        try:
            encrypted[reply.metadata.src_node_id] = list(values_of(reply)["ciphertexts"])
        except (KeyError, TypeError) as error:
            talk.caught(reply.metadata.src_node_id, "malformed", str(error))
    if len(encrypted) < 2:
        raise AbandonedError(f"{len(encrypted)} clients answered; expected at least 2")
    total, added = _added(talk, public, encrypted)
    enough(added, least_clients(talk.params))
    vector = _decrypted(talk, total, added)
    people = sum(offers[node].people for node in added)
    size = sum(sizes_of(start))
    if vector.shape != (size,) or not np.isfinite(vector).all():
        raise AbandonedError(f"the sum has {vector.size} values; expected {size} finite ones")
    return vector / people, added, people


def _key_from(talk: SecureRound, keys: Mapping[int, bytes]) -> tuple[int, dict[int, bytes], bytes]:
    """Who made the key, the key sealed for each client, and its public part."""
    nodes = sorted(keys)
    everybody = {"nodes": nodes, "cipher-keys": [keys[node] for node in nodes]}
    for leader in nodes:
        values = talk.ask(SHARES, {leader: everybody}).get(leader)
        if values is None:
            continue
        try:
            sealed = dict(zip(nodes, values["sealed"], strict=True))
            return leader, sealed, bytes(values["public"])
        except (KeyError, TypeError, ValueError) as error:
            talk.caught(leader, "malformed", str(error))
    raise AbandonedError("no client made a key")


def _added(
    talk: SecureRound, public: bytes, encrypted: Mapping[int, Sequence[bytes]]
) -> tuple[list[bytes], list[int]]:
    """The sum's ciphertexts, and whose updates are in it."""
    import tenseal

    context = tenseal.context_from(public)
    total: list[Any] = []
    added = []
    for node, ciphertexts in sorted(encrypted.items()):
        try:
            vectors = [tenseal.ckks_vector_from(context, one) for one in ciphertexts]
            if total and [one.size() for one in vectors] != [one.size() for one in total]:
                raise ValueError("ciphertexts of another size")
        except (ValueError, RuntimeError) as error:
            talk.caught(node, "malformed", str(error))
            continue
        total = [a + b for a, b in zip(total, vectors, strict=True)] if total else vectors
        added.append(node)
    if len(added) < 2:
        raise AbandonedError(f"{len(added)} sound ciphertexts; expected at least 2")
    return [bytes(one.serialize()) for one in total], added


def _decrypted(
    talk: SecureRound, total: Sequence[bytes], nodes: Sequence[int]
) -> NDArray[np.float64]:
    """The sum, from the first client that decrypts it."""
    for node in nodes:
        values = talk.ask(UNMASK, {node: {"ciphertexts": list(total)}}).get(node)
        if values is not None and "sum" in values:
            return np.asarray(values["sum"], np.float64)
    raise AbandonedError("no client decrypted the sum")
