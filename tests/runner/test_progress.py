"""What a reporter shows, and what it says remains."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from haplobench.plugin import StageEvent
from haplobench.runner.progress import (
    Estimate,
    LineReporter,
    LiveReporter,
    reporter_for,
    stage_line,
)


def test_what_remains_is_estimated_from_what_is_known() -> None:
    unknown = Estimate({"a": None, "b": None})
    assert unknown.remaining() is None
    known = Estimate({"a": 10.0, "b": None, "c": 20.0})
    assert known.remaining() == pytest.approx(45.0)
    known.end("c")
    assert known.remaining() == pytest.approx(25.0)


def test_what_remains_is_told_by_what_is_most_like_it(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("haplobench.runner.progress.time.monotonic", lambda: clock[0])
    cells = ["d/floor", "d/slow/seed1", "d/quick/seed1", "d/slow/seed2", "d/quick/seed2"]
    estimate = Estimate(dict.fromkeys(cells), {"d/floor": 10})

    def take(cell: str, seconds: float) -> None:
        estimate.begin(cell)
        clock[0] += seconds
        estimate.end(cell)

    take("d/floor", 30)  # ten cohorts: what a cohort takes says what others do
    assert estimate.remaining() == pytest.approx(4 * 3)
    take("d/slow/seed1", 300)
    take("d/quick/seed1", 1)
    # By the mean of what was done, 28 cells of very different length promised anything.
    assert estimate.remaining() == pytest.approx(301)
    estimate.begin("d/slow/seed2")
    estimate.begin("d/quick/seed2")
    clock[0] += 1
    assert estimate.remaining() == pytest.approx(299)  # side by side, the longest isn't shared


def test_a_line_says_what_of_a_stage_was_the_generators_own() -> None:
    event = StageEvent("d/markov/seed1", "fit", "ok", 11.0, own=0.157)
    assert stage_line(event) == "d/markov/seed1 fit 11s (the generator's own 0.2s)"


def tell(reporter: Any) -> None:
    cells = {"toy/floor": 2.0, "toy/[a]/seed1": None}
    reporter.start("toy", Path("results/toy/1"), Estimate(cells))
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


def test_plain_lines_for_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("haplobench.runner.progress.time.monotonic", lambda: 0.0)
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
    reporter.start("a suite", Path("results"), Estimate({cell: 100.0}))
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
