"""SecAgg+: equal to the plain average, dropouts, what the server sees, corrupted shares."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from flwr.app import ConfigRecord, Message
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from secure_helpers import (
    PEOPLE,
    SHARES,
    STAGES,
    TRAIN,
    UNMASK,
    Network,
    average_update,
    bound,
    drawn,
    plain,
    secure_round,
    weights,
)

from haplobench_federated.grid import new_context
from haplobench_federated.secagg import neighbourhoods, secagg_stages
from haplobench_federated.secure_arithmetic import Quantisation, mask, split_secret
from haplobench_federated.secure_round import content_of
from haplobench_federated.seeds import global_seed


def masked_of(network: Network) -> dict[int, Any]:
    return {
        client: reply.content["arrays"]["masked"].numpy()
        for stage, client, reply in network.seen
        if stage == TRAIN
    }


def _bytes(message: Message) -> bytes:
    if not message.has_content():
        return b""
    arrays = message.content.array_records.values()
    return b"".join(array.data for record in arrays for array in record.values())


def _shape(reply: Message) -> list[tuple[str, int]]:
    records = reply.content.config_records.values()
    return [
        (key, len(value) if isinstance(value, bytes | list) else 0)
        for record in records
        for key, value in record.items()
    ]


def changed(values: list[bytes], index: int) -> list[bytes]:
    flipped = bytearray(values[index])
    flipped[-1] ^= 1
    return [*values[:index], bytes(flipped), *values[index + 1 :]]


def edit(key: str, index: int = 0) -> Callable[[Message], None]:
    def change(message: Message) -> None:
        record = message.content["secure"]
        message.content["secure"] = ConfigRecord(
            {**dict(record.items()), key: changed(list(record[key]), index)}
        )

    return change


def _broken(stage: str, client: int, **changes: Any) -> Callable[[str, int, Message], None]:
    def down(s: str, c: int, message: Message) -> None:
        if (s, c) == (stage, client):
            record = dict(message.content["secure"].items())
            new = {k: v(record[k]) if callable(v) else v for k, v in changes.items()}
            message.content["secure"] = ConfigRecord(record | new)

    return down


@pytest.mark.parametrize("bits", [8, 20, 32])
@pytest.mark.parametrize("neighbours", [None, 4])
def test_the_average_is_the_plain_one_within_the_stated_bound(
    bits: int, neighbours: int | None
) -> None:
    updates = drawn(7)
    found = secure_round(updates, PEOPLE, bits=bits, neighbours=neighbours)
    assert found.clients == list(range(7))
    assert not found.quarantined
    error = np.abs(average_update(found, 60) - plain(updates, PEOPLE, found.clients)).max()
    assert error <= bound(PEOPLE, bits)
    if bits == 8:  # and the bound isn't idle
        assert error > bound(PEOPLE, bits) / 10


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("fate", ["before", "after"])
@pytest.mark.parametrize("neighbours", [None, 4])
def test_a_client_that_vanishes_at_any_stage(stage: str, fate: str, neighbours: int | None) -> None:
    updates = drawn(7)
    network = Network(lost=lambda s, c: fate if (s, c) == (stage, 2) else "")
    found = secure_round(updates, PEOPLE, network, neighbours=neighbours)
    # Who sent its masked update and vanished then is in the sum all the same.
    expected = list(range(7)) if stage == UNMASK else [0, 1, 3, 4, 5, 6]
    assert found.clients == expected
    error = np.abs(average_update(found, 60) - plain(updates, PEOPLE, expected)).max()
    assert error <= bound(weights(found.clients))


def test_two_that_vanish_at_different_stages() -> None:
    updates = drawn(7)
    gone = {(SHARES, 1): "after", (TRAIN, 4): "after", (UNMASK, 0): "before"}
    network = Network(lost=lambda s, c: gone.get((s, c), ""))
    found = secure_round(updates, PEOPLE, network, threshold=0.55)  # 4 of 7
    assert found.clients == [0, 2, 3, 5, 6]
    error = np.abs(average_update(found, 60) - plain(updates, PEOPLE, found.clients)).max()
    assert error <= bound(weights(found.clients))


def test_the_server_sees_uniform_noise_and_the_sum() -> None:
    n, size = 5, 40_000
    updates, people = drawn(n, size), PEOPLE[:n]
    network = Network()
    found = secure_round(updates, people, network)
    quantisation = Quantisation(20, 4.0, sum(people))
    masked = masked_of(network)
    assert set(masked) == set(range(n))
    received = b"".join(_bytes(reply) for _, _, reply in network.seen)
    for client, vector in masked.items():
        sent = quantisation.quantise(updates[client].astype(np.float32), people[client])
        # Every byte is uniform: chi-square over its 256 values.
        for column in vector.view(np.uint8).reshape(size, -1).T:
            counts = np.bincount(column, minlength=256)
            assert stats.chisquare(counts).pvalue > 1e-6
        assert stats.kstest(vector / 2.0**32, "uniform").pvalue > 1e-6
        correlation = np.corrcoef(vector.astype(float), sent.astype(float))[0, 1]
        assert abs(correlation) < 5 / math.sqrt(size)
        assert sent[:8].tobytes() not in received
        assert updates[client][:8].astype(np.float32).tobytes() not in received
        # Off by any other client's noise too: no pair of vectors shares its masks.
        for other in range(client):
            both = vector + masked[other]
            assert abs(np.corrcoef(both.astype(float), sent.astype(float))[0, 1]) < 5 / size**0.5
    error = np.abs(average_update(found, size) - plain(updates, people, list(range(n)))).max()
    assert error <= bound(people)


def test_inputs_of_the_same_sum_give_views_that_cannot_be_told_apart() -> None:
    size = 20_000
    people = [1, 1, 1, 1]
    grid = 8.0 / (2**20 - 1)  # values on the grid, so that sums are the same exactly
    rng = np.random.default_rng(0)
    first = [np.rint(one / grid) * grid for one in drawn(4, size)]
    move = np.rint(rng.uniform(0, 1, size) / grid) * grid
    second = [first[0] + move, first[1] - move, first[3], first[2]]
    views = []
    for updates in (first, second):
        network = Network()
        views.append((secure_round(updates, people, network), network))
    sums = [average_update(found, size) for found, _ in views]
    assert np.abs(sums[0] - sums[1]).max() <= 2 * bound(people)
    a, b = (masked_of(network) for _, network in views)
    for client in range(4):
        assert stats.ks_2samp(a[client], b[client]).pvalue > 1e-6
        # A distinguisher that knows both inputs finds neither in the view.
        told = (first[client] - second[client]).astype(float)
        for view in (a, b):
            assert abs(np.corrcoef(view[client].astype(float), told)[0, 1]) < 5 / math.sqrt(size)
    shapes = [
        [(stage, client, _shape(reply)) for stage, client, reply in network.seen]
        for _, network in views
    ]
    assert shapes[0] == shapes[1]


def test_masks_are_fresh_in_every_round() -> None:
    contexts = {client: new_context(client, {}) for client in range(3)}
    views = []
    for number in (1, 2):
        network = Network()
        secure_round(drawn(3), [1, 1, 1], network, contexts=contexts, number=number)
        views.append(masked_of(network))
    assert all((views[0][c] != views[1][c]).mean() > 0.9 for c in range(3))
    assert (
        mask(b"\1" * 32, 5, np.dtype(np.uint32)).tolist()
        != mask(b"\2" * 32, 5, np.dtype(np.uint32)).tolist()
    )


def test_a_share_changed_on_its_way_stops_who_gets_it_and_is_named() -> None:
    def down(stage: str, client: int, message: Message) -> None:
        if (stage, client) == (TRAIN, 3):
            edit("sealed", 0)(message)

    updates = drawn(5)
    found = secure_round(updates, PEOPLE, Network(down=down))
    assert [(one.client, one.reason) for one in found.quarantined] == [(3, "protocol")]
    assert "sealed share: changed" in found.quarantined[0].found
    assert found.clients == [0, 1, 2, 4]
    error = np.abs(average_update(found, 60) - plain(updates, PEOPLE, found.clients)).max()
    assert error <= bound(weights(found.clients))


def test_a_share_that_differs_from_its_commitment_stops_who_gets_it() -> None:
    def up(stage: str, client: int, message: Message) -> None:
        if (stage, client) == (SHARES, 0):
            edit("key-share-commitments", 2)(message)  # of client 2

    found = secure_round(drawn(5), PEOPLE, Network(up=up))
    assert [(one.client, one.reason) for one in found.quarantined] == [(2, "protocol")]
    assert "hasn't committed" in found.quarantined[0].found
    assert found.clients == [0, 1, 3, 4]


@pytest.mark.parametrize("vanished", [False, True])
def test_a_corrupted_share_shown_to_the_server_is_found_and_others_suffice(
    vanished: bool,
) -> None:
    def up(stage: str, client: int, message: Message) -> None:
        if (stage, client) == (UNMASK, 1):
            # The last share is of the client that vanished, if one did.
            edit("shares", len(message.content["secure"]["shares"]) - 1)(message)

    updates = drawn(6)
    network = Network(
        up=up, lost=lambda s, c: "before" if vanished and (s, c) == (TRAIN, 5) else ""
    )
    found = secure_round(updates, PEOPLE, network, threshold=0.6)
    assert [(one.client, one.reason) for one in found.quarantined] == [(1, "share")]
    assert "client 5" in found.quarantined[0].found
    error = np.abs(average_update(found, 60) - plain(updates, PEOPLE, found.clients)).max()
    assert error <= bound(weights(found.clients))


def test_too_many_corrupted_shares_abandon_the_round() -> None:
    def up(stage: str, client: int, message: Message) -> None:
        if stage == UNMASK and client < 3:
            edit("shares", 0)(message)

    found = secure_round(drawn(5), PEOPLE, Network(up=up), threshold=0.6)  # 3 of 5
    assert found.average is None
    assert "2 sound shares of its seed; expected at least 3" in found.abandoned
    assert {one.client for one in found.quarantined} == {0, 1, 2}


@pytest.mark.parametrize("secret", ["seed", "key"])
def test_shares_of_another_secret_than_committed_abandon_the_round(
    monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    """A client that deals consistent shares of something else is found at reconstruction."""
    calls = []

    def lying(content: bytes, threshold: int, shares: int) -> list[bytes]:
        calls.append(content)
        first = (1 if secret == "seed" else 2) == len(calls)  # client 0 deals first: seed, key
        return split_secret(bytes(32) if first else content, threshold, shares)

    module = "haplobench_federated.secagg.split_secret"
    monkeypatch.setattr(module, lying)
    lost = Network(lost=lambda s, c: "after" if secret == "key" and (s, c) == (TRAIN, 0) else "")
    found = secure_round(drawn(5), PEOPLE, lost)
    assert found.average is None
    assert found.abandoned.startswith("client 0: its " + secret)


@pytest.mark.parametrize(
    ("down", "said"),
    [
        (
            _broken(UNMASK, 1, vanished=lambda v: [2], answered=lambda v: v),
            "two shares of one node",
        ),
        (_broken(UNMASK, 1, answered=lambda v: v[:2]), "expected at least 3"),
        (_broken(UNMASK, 1, round=5), "round 5, expected 1"),
        (_broken(SHARES, 1, threshold=2), "expected more than half"),
        (
            _broken(SHARES, 1, **{"mask-keys": lambda v: [v[0], bytes(32), *v[2:]]}),
            "aren't this client's",
        ),
        (_broken(SHARES, 1, **{"mask-keys": lambda v: [v[1], v[1], *v[2:]]}), "repeated"),
        (_broken(TRAIN, 1, sources=lambda v: [99, *v[1:]]), "aren't neighbours"),
    ],
)
def test_a_client_refuses_what_would_show_an_update(
    down: Callable[[str, int, Message], None], said: str
) -> None:
    found = secure_round(drawn(5), PEOPLE, Network(down=down))
    assert any(said in one.found for one in found.quarantined), found


def test_shares_are_shown_once_only() -> None:
    contexts = {client: new_context(client, {}) for client in range(3)}
    asked: dict[int, Message] = {}

    def down(stage: str, client: int, message: Message) -> None:
        if stage == UNMASK:
            asked[client] = message

    secure_round(drawn(3), PEOPLE, Network(down=down), contexts=contexts)

    values = dict(asked[0].content["secure"].items())
    again = Message(content_of(values), asked[0].metadata.dst_node_id, UNMASK)
    again.metadata.__dict__["_message_id"] = "again"
    reply = secagg_stages(lambda context: 1)["secure_unmask"](again, contexts[0])
    assert reply.has_error()
    assert "out of its turn" in reply.error.reason
    assert "secure" not in contexts[0].state


@settings(deadline=None, max_examples=25)
@given(n=st.integers(2, 40), neighbours=st.integers(2, 45), seed=st.integers(0, 99))
def test_neighbourhoods_are_mutual_and_connected(n: int, neighbours: int, seed: int) -> None:
    with global_seed(seed):
        near = neighbourhoods(range(10, 10 + n), neighbours)
    assert all(a in near[b] for a, of in near.items() for b in of)
    assert all(node in of and len(of) >= min(n, neighbours + 1) for node, of in near.items())
    reached, edge = {10}, [10]
    while edge:
        more = [other for other in near[edge.pop()] if other not in reached]
        reached |= set(more)
        edge += more
    assert len(reached) == n
