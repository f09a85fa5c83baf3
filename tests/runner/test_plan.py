"""Plan, executors and what a reporter shows."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from haplobench.plugin.hooks import StageEvent
from haplobench.runner.executors.local import LocalExecutor
from haplobench.runner.plan import plan_cells
from haplobench.runner.progress import LineReporter, LiveReporter, reporter_for
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


@pytest.mark.parametrize("jobs", [1, 2, 1000])
def test_jobs_are_cells_side_by_side(jobs: int) -> None:
    assert LocalExecutor(jobs).slots == jobs


def tell(reporter: Any) -> None:
    reporter.start("toy", Path("results/toy/1"), {"toy/floor": 2.0, "toy/[a]/seed1": None})
    reporter.stage_started("toy/floor", "measure")
    reporter.stage_progress("toy/floor", "measure", 0.5, "ld-decay.0 [not markup]")
    reporter.stage_finished(StageEvent("toy/floor", "measure", "ok", 1.25))
    reporter.cell_finished("toy/floor", 0)
    reporter.stage_started("toy/[a]/seed1", "fit")
    reporter.stage_finished(
        StageEvent("toy/[a]/seed1", "fit", "timeout", 90.0, "ran past its limit\nFile x")
    )
    reporter.cell_finished("toy/[a]/seed1", 1)
    reporter.message("waiting for process 7")
    reporter.stop()


def test_plain_lines_for_logs() -> None:
    console = Console(file=io.StringIO(), width=200)
    reporter = reporter_for(console)
    assert isinstance(reporter, LineReporter)
    tell(reporter)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert lines[0] == "toy: 2 cells, results in results/toy/1"
    assert lines[1] == "toy/floor measure 1.2s"
    assert lines[2].startswith("[1/2] toy/floor done after 0.0s")
    assert lines[3] == "toy/[a]/seed1 fit 1m30s TIMEOUT: ran past its limit"
    assert lines[-1] == "waiting for process 7"


def test_bars_on_a_terminal() -> None:
    console = Console(file=io.StringIO(), width=120, force_terminal=True)
    reporter = reporter_for(console)
    assert isinstance(reporter, LiveReporter)
    tell(reporter)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "✓" in text
    assert "toy/[a]/seed1" in text
    assert "TIMEOUT: ran past its limit" in text
    assert reporter.lines == {}


def test_bars_fit_a_narrow_terminal_and_a_prepared_dataset_leaves_them() -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    reporter = LiveReporter(console)
    cell = "a-rather-long-label-of-a-dataset/a-rather-long-label-of-a-generator/seed1"
    reporter.start("a suite", Path("results"), {cell: 100.0})
    reporter.stage_started("a-rather-long-label-of-a-dataset", "prepare")
    assert set(reporter.lines) == {"a-rather-long-label-of-a-dataset"}
    reporter.stage_finished(StageEvent("a-rather-long-label-of-a-dataset", "prepare", "ok", 1.0))
    assert reporter.lines == {}
    reporter.stage_started(cell, "fit")
    reporter.stage_progress(cell, "fit", 0.5, "windows 1-2 of 2, epoch 24 of 50, loss 0.123456")
    assert reporter.progress is not None
    plain = Console(file=io.StringIO(), width=80)
    plain.print(reporter.progress.get_renderable())
    reporter.stop()
    first, second = plain.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert "0 of 1 cells, about 1m40s to go" in first
    assert "generator/seed1" in second
    assert "fit  windows 1-2" in second
    assert second.rstrip().endswith("0:00:00")
