"""Progress of a run: what a reporter is told, and reporters for terminals and for logs."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from haplobench.plugin import StageEvent
from haplobench.units import counted, format_duration

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID


class ProgressReporter:
    """Told how a run goes, from several threads; says nothing. Others override what they show."""

    def start(self, suite: str, run_folder: Path, estimate: Estimate) -> None:
        """A run begins; its cells are those of the estimate."""

    def message(self, text: str) -> None:
        """Something that the user should read, one line."""

    def stage_started(self, cell: str, stage: str) -> None:
        """A stage's process starts."""

    def stage_progress(self, cell: str, stage: str, fraction: float, message: str) -> None:
        """How far a stage is: 0-1 and the plugin's words."""

    def stage_finished(self, event: StageEvent) -> None:
        """A stage ended, or its stored result was found."""

    def cell_finished(self, cell: str, failures: int) -> None:
        """A cell ended, with so many failures."""

    def stop(self) -> None:
        """The run ended, however it did."""


_SEED = re.compile(r"/seed\d+")


class Estimate:
    """Seconds that remain: of each cell left what it is expected to take, by what is most like it.

    What it took in an earlier run; else what its generator took with another seed; else, by the
    number of cohorts that are measured, the median of those cells that are done.

    Parameters
    ----------
    cells : mapping
        Cells, each with the seconds expected of it, if that is known.
    cohorts : mapping
        How many cohorts each of them measures; 1 where it isn't said.
    """

    def __init__(
        self, cells: Mapping[str, float | None], cohorts: Mapping[str, int] | None = None
    ) -> None:
        self.cells = frozenset(cells)
        self.open = dict(cells)
        self.total = len(cells)
        self.cohorts = cohorts or {}
        self.began = time.monotonic()
        self.taken = {cell: seconds for cell, seconds in cells.items() if seconds is not None}
        self.started: dict[str, float] = {}

    def begin(self, cell: str) -> None:
        """A cell's first stage starts; datasets, which are prepared too, are no cells."""
        if cell in self.open:
            self.started.setdefault(cell, time.monotonic())

    def end(self, cell: str) -> None:
        """A cell ended."""
        self.open.pop(cell, None)
        if cell in self.started:
            self.taken[cell] = time.monotonic() - self.started.pop(cell)

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.began

    @property
    def left(self) -> str:
        """`, about 3m05s to go`; empty while nothing is known, and at the end."""
        seconds = self.remaining()
        return f", about {format_duration(seconds)} to go" if seconds else ""

    def remaining(self) -> float | None:
        """Seconds to go; None while nothing is known."""
        if not self.taken or not self.open:
            return None if self.open else 0.0
        alike: dict[str, list[float]] = {}
        rates = []
        for cell, seconds in self.taken.items():
            alike.setdefault(_SEED.sub("", cell), []).append(seconds)
            rates.append(seconds / self.cohorts.get(cell, 1))
        rate, now = median(rates), time.monotonic()

        def left(cell: str, seconds: float | None) -> float:
            if seconds is None:
                same = alike.get(_SEED.sub("", cell))
                seconds = median(same) if same else rate * self.cohorts.get(cell, 1)
            return max(0.0, seconds - (now - self.started.get(cell, now)))

        work = [left(cell, seconds) for cell, seconds in self.open.items()]
        # However many run side by side, the longest isn't shared.
        return max(sum(work) / max(1, len(self.started)), *work)


class LineReporter(ProgressReporter):
    """Plain lines, for logs and pipes: cell, stage, seconds."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.lock = threading.Lock()
        self.estimate = Estimate({})
        self.done = 0

    def _print(self, text: str) -> None:
        with self.lock:
            self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def start(self, suite: str, run_folder: Path, estimate: Estimate) -> None:
        """Say where the run lies and how many cells it has."""
        self.estimate = estimate
        self._print(f"{suite}: {counted(estimate.total, 'cell')}, results in {run_folder}")

    def message(self, text: str) -> None:
        """Print it."""
        self._print(text)

    def stage_started(self, cell: str, stage: str) -> None:
        """Note the time."""
        self.estimate.begin(cell)

    def stage_finished(self, event: StageEvent) -> None:
        """One line, two where something went wrong."""
        self._print(stage_line(event))

    def cell_finished(self, cell: str, failures: int) -> None:
        """How many cells are done, and what remains."""
        self.estimate.end(cell)
        self.done += 1
        self._print(
            f"[{self.done}/{self.estimate.total}] {cell} done after "
            f"{format_duration(self.estimate.elapsed)}{self.estimate.left}"
        )


def stage_line(event: StageEvent) -> str:
    """`chr20-eur/markov/seed1 fit 0.8s`, with the status where it isn't ok.

    A stage's process also starts Python, loads libraries and reads its panel: what of it is the
    plugin's own, which tables show, is said beside it.
    """
    seconds = "stored" if event.status == "cached" else format_duration(event.wall)
    if event.own is not None:
        seconds += f" (the generator's own {format_duration(event.own)})"
    line = f"{event.cell} {event.stage} {seconds}"
    if event.status not in ("ok", "cached"):
        line += f" {event.status.upper()}"
        if event.message:
            line += f": {event.message.splitlines()[0]}"
    return line


_WIDE = 110
_CLOCK = 10
"""Columns from which the bars are long; columns of the elapsed time and the gaps."""


def _tail(text: str, room: int) -> str:
    """The end of a name, which tells cells apart, where it is too long."""
    return text if len(text) <= room else f"…{text[1 - room :]}"


def _head(text: str, room: int) -> str:
    return text if len(text) <= room else f"{text[: room - 1]}…"


class LiveReporter(ProgressReporter):
    """A terminal: a bar over all cells, and a line for each that is running."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.lock = threading.RLock()
        self.estimate = Estimate({})
        self.progress: Progress | None = None
        self.overall: TaskID | None = None
        self.lines: dict[str, TaskID] = {}
        self.name_room = self.state_room = 40

    def start(self, suite: str, run_folder: Path, estimate: Estimate) -> None:
        """Draw the bar."""
        from rich.markup import escape
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self.estimate = estimate
        bar = 24 if self.console.width >= _WIDE else 10
        room = max(20, self.console.width - bar - _CLOCK)
        self.name_room = room * 9 // 20
        self.state_room = min(room - self.name_room, 56)
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=bar),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
            refresh_per_second=4,
        )
        self.progress.start()
        self.overall = self.progress.add_task(
            f"[bold]{escape(_tail(suite, self.name_room))}[/]",
            total=max(1, estimate.total),
            state="",
        )
        self._state()

    def _state(self) -> None:
        if self.progress is None or self.overall is None:
            return
        done = self.estimate.total - len(self.estimate.open)
        state = f"{done} of {self.estimate.total} cells{self.estimate.left}"
        self.progress.update(self.overall, completed=done, state=_head(state, self.state_room))

    def message(self, text: str) -> None:
        """Print it above the bars."""
        with self.lock:
            self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def stage_started(self, cell: str, stage: str) -> None:
        """A line for the cell, or a new stage on its line."""
        from rich.markup import escape

        with self.lock:
            self.estimate.begin(cell)
            if self.progress is None:
                return
            if cell not in self.lines:
                name = escape(_tail(cell, self.name_room))
                self.lines[cell] = self.progress.add_task(name, total=1.0, state=stage)
            self.progress.reset(self.lines[cell], total=1.0, state=stage)

    def stage_progress(self, cell: str, stage: str, fraction: float, message: str) -> None:
        """Move the cell's bar."""
        from rich.markup import escape

        with self.lock:
            if self.progress is not None and cell in self.lines:
                words = f"{stage}  {message}" if message else stage
                state = escape(_head(words, self.state_room))
                share = min(max(fraction, 0.0), 1.0)
                self.progress.update(self.lines[cell], completed=share, state=state)
            self._state()

    def stage_finished(self, event: StageEvent) -> None:
        """Print failures, which must not scroll away unseen; take a dataset's line away."""
        with self.lock:
            dataset = event.cell not in self.estimate.cells
            if dataset and self.progress is not None and event.cell in self.lines:
                self.progress.remove_task(self.lines.pop(event.cell))
            if event.status not in ("ok", "cached"):
                self.console.print(
                    stage_line(event), style="red", markup=False, highlight=False, soft_wrap=True
                )

    def cell_finished(self, cell: str, failures: int) -> None:
        """Take the cell's line away, and leave one that says how long it took."""
        with self.lock:
            began = self.estimate.started.get(cell)
            self.estimate.end(cell)
            if self.progress is not None and cell in self.lines:
                self.progress.remove_task(self.lines.pop(cell))
            wall = format_duration(time.monotonic() - began) if began else "stored"
            mark = "[red]✗[/]" if failures else "[green]✓[/]"
            from rich.markup import escape

            self.console.print(f"{mark} {escape(cell)} [dim]{wall}[/]", highlight=False)
            self._state()

    def stop(self) -> None:
        """Take the bars away."""
        with self.lock:
            if self.progress is not None:
                self.progress.stop()
                self.progress = None


def reporter_for(console: Console) -> ProgressReporter:
    """Bars on a terminal, plain lines elsewhere."""
    return LiveReporter(console) if console.is_terminal else LineReporter(console)
