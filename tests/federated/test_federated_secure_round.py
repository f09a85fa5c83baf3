"""Rounds that end without a sum."""

from __future__ import annotations

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message
from secure_helpers import (
    KEYS,
    PEOPLE,
    STAGES,
    TRAIN,
    Network,
    average_update,
    bound,
    drawn,
    plain,
    secure_round,
    weights,
)


@pytest.mark.parametrize("stage", STAGES)
def test_with_too_few_left_the_round_is_abandoned_not_wrong(stage: str) -> None:
    network = Network(lost=lambda s, c: "after" if s == stage and c < 4 else "")
    found = secure_round(drawn(7), PEOPLE, network, threshold=0.6)  # 5 of 7
    if stage == KEYS:  # three are left to begin with, and do it among themselves
        assert found.clients == [4, 5, 6]
        return
    assert found.average is None
    assert found.clients == []
    assert found.abandoned
    nobody = secure_round(drawn(3), PEOPLE, Network(lost=lambda s, c: "before"))
    assert nobody.average is None
    assert "expected at least 2" in nobody.abandoned


def test_a_reply_of_the_wrong_kind_is_taken_as_a_dropout() -> None:
    def up(stage: str, client: int, message: Message) -> None:
        if (stage, client) == (TRAIN, 1):
            message.content["arrays"] = ArrayRecord({"masked": Array(np.zeros(3, np.uint32))})
        if (stage, client) == (TRAIN, 2):
            message.content["metrics"]["server-round"] = 9

    updates = drawn(6)
    found = secure_round(updates, PEOPLE, Network(up=up))
    caught = {(one.client, one.reason) for one in found.quarantined}
    assert caught == {(1, "malformed"), (2, "stale")}
    assert found.clients == [0, 3, 4, 5]
    error = np.abs(average_update(found, 60) - plain(updates, PEOPLE, found.clients)).max()
    assert error <= bound(weights(found.clients))
