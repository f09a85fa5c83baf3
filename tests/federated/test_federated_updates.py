"""Compressed updates: exact sizes, unbiasedness, error feedback, and whole federations."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from hypothesis import given, settings
from hypothesis import strategies as st
from secure_helpers import parameters, start

from haplobench.testing import example_context, example_panel
from haplobench_federated.aggregation import screen
from haplobench_federated.federation import Federated, federate
from haplobench_federated.grid import new_context, node_id
from haplobench_federated.model import WindowCodeFamily
from haplobench_federated.params import CompressionParams
from haplobench_federated.updates import (
    compression_mod,
    decompressed,
    largest,
    quantised,
    restored,
    update_of,
)

SIZE = 61  # odd, so that half a byte is left over at 4 bits


SIZES = [30, 31]


def edge(compression: str, **changes: Any) -> CompressionParams:
    return CompressionParams.model_validate({"kind": compression} | changes)


def rounds(params: CompressionParams, updates: list[Any]) -> list[Any]:
    """What the server gets of a client's updates, round by round."""
    context = new_context(0, {})
    mod = compression_mod(params, lambda context, number: number)
    got = []
    for number, update in enumerate(updates, 1):
        begun = start(SIZE)

        def train(message: Message, context: Any, update: Any = update) -> Message:
            arrays = message.content["arrays"].to_numpy_ndarrays()
            parts = np.split(update, [30])
            new = {
                name: Array(np.asarray(a + u.reshape(a.shape), np.float32))
                for name, a, u in zip(("a", "b"), arrays, parts, strict=True)
            }
            said = {"num-examples": 3, "epsilon": 0.0, "server-round": 1}
            content = RecordDict({"arrays": ArrayRecord(new), "metrics": MetricRecord(said)})
            return Message(content, node_id(0), "train")

        config = ConfigRecord({"server-round": number})
        asked = Message(RecordDict({"arrays": begun, "config": config}), node_id(0), "train")
        reply = decompressed(mod(asked, context, train), begun, params)
        got.append(update_of(reply, begun))
    return got


def run(folder: Path, **changes: Any) -> Federated:
    folder.mkdir(parents=True, exist_ok=True)
    panel = example_panel(n_samples=48, n_sites=200, seed=3)
    params = parameters(rounds=3, model={"window": 10, "codes": 8}, **changes)
    return federate(panel, params, example_context(folder, panel, 0), WindowCodeFamily())


def vector_of(result: Federated) -> Any:
    return np.concatenate([v.numpy().ravel() for v in result.model.state_dict().values()])


@settings(deadline=None, max_examples=25)
@given(bits=st.sampled_from([4, 8]), seed=st.integers(0, 2**32), scale=st.floats(1e-6, 1e6))
def test_a_quantised_value_is_one_of_the_two_levels_around_it(
    bits: int, seed: int, scale: float
) -> None:
    rng = np.random.default_rng(seed)
    vector = scale * rng.standard_normal(SIZE)
    sent = quantised(vector, SIZES, bits, rng)
    assert sent["levels"].numpy().nbytes == math.ceil(SIZE * bits / 8)
    back = restored(sent, start(SIZE), edge("quantise", bits=bits))
    for part in np.split(np.arange(SIZE), [30]):
        step = np.ptp(vector[part]) / (2**bits - 1)
        assert np.abs(back[part] - vector[part]).max() <= step * (1 + 1e-9)
        # The extremes are levels, kept exactly but for rounding.
        for extreme in (vector[part].argmin(), vector[part].argmax()):
            assert back[part][extreme] == pytest.approx(vector[part][extreme], rel=1e-9)


@pytest.mark.parametrize("bits", [4, 8])
def test_quantisation_keeps_the_expectation(bits: int) -> None:
    rng = np.random.default_rng(1)
    vector = rng.standard_normal(SIZE)
    params, n = edge("quantise", bits=bits), 1000
    mean = sum(restored(quantised(vector, SIZES, bits, rng), start(SIZE), params) for _ in range(n))
    steps = [np.ptp(part) / (2**bits - 1) for part in np.split(vector, [30])]
    step = np.repeat(steps, SIZES)
    # A value's deviation is at most step / 2; five of the mean's.
    assert (np.abs(mean / n - vector) <= 5 * step / 2 / math.sqrt(n) + 1e-12).all()
    nearest = [np.rint((p - p.min()) / s) * s + p.min() for p, s in zip(
        np.split(vector, [30]), steps, strict=True)]  # fmt: skip
    assert (np.abs(np.concatenate(nearest) - vector) > 5 * step / 2 / math.sqrt(n)).any()


def test_constant_and_broken_arrays() -> None:
    rng = np.random.default_rng(0)
    params = edge("quantise")
    flat_vector = np.full(SIZE, 0.25)
    assert (restored(quantised(flat_vector, SIZES, 8, rng), start(SIZE), params) == 0.25).all()
    flat_vector[3] = math.nan
    back = restored(quantised(flat_vector, SIZES, 8, rng), start(SIZE), params)
    assert np.isnan(back[:30]).all()


@settings(deadline=None, max_examples=25)
@given(share=st.floats(0.01, 1), seed=st.integers(0, 2**32))
def test_top_k_sends_the_largest(share: float, seed: int) -> None:
    vector = np.random.default_rng(seed).standard_normal(SIZE)
    sent = largest(vector, share)
    k = max(1, round(share * SIZE))
    assert sent["values"].numpy().size == k
    back = restored(sent, start(SIZE), edge("top_k"))
    chosen = np.argsort(-np.abs(vector))[:k]
    assert set(np.flatnonzero(back)) == set(chosen)
    assert np.allclose(back[chosen], vector[chosen], rtol=1e-6)


def test_error_feedback_loses_nothing_over_the_rounds() -> None:
    rng = np.random.default_rng(0)
    updates = list(rng.standard_normal((12, SIZE)))
    got = rounds(edge("top_k", top_share=0.2), updates)
    assert all(np.count_nonzero(np.abs(one) > 1e-6) <= round(0.2 * SIZE) + 1 for one in got)
    left = np.sum(updates, axis=0) - np.sum(got, axis=0)
    without = [restored(largest(u, 0.2), start(SIZE), edge("top_k")) for u in updates]
    lost = np.sum(updates, axis=0) - np.sum(without, axis=0)
    # What is left waits at the client; without feedback it is lost for good.
    assert np.linalg.norm(left) < np.linalg.norm(lost)
    ended = rounds(edge("top_k", top_share=0.2), [*updates, *[np.zeros(SIZE)] * 20])
    assert np.allclose(np.sum(ended, axis=0), np.sum(updates, axis=0), atol=1e-4)


@pytest.mark.parametrize(
    "arrays",
    [
        {"levels": np.zeros(3, np.uint8), "ranges": np.zeros(4)},
        {"levels": np.zeros(SIZE, np.uint8), "ranges": np.zeros(6)},
        {"levels": np.zeros(SIZE, np.float32), "ranges": np.zeros(4)},
        {"other": np.zeros(3)},
    ],
)
def test_what_cannot_be_read_is_quarantined(arrays: dict[str, Any]) -> None:
    record = ArrayRecord({name: Array(value) for name, value in arrays.items()})
    metrics = MetricRecord({"num-examples": 1, "epsilon": 0.0, "server-round": 1})
    reply = Message(RecordDict({"arrays": record, "metrics": metrics}), 1, "train")
    params = edge("quantise")
    _, quarantined = screen(
        1, start(SIZE), [decompressed(reply, start(SIZE), params)], parameters()
    )
    assert [one.reason for one in quarantined] == ["malformed"]


@pytest.mark.parametrize(
    ("params", "least", "most"),
    [
        ({"compression": "quantise", "bits": 8}, 0.2, 0.5),
        ({"compression": "quantise", "bits": 4}, 0.1, 0.4),
        ({"compression": "top_k", "top_share": 0.05}, 0.05, 0.4),
    ],
)
def test_bytes_up_fall_and_the_model_stays_near(
    tmp_path: Path, params: dict[str, Any], least: float, most: float
) -> None:
    plain, small = run(tmp_path / "plain"), run(tmp_path / "small", edge=params)
    assert least < small.report["bytes_up"] / plain.report["bytes_up"] < most
    assert small.report["bytes_down"] == plain.report["bytes_down"]
    away = np.linalg.norm(vector_of(small) - vector_of(plain))
    assert 0 < away < np.linalg.norm(vector_of(plain))
    if params["compression"] == "quantise":
        assert away < (0.02 if params["bits"] == 8 else 0.3) * np.linalg.norm(vector_of(plain))
    again = run(tmp_path / "again", edge=params)
    assert vector_of(again).tobytes() == vector_of(small).tobytes()


def test_compressed_updates_keep_the_privacy_statement(tmp_path: Path) -> None:
    private = {"privacy": "local", "noise_multiplier": 1.0, "epsilon": None, "accountant": "rdp"}
    plain = run(tmp_path / "plain", **private)
    small = run(tmp_path / "small", edge={"compression": "quantise", "bits": 8}, **private)
    assert small.statement == plain.statement
