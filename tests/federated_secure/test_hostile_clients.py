"""Quarantine, rules of aggregation, attacks; which can't go with secure aggregation."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from hostile_clients import attacked, poisoned, thinned
from secure_helpers import parameters, start

from haplobench.testing import example_context, example_panel
from haplobench_federated.aggregation import Screened, combine, screen
from haplobench_federated.client_app import update_norm_mod
from haplobench_federated.family import WindowCodeFamily
from haplobench_federated.federation import Federated, federate
from haplobench_federated.grid import new_context, node_id
from haplobench_federated.training import People
from haplobench_federated.updates import difference, flat

SIZE = 60


def reply_of(client: int, update: Any, number: int = 1, **metrics: Any) -> Message:
    begun = start(SIZE)
    values = np.split(np.asarray(update, np.float64), [SIZE // 2])
    arrays = {
        name: Array(np.asarray(array.numpy() + change.reshape(array.shape), np.float32))
        for (name, array), change in zip(begun.items(), values, strict=True)
    }
    said = {"num-examples": 10, "epsilon": 0.0, "server-round": number} | metrics
    content = RecordDict({"arrays": ArrayRecord(arrays), "metrics": MetricRecord(said)})
    message = Message(content, 1, "train")
    message.metadata.__dict__["_src_node_id"] = node_id(client)
    return message


def honest(clients: int, seed: int = 0) -> list[Any]:
    rng = np.random.default_rng(seed)
    common = rng.standard_normal(SIZE)
    return [common + 0.3 * rng.standard_normal(SIZE) for _ in range(clients)]


def screened(replies: list[Message], **changes: Any) -> Screened:
    return screen(1, start(SIZE), replies, parameters(clients=8, **changes))


def reasons(found: Screened) -> list[tuple[int, str]]:
    return [(one.client, one.reason) for one in found.quarantined]


def test_honest_replies_pass() -> None:
    replies = [reply_of(c, u) for c, u in enumerate(honest(8))]
    found = screened(replies, robust={"screen": True, "update_norm": 100.0})
    assert found.kept == replies
    assert not found.quarantined


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
    assert not found.kept


def test_the_screen_finds_scaled_flipped_and_idle_clients() -> None:
    updates = honest(8)
    attacks = {1: 5.0, 4: -1.0, 6: 0.0}
    replies = [reply_of(c, u * attacks.get(c, 1.0)) for c, u in enumerate(updates)]
    assert reasons(screened(replies, robust={"screen": True})) == [
        (1, "long"), (4, "direction"), (6, "short"),
    ]  # fmt: skip
    assert not screened(replies).quarantined  # only where it is asked for


def combined(updates: list[Any], quarantined: int = 0, **robust: Any) -> Any:
    params = parameters(clients=max(len(updates), 3), robust=robust).aggregation.robust
    replies = [reply_of(c, u) for c, u in enumerate(updates)]
    found = combine(params, 1, start(SIZE), replies, quarantined)
    if not found:
        return None
    (one,) = found
    return flat(difference(one.content["arrays"], start(SIZE)))


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


@settings(deadline=None, max_examples=25)
@given(norm=st.floats(1e-3, 1e3), bound=st.floats(1e-2, 1e2))
def test_clients_keep_to_the_declared_bound(norm: float, bound: float) -> None:
    update = np.asarray(honest(1)[0])
    update *= norm / np.linalg.norm(update)
    message = Message(RecordDict({"arrays": start(SIZE)}), node_id(0), "train")
    mod = update_norm_mod(bound)
    reply = mod(message, new_context(0, {}), lambda m, c: reply_of(0, update))
    sent = flat(difference(reply.content["arrays"], start(SIZE)))
    assert np.allclose(sent, update * min(1, bound / norm), atol=1e-6 + 1e-6 * norm)
    assert not screened([reply], robust={"update_norm": bound}).quarantined or bound < 0.1


def test_poisoned_people_have_alleles_exchanged_and_another_label() -> None:
    people = People(np.array([[[0, 1, -1]]], np.int8), np.array([2]))
    wrong = poisoned(people, 3)
    assert wrong.haplotypes.tolist() == [[[1, 0, -1]]]
    assert wrong.population.tolist() == [0]


def run(folder: Path, attack: str, **changes: Any) -> Federated:
    folder.mkdir(parents=True, exist_ok=True)
    panel = example_panel(n_samples=64, n_sites=40, seed=3)
    params = parameters(
        clients=8,
        rounds=3,
        sampling_rate=1.0,
        **changes,
    )
    factor = {"sign_flip": -20.0, "scale": 20.0, "free_ride": 0.0}.get(attack, 1.0)
    populations = np.unique(panel.population).size
    simulation = attacked(attack, 2, factor, populations) if attack else None
    ctx = example_context(folder, panel, 0)
    return federate(panel, params, ctx, WindowCodeFamily(), simulation)


def vector(result: Federated) -> Any:
    return np.concatenate([v.numpy().ravel() for v in result.model.state_dict().values()])


@pytest.mark.parametrize("attack", ["sign_flip", "scale", "label_flip", "free_ride"])
def test_attacked_federations_stay_near_the_clean_one(tmp_path: Path, attack: str) -> None:
    clean = vector(run(tmp_path / "clean", ""))
    away = {
        rule: np.linalg.norm(vector(run(tmp_path / rule, attack, robust=robust)) - clean)
        for rule, robust in {
            "mean": {},
            "multi_krum": {"rule": "multi_krum", "hostile": 2},
            "trimmed_mean": {"rule": "trimmed_mean", "hostile": 2},
            "median": {"rule": "median", "hostile": 2},
        }.items()
    }
    if attack in ("sign_flip", "scale"):
        assert max(away[rule] for rule in away if rule != "mean") < away["mean"] / 3
    else:  # little harm, and little more of it by a rule
        assert away["mean"] < np.linalg.norm(clean)
        assert away["median"] < 2 * away["mean"] + 1


def test_the_quarantined_are_counted_in_the_report_and_rounds(tmp_path: Path) -> None:
    result = run(tmp_path, "scale", robust={"screen": True})
    assert result.report["quarantined"] == {"client-0": {"long": 3}, "client-1": {"long": 3}}
    for one in result.report["rounds"]:
        assert one["averaged"] == 6
        assert [(q["client"], q["reason"]) for q in one["quarantined"]] == [
            (0, "long"),
            (1, "long"),
        ]
    assert json.dumps(result.report, allow_nan=False)


def test_hostile_clients_that_are_scaled_down_by_nobody_break_the_bound(tmp_path: Path) -> None:
    result = run(tmp_path, "scale", robust={"update_norm": 1.0})
    assert result.report["quarantined"] == {"client-0": {"bound": 3}, "client-1": {"bound": 3}}


@pytest.mark.parametrize("kind", ["secagg", "homomorphic"])
@pytest.mark.parametrize(
    "robust",
    [
        {"rule": "krum", "hostile": 1},
        {"rule": "multi_krum", "hostile": 1},
        {"rule": "trimmed_mean", "hostile": 1},
        {"rule": "median", "hostile": 1},
        {"screen": True},
    ],
)
def test_what_needs_single_updates_is_refused_with_secure_aggregation(
    kind: str, robust: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="needs to see single updates; only robust.update_norm"):
        parameters(clients=8, secure={"kind": kind}, robust=robust)
    parameters(clients=8, secure={"kind": kind}, robust={"update_norm": 1.0})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"secure": {"kind": "secagg"}, "clients": 2}, "expected at least 3"),
        (
            {"secure": {"kind": "secagg"}, "privacy": "central", "noise_multiplier": 1.0},
            "whose server clips each update",
        ),
        ({"robust": {"rule": "krum", "hostile": 1}, "clients": 4}, "expected at least 5"),
        ({"robust": {"hostile": 1}}, "the mean bears no hostile client"),
        (
            {"robust": {"rule": "median"}, "privacy": "central", "noise_multiplier": 1.0},
            "made for an average",
        ),
        (
            {"robust": {"screen": True}, "privacy": "central", "noise_multiplier": 1.0},
            "robust.screen: can't be combined with central privacy",
        ),
        ({"attack": {"kind": "scale"}}, "attack: is no parameter .*hostile_clients.py"),
        ({"attack": {"kind": "scale", "clients": 2}}, "attack: is no parameter"),
        ({"lacking_sites": 0.2}, "lacking_sites: is no parameter"),
        ({"missing_alleles": 0.1}, "missing_alleles: is no parameter"),
    ],
)
def test_parameters_that_contradict_each_other(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parameters(**changes)


def test_thinned_panels_lack_what_was_asked() -> None:
    people = example_panel(n_samples=48, n_sites=40, seed=3)
    own = thinned(people, 0.25, 0.1, np.random.default_rng(0))
    assert 0.6 < own.n_sites / people.n_sites < 0.9
    assert (own.haplotypes == -1).mean() == pytest.approx(0.1, abs=0.02)
    whole = thinned(people, 0.0, 0.0, np.random.default_rng(0))
    assert whole.digest == people.digest
