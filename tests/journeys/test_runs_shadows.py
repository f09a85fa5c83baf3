"""What attacks need of a run: a cohort of train's size, shadow cohorts, the claim of privacy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from haplobench.results.records import Record
from haplobench.results.run_folder import RunFolder
from haplobench.runner.run import RunOutcome, run_suite
from haplobench.suite.load import load_suite

# Every test runs shadows of its own.
pytestmark = pytest.mark.slow

ATTACKS = '''
"""A generator that keeps its people and says what it claims, and a metric that looks at it."""
import numpy as np
from haplobench import (
    GeneratorSpec, Measurement, MetricResult, MetricSpec, Params, PrivacyStatement, SubmetricSpec,
    hookimpl,
)


class KeeperParams(Params):
    misbehave: str = ""
    budget: float = 3.0


class Kept:
    def __init__(self, haplotypes):
        self.haplotypes = haplotypes

    def save(self, directory):
        np.save(directory / "haplotypes.npy", self.haplotypes)

    def sample(self, request, ctx):
        rows = (request.start + np.arange(request.n_haplotypes)) % len(self.haplotypes)
        for low in range(0, rows.size, request.batch_size):
            yield self.haplotypes[rows[low : low + request.batch_size]]

    def privacy_statement(self):
        return PrivacyStatement(3.0, 0.01, "person", "none", "all")


class Keeper:
    def fit(self, train, params, ctx):
        if params.misbehave == "shadow" and train.n_samples < 15:
            raise ZeroDivisionError("boom in a small fit")
        return Kept(np.ascontiguousarray(train.haplotypes))

    def load(self, directory, ctx):
        return Kept(np.load(directory / "haplotypes.npy"))


class Look:
    def __init__(self, reference, params, ctx):
        self.reference, self.ctx = reference, ctx

    def update(self, cohort):
        self.cohort = cohort

    def result(self):
        train, holdout = self.reference.train, self.reference.holdout
        people = {row.tobytes() for row in self.cohort.haplotypes}
        found = {
            "size": self.cohort.n_haplotypes,
            "copied": np.mean([row.tobytes() in people for row in train.haplotypes]),
            "claim": self.ctx.privacy_statement.epsilon if self.ctx.privacy_statement else None,
            "shadows": len(self.ctx.shadows),
        }
        told = []
        for shadow in self.ctx.shadows:
            kept = {row.tobytes() for row in shadow.cohort().haplotypes}
            for panel, members in ((train, shadow.train), (holdout, shadow.holdout)):
                inside = np.array([row.tobytes() in kept for row in panel.haplotypes[::2]])
                told.append((inside == members).mean())
        found["told"] = np.mean(told) if told else None
        return MetricResult({name: Measurement(value) for name, value in found.items()})


def look(name, **more):
    numbers = ("size", "copied", "claim", "shadows", "told")
    return MetricSpec(
        name=name, version="1", target="toy_attacks:Look", summary="Toy.", family="privacy",
        floor="holdout", submetrics=tuple(
            SubmetricSpec(name=one, title=one, definition="Toy.", direction="info")
            for one in numbers
        ), **more,
    )


@hookimpl
def haplobench_generators():
    return [
        GeneratorSpec(
            name="keeper", version="1", target="toy_attacks:Keeper", summary="Toy.",
            params=KeeperParams,
        )
    ]


@hookimpl
def haplobench_metrics():
    return [look("draws"), look("whole", cohort="train"), look("shadowed", shadows=True)]
'''


@pytest.fixture
def attack(toys: Any, suite_text: str, shared_out: Path) -> Any:
    toys.write("toy_attacks", ATTACKS)
    registry = toys.registry("toy_attacks")

    def run(*overrides: str) -> RunOutcome:
        suite = load_suite(
            toys.suite_file(suite_text), ["generators=[keeper]", *overrides], registry
        )
        return run_suite(suite, registry, shared_out)

    return run


def found(outcome: RunOutcome, metric: str, generator: str = "keeper") -> list[Record]:
    records = RunFolder(outcome.run_folder).records()
    return [r for r in records if r.metric == metric and r.generator == generator]


def values(records: list[Record]) -> dict[str, list[float | None]]:
    table: dict[str, list[float | None]] = {}
    for record in records:
        table.setdefault(record.submetric, []).append(record.value)
    return table


def test_attacks_get_a_cohort_of_trains_size_and_the_claim(attack: Any) -> None:
    outcome = attack("metrics=[draws, whole]")
    assert outcome.exit_code == 0
    # 24 people, 6 held out.
    drawn, whole = values(found(outcome, "draws")), values(found(outcome, "whole"))
    assert drawn["size"] == [12, 12]
    assert drawn["copied"] == pytest.approx([1 / 3, 1 / 3])
    assert whole["size"] == [36]
    assert whole["copied"] == [1]
    assert whole["claim"] == [3]
    assert values(found(outcome, "whole", "independent"))["claim"] == [None]
    assert values(found(outcome, "whole", "floor"))["size"] == [6, 6]
    # What is drawn for fidelity doesn't depend on what the attacks ask for.
    alone = attack("metrics=[draws]")
    assert values(found(alone, "draws")) == drawn


def test_the_run_keeps_what_its_cells_claim(attack: Any) -> None:
    """Also where a parameter is infinite, which JSON can't hold."""
    outcome = attack(
        "metrics=[whole]",
        "generators=[{name: keeper, params: {budget: .inf}}]",
        "seeds=[1, 2]",
    )
    info = RunFolder(outcome.run_folder).info()
    told = [(one["generator"], one["seed"], one["epsilon"], one["delta"]) for one in info["claims"]]
    assert told == [("keeper", 1, 3.0, 0.01), ("keeper", 2, 3.0, 0.01)]
    assert info["generators"]["keeper"]["params"]["budget"] == "inf"
    row, whole = info["privacy_totals"]
    # Two fits that claim no more than (3, 0.01): at 0.02 and one more 0.01 to compose with.
    assert (row["generator"], row["fits"], row["shadow_fits"]) == ("keeper", 2, 0)
    assert 3.0 < row["epsilon"] <= 6.0
    assert row["delta"] == pytest.approx(0.03)
    assert whole["datasets"] == row["datasets"]
    assert whole["epsilon"] == row["epsilon"]
    assert whole["without_bound"] == ["independent"]  # a control: it claims nothing
    # A run that finds everything in the store tells it again.
    again = attack(
        "metrics=[whole, draws]",
        "generators=[{name: keeper, params: {budget: .inf}}]",
        "seeds=[1, 2]",
    )
    for key in ("claims", "privacy_totals"):
        assert RunFolder(again.run_folder).info()[key] == info[key]


def test_shadows_are_fitted_on_who_is_said(attack: Any) -> None:
    outcome = attack("metrics=[shadowed]", "shadows=4")
    assert outcome.exit_code == 0
    table = values(found(outcome, "shadowed"))
    # Of four shadows a person is in two; their numbers are published, and so count.
    totals = RunFolder(outcome.run_folder).info()["privacy_totals"]
    assert all(one["shadow_fits"] == 2 * one["fits"] for one in totals)
    assert table["shadows"] == [4, 4]
    assert table["told"] == [1, 1]
    floor = found(outcome, "shadowed", "floor")
    assert {r.note for r in floor} == {"nothing was fitted"}


def test_without_shadows_their_metrics_do_not_apply(attack: Any) -> None:
    records = found(attack("metrics=[shadowed]"), "shadowed")
    assert {r.status for r in records} == {"not-applicable"}
    assert "shadows: 8" in records[0].note


def test_a_shadow_that_fails_costs_its_metrics_alone(attack: Any) -> None:
    outcome = attack(
        "metrics=[shadowed, whole]",
        "shadows=2",
        "generators=[{name: keeper, params: {misbehave: shadow}}]",
    )
    assert outcome.exit_code == 1
    (record,) = found(outcome, "shadowed")
    assert record.status == "failed"
    assert "boom in a small fit" in record.error
    assert values(found(outcome, "whole"))["copied"] == [1]
