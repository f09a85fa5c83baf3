"""Screening, rules of aggregation, central noise."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import stats
from secure_helpers import SIZE, Silent, honest, parameters, reply_of, start

from haplobench.noise import (
    deviation,
    fine_step,
)
from haplobench_federated import aggregation
from haplobench_federated.aggregation import Quarantined, combine, screen
from haplobench_federated.seeds import RepeatableNoise
from haplobench_federated.updates import arrays_of, message_of, update_of


def screened(replies: list[Message], **changes: Any) -> tuple[list[Message], list[Quarantined]]:
    return screen(1, start(SIZE), replies, parameters(clients=8, **changes))


def reasons(found: tuple[list[Message], list[Quarantined]]) -> list[tuple[int, str]]:
    return [(one.client, one.reason) for one in found[1]]


def combined(updates: list[Any], quarantined: int = 0, **robust: Any) -> Any:
    params = parameters(clients=max(len(updates), 3), robust=robust).aggregation.robust
    replies = [reply_of(c, u) for c, u in enumerate(updates)]
    found = combine(params, 1, start(SIZE), replies, quarantined)
    if not found:
        return None
    (one,) = found
    return update_of(one, start(SIZE))


@given(updates=arrays(np.float32, (3, 20), elements=st.floats(-50, 50, width=32)))
@settings(max_examples=50)
def test_a_client_moves_the_central_sum_by_twice_the_norm(updates: NDArray[np.float32]) -> None:
    start = ArrayRecord({"w": Array(np.zeros(20))})
    replies = [message_of(ArrayRecord({"w": Array(one)}), 1) for one in updates]
    other = message_of(ArrayRecord({"w": Array(-10 * updates[2] + 1)}), 1)
    source, norm = Silent(), 1.5
    sums = [
        3 * arrays_of(aggregation.noised_average(three, start, norm, 4.0, source))["w"].numpy()
        for three in (replies, [*replies[:2], other])
    ]
    steps = float(np.linalg.norm(sums[0] - sums[1])) / fine_step(norm, 20)
    # Charged for half the multiplier, as a person may move a client's update across the ball.
    assert deviation(2.0, steps) <= source.asked[0] * (1 + 1e-9)


@pytest.mark.parametrize("multiplier", [0.7, 4.0])
def test_central_noise_is_as_wide_as_claimed(multiplier: float) -> None:
    start = ArrayRecord({"w": Array(np.zeros(20_000))})
    replies = [message_of(start, 1) for _ in range(5)]
    found = aggregation.noised_average(replies, start, 1.5, multiplier, RepeatableNoise(2))
    spread = float(arrays_of(found)["w"].numpy().std())
    assert spread == pytest.approx(multiplier * 1.5 / 5, rel=5 / math.sqrt(40_000))


def test_honest_replies_pass() -> None:
    replies = [reply_of(c, u) for c, u in enumerate(honest(8))]
    found = screened(replies, robust={"screen": True, "update_norm": 100.0})
    assert found[0] == replies
    assert not found[1]


def test_each_unsound_reply_is_quarantined_with_its_reason() -> None:
    updates = honest(8)
    missing = reply_of(0, updates[0])
    missing.content["arrays"] = ArrayRecord({"a": Array(np.zeros(3, np.float32))})
    wrong_shape = reply_of(1, updates[1])
    wrong_shape.content["arrays"]["b"] = Array(np.zeros(SIZE, np.float32))
    bad = updates[2].copy()
    bad[5] = math.nan
    infinite = updates[3].copy()
    infinite[5] = math.inf
    replies = [
        missing,
        wrong_shape,
        reply_of(2, bad),
        reply_of(3, infinite),
        reply_of(4, updates[4], number=7),
        reply_of(5, updates[5] * 20),
        reply_of(6, updates[6], epsilon=8.1),
        reply_of(7, updates[7], **{"num-examples": -3}),
    ]
    found = screened(
        replies, privacy="local", epsilon=8.0, robust={"update_norm": 20.0}, noise_multiplier=1.0
    )
    assert reasons(found) == [
        (0, "malformed"),
        (1, "malformed"),
        (2, "not-finite"),
        (3, "not-finite"),
        (4, "stale"),
        (5, "bound"),
        (6, "budget"),
        (7, "people"),
    ]
    assert not found[0]


def test_the_screen_finds_scaled_flipped_and_idle_clients() -> None:
    updates = honest(8)
    attacks = {1: 5.0, 4: -1.0, 6: 0.0}
    replies = [reply_of(c, u * attacks.get(c, 1.0)) for c, u in enumerate(updates)]
    assert reasons(screened(replies, robust={"screen": True})) == [
        (1, "long"), (4, "direction"), (6, "short"),
    ]  # fmt: skip
    assert not screened(replies)[1]  # only where it is asked for


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000))
def test_trimmed_mean_and_median_are_those_of_scipy_and_numpy(seed: int) -> None:
    updates = [np.asarray(u, np.float64) for u in honest(8, seed)]
    trimmed = stats.trim_mean(updates, 2 / 8 + 1e-9, axis=0)
    near = {"atol": 1e-6}
    assert np.allclose(combined(updates, rule="trimmed_mean", hostile=2), trimmed, **near)
    assert np.allclose(combined(updates, rule="median", hostile=2), np.median(updates, 0), **near)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000))
def test_krum_is_the_paper_s(seed: int) -> None:
    """Scores from the definition: distances to the n - f - 2 nearest others (Blanchard 2017)."""
    updates = np.array(honest(7, seed))
    updates[:2] *= -4
    square = ((updates[:, None] - updates[None]) ** 2).sum(axis=2)
    nearest = np.sort(square + np.diag(np.full(7, np.inf)), axis=1)[:, : 7 - 2 - 2]
    order = np.argsort(nearest.sum(axis=1))
    chosen = combined(list(updates), rule="krum", hostile=2)
    assert np.allclose(chosen, updates[order[0]], atol=1e-6)
    several = combined(list(updates), rule="multi_krum", hostile=2)
    assert np.allclose(several, updates[order[:5]].mean(axis=0), atol=1e-6)


@pytest.mark.parametrize("rule", ["krum", "multi_krum", "trimmed_mean", "median"])
@pytest.mark.parametrize("factor", [-5.0, 50.0, 1e6])
def test_rules_bear_the_hostile_clients_that_they_promise_to(rule: str, factor: float) -> None:
    updates = honest(8)
    good = np.mean(updates[2:], axis=0)
    spoiled = [u * factor if c < 2 else u for c, u in enumerate(updates)]
    error = np.linalg.norm(combined(spoiled, rule=rule, hostile=2) - good) / np.linalg.norm(good)
    assert error < 0.35
    assert np.linalg.norm(np.mean(spoiled, axis=0) - good) / np.linalg.norm(good) > 1.2


def test_too_few_replies_for_a_rule_give_nothing() -> None:
    params = parameters(clients=8, robust={"rule": "krum", "hostile": 2}).aggregation.robust
    replies = [reply_of(c, u) for c, u in enumerate(honest(6))]
    assert combine(params, 1, start(SIZE), replies, 0) == []
    assert len(combine(params, 1, start(SIZE), replies, 1)) == 1  # one hostile is out already
    assert combine(params, 1, start(SIZE), [], 0) == []
