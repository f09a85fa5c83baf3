"""The server's side of SecAgg+: masked updates, of which only the sum becomes known."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, Message
from numpy.typing import NDArray

from haplobench_federated.grid import client_of
from haplobench_federated.secure_aggregation_crypto import (
    CorruptedError,
    about,
    agreed_key,
    commitment,
    join_shares,
    mask,
    public_key,
)
from haplobench_federated.secure_aggregation_messages import (
    SHARES,
    UNMASK,
)
from haplobench_federated.secure_aggregation_quantisation import Quantisation
from haplobench_federated.secure_aggregation_round import (
    AbandonedError,
    Offer,
    SecureAggregation,
    Talk,
    enough,
    with_record,
)
from haplobench_federated.shared_noise import least_clients
from haplobench_federated.updates import arrays_of, message_of, moved, unflat

Vector = NDArray[np.unsignedinteger]


@dataclass(frozen=True)
class Dealt:
    """A client's commitments to its seed and to the shares of its secrets, by holder."""

    seed: bytes
    seed_shares: dict[int, bytes]
    key_shares: dict[int, bytes]


class SecAggPlus(SecureAggregation):
    """SecAgg+ (Bell et al. 2020, doi:10.1145/3372297.3417885) over Flower messages.

    Neighbours are drawn from the global `random`.
    """

    def _run(self, talk: Talk, messages: Sequence[Message], start: ArrayRecord) -> None:
        found = talk.found
        by_node = {message.metadata.dst_node_id: message for message in messages}
        offers = talk.offers(list(by_node))
        least = least_clients(self.params)
        enough(offers, least)
        graph = neighbourhoods(list(offers), self.params.secure.neighbours)
        thresholds = {
            node: max(2, least, math.ceil(self.params.secure.threshold * len(near)))
            for node, near in graph.items()
        }
        dealt, sealed = self._deal(talk, offers, graph, thresholds)
        quantisation = Quantisation(
            self.params.secure.bits,
            self.params.secure.clipping_range,
            sum(offers[node].people for node in dealt),
        )
        vectors = self._train(talk, by_node, dealt, sealed, quantisation)
        enough(vectors, least)
        answered = sorted(vectors)
        vanished = sorted(set(dealt) - set(vectors))
        shares = self._shares(talk, graph, dealt, answered, vanished)
        total = _summed(list(vectors.values()))
        for node in answered:
            seed = _reconstructed(node, "seed", shares[node], thresholds[node])
            if commitment(seed, about(talk.round_number, node, node, "seed")) != dealt[node].seed:
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
                pair = agreed_key(key, offers[other].mask_key, "mask", talk.round_number)
                one = mask(pair, total.size, total.dtype)
                total = total - one if other > node else total + one
        people = sum(offers[node].people for node in answered)
        update = unflat(quantisation.average(total, people), start)
        found.average = message_of(moved(start, update), people)
        found.clients = [client_of(node) for node in answered]

    def _deal(
        self,
        talk: Talk,
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

    def _train(
        self,
        talk: Talk,
        by_node: Mapping[int, Message],
        dealt: Mapping[int, Dealt],
        sealed: Mapping[int, Mapping[int, bytes]],
        quantisation: Quantisation,
    ) -> dict[int, Vector]:
        """Masked updates by node."""
        asked = []
        for node, by_owner in sealed.items():
            values: dict[str, Any] = {
                "round": talk.round_number,
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
        size = None
        for reply in talk.train(asked, self.params):
            node = reply.metadata.src_node_id
            try:
                vector = arrays_of(reply)["masked"].numpy()
                size = size or _size(by_node[node])
                if vector.dtype != quantisation.dtype or vector.shape != (size,):
                    raise ValueError(f"masked update: {vector.dtype} {vector.shape}")
            except (KeyError, TypeError, ValueError) as error:
                talk.caught(node, "malformed", str(error))
                continue
            vectors[node] = vector
        if not vectors:
            raise AbandonedError("no client answered")
        return vectors

    def _shares(
        self,
        talk: Talk,
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
                if commitment(share, about(talk.round_number, owner, holder, kind)) == of_owner.get(
                    holder
                ):
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


def _size(message: Message) -> int:
    return sum(int(np.prod(array.shape, dtype=np.int64)) for array in arrays_of(message).values())


def _summed(vectors: Sequence[Vector]) -> Vector:
    total = np.zeros_like(vectors[0])
    for vector in vectors:
        total = total + vector
    return total


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
