"""Cells in their order, and what they are called."""

from __future__ import annotations

from typing import Any

from haplobench.runner.plan import plan_cells
from haplobench.suite.load import load_suite


def test_floor_first_then_controls_then_quick_ones_seed_after_seed(
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
    quick = [cell.name for cell in plan_cells(suite, known) if cell.seed == 2]
    assert quick[1:] == ["toy/conditional/seed2", "toy/elsewhere/seed2", "toy/frequency/seed2"]


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
