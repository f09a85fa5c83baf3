"""Federations under attack, as `benchmarks/hostile_clients.py` simulates it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile_clients import attacked, poisoned, thinned
from secure_helpers import parameters

from haplobench.testing import example_context, example_panel
from haplobench_federated.federation import Federated, federate
from haplobench_federated.model import WindowCodeFamily
from haplobench_federated.training import People


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


def test_poisoned_people_have_alleles_exchanged_and_another_label() -> None:
    people = People(np.array([[[0, 1, -1]]], np.int8), np.array([2]))
    wrong = poisoned(people, 3)
    assert wrong.haplotypes.tolist() == [[[1, 0, -1]]]
    assert wrong.population.tolist() == [0]


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


def test_thinned_panels_lack_what_was_asked() -> None:
    people = example_panel(n_samples=48, n_sites=40, seed=3)
    own = thinned(people, 0.25, 0.1, np.random.default_rng(0))
    assert 0.6 < own.n_sites / people.n_sites < 0.9
    assert (own.haplotypes == -1).mean() == pytest.approx(0.1, abs=0.02)
    whole = thinned(people, 0.0, 0.0, np.random.default_rng(0))
    assert whole.digest == people.digest
