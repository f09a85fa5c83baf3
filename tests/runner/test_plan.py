"""Cells in their order, and what they are called."""

from __future__ import annotations

from typing import Any

import pytest

from haplobench import SuiteError
from haplobench.runner.plan import plan_cells
from haplobench.suite.load import load_suite


def test_floor_first_then_controls_then_long_ones_seed_after_seed(
    toys: Any, suite_text: str
) -> None:
    suite = load_suite(
        toys.suite_file(suite_text),
        ["generators=[frequency, elsewhere, conditional]", "seeds=[2, 1]"],
        toys.registry(),
    )
    names = [cell.name for cell in plan_cells(suite)]
    assert names == [
        "toy/floor",
        "toy/independent/seed2",
        "toy/independent/seed1",
        "toy/frequency/seed2",
        "toy/elsewhere/seed2",
        "toy/conditional/seed2",
        "toy/frequency/seed1",
        "toy/elsewhere/seed1",
        "toy/conditional/seed1",
    ]
    known = {"toy/frequency/seed2": 60.0, "toy/elsewhere/seed2": 5.0}
    long = [cell.name for cell in plan_cells(suite, known) if cell.seed == 2]
    assert long[1:] == ["toy/conditional/seed2", "toy/frequency/seed2", "toy/elsewhere/seed2"]


def test_cell_ids_say_what_was_asked(toys: Any, suite_text: str) -> None:
    registry = toys.registry()

    def ids(*overrides: str) -> dict[str, str]:
        suite = load_suite(toys.suite_file(suite_text), overrides, registry)
        return {cell.name: cell.cell_id for cell in plan_cells(suite)}

    usual = ids()
    assert len(set(usual.values())) == len(usual) == 3
    # More draws, other metrics, other limits: the same cells.
    assert ids("sample.draws=5", "metrics=[people]", "limits.time=1h") == usual
    other = ids("generators[0].params={pause: 0.5}")
    changed = {name for name in usual if usual[name] != other[name]}
    assert changed == {"toy/frequency/seed1"}
    assert set(ids("datasets[0].filters.min_maf=0.1").values()).isdisjoint(usual.values())


def test_a_generator_may_be_of_some_datasets(toys: Any, suite_text: str) -> None:
    registry = toys.registry()
    overrides = [
        "generators=[{name: frequency, datasets: [halves, b]}, {name: elsewhere, datasets: [a]}, "
        "conditional]",
        "datasets=[{name: toy, label: a}, {name: toy, label: b}, "
        "{name: toy, label: halves, split: {folds: 2}}]",
    ]

    def cells(only: tuple[str, ...] = ()) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        suite = load_suite(toys.suite_file(suite_text), overrides, registry, only=only)
        again = load_suite(toys.suite_file(suite.to_yaml()), [], registry)
        assert plan_cells(again) == plan_cells(suite)
        for cell in plan_cells(suite):
            if cell.generator and cell.generator.role == "generator":
                found.setdefault(cell.generator.label, set()).add(cell.dataset.label)
        return found

    halves = {"halves-fold1", "halves-fold2"}
    assert cells() == {
        "frequency": {"b"} | halves,
        "elsewhere": {"a"},
        "conditional": {"a", "b"} | halves,
    }
    assert cells(("b",)) == {"frequency": {"b"}, "conditional": {"b"}}


def test_a_generator_of_a_dataset_that_is_not_there_is_refused(toys: Any, suite_text: str) -> None:
    with pytest.raises(SuiteError, match=r"datasets\[0\]: the suite has no dataset labelled 'toi'"):
        load_suite(
            toys.suite_file(suite_text),
            ["generators=[{name: frequency, datasets: [toi]}]"],
            toys.registry(),
        )
