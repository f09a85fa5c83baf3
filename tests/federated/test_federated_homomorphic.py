"""CKKS: the average within its bound, dropouts, what the server gets."""

from __future__ import annotations

import numpy as np
import pytest
from secure_helpers import STAGES, Network, average_update, drawn, parameters, secure_round

from haplobench_federated.secure_arithmetic import error_bound

tenseal = pytest.importorskip("tenseal", reason="TenSEAL is absent: pip install tenseal")


ROUNDING = 2 * 3 * 2.0**-24


KEYS, SHARES, TRAIN, UNMASK = STAGES


PEOPLE = [3, 17, 1, 40]


SIZE = 5000  # more than one ciphertext


def test_the_average_is_the_plain_one_within_the_stated_bound() -> None:
    updates = drawn(4, SIZE)
    found = secure_round(updates, PEOPLE, kind="homomorphic")
    assert found.clients == [0, 1, 2, 3]
    error = average_update(found, SIZE) - np.average(updates, axis=0, weights=PEOPLE)
    assert np.abs(error).max() <= error_bound(4, sum(PEOPLE)) + ROUNDING


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("client", [0, 2])
def test_a_client_that_vanishes(stage: str, client: int) -> None:
    updates = drawn(4)
    network = Network(lost=lambda s, c: "after" if (s, c) == (stage, client) else "")
    found = secure_round(updates, PEOPLE, network, kind="homomorphic")
    asked = {KEYS: True, SHARES: False, TRAIN: True, UNMASK: False}[stage]
    kept = [c for c in range(4) if c != client] if asked else list(range(4))
    assert found.clients == kept
    expected = np.average([updates[c] for c in kept], axis=0, weights=[PEOPLE[c] for c in kept])
    assert np.abs(average_update(found, 60) - expected).max() <= error_bound(4, 1) + ROUNDING


def test_one_update_alone_is_never_decrypted() -> None:
    network = Network(lost=lambda s, c: "after" if s == TRAIN and c > 0 else "")
    found = secure_round(drawn(4), PEOPLE, network, kind="homomorphic")
    assert found.average is None
    assert found.abandoned == "1 clients answered; expected at least 2"
    assert UNMASK not in {stage for stage, _, _ in network.seen}


def test_the_server_gets_ciphertexts_and_no_secret_key() -> None:
    network = Network()
    updates = drawn(3, SIZE)
    secure_round(updates, PEOPLE[:3], network, kind="homomorphic")
    sums = 0
    for stage, _, reply in network.seen:
        values = dict(reply.content["secure"].items())
        if stage == SHARES:
            public = tenseal.context_from(values["public"])
            assert not public.is_private()
            for sealed in values["sealed"]:
                with pytest.raises(Exception):  # noqa: B017, PT011
                    tenseal.context_from(sealed)
        if stage == TRAIN:
            assert not list(reply.content["arrays"])
            vector = tenseal.ckks_vector_from(public, values["ciphertexts"][0])
            with pytest.raises(ValueError, match="secret_key|secret key"):
                vector.decrypt()
        sums += stage == UNMASK
    assert sums == 1


def test_values_that_would_overflow_stop_the_client() -> None:
    updates = drawn(4)
    updates[1][0] = 1e6
    found = secure_round(updates, PEOPLE, kind="homomorphic")
    assert [(one.client, one.reason) for one in found.quarantined] == [(1, "protocol")]
    assert found.clients == [0, 2, 3]


def test_tenseal_is_needed_only_when_asked_for() -> None:
    assert not parameters().needed()
    assert not parameters(secure={"kind": "secagg"}).needed()
    (need,) = parameters(secure={"kind": "homomorphic"}).needed()
    assert need.name == "tenseal"
