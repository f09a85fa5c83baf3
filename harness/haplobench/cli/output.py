"""What the commands share: arguments that name runs, and output.

Nothing that a file holds can command the terminal.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from haplobench.files import printable

if TYPE_CHECKING:
    from rich.console import Console


RunArgument = Annotated[
    str,
    typer.Argument(
        help="Take this run: a run folder, a run's id, or a suite's name for its newest run "
        "(SUITE@RUN, SUITE@-2: another)."
    ),
]
RunsOption = Annotated[Path, typer.Option("--out", help="Look for runs in this folder.")]
OutOption = Annotated[Path, typer.Option("--out", help="Write runs into this folder.")]
RUNS = Path("results")
AllOption = Annotated[
    bool, typer.Option("--all", help="Show all numbers, not only those of the main table.")
]
BaselinesOption = Annotated[
    Path, typer.Option("--baselines", help="Keep baselines in this folder.")
]
BASELINES = Path("results/baselines")


def echo(text: object, *, err: bool = False, nl: bool = True) -> None:
    """Print a text, its control characters as escapes; once nobody reads it, into nothing."""
    try:
        typer.echo(printable(str(text)), err=err, nl=nl)
    except BrokenPipeError:
        hush()


def hush() -> None:
    """Nobody reads the output any more (`bench show | head`): what is to come goes nowhere.

    The command goes on, and ends as it would have.
    """
    nothing = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and _hung_up(stream.fileno()):
            os.dup2(nothing, stream.fileno())
    os.close(nothing)


def _hung_up(descriptor: int) -> bool:
    """Whether the other end of a pipe or a terminal is gone."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def make_console(**settings: Any) -> Console:
    """A console that shows control characters as escapes; `settings` are rich's.

    Square brackets are markup only where `markup=True` is asked for.
    """
    return _console_class()(**{"markup": False, **settings})


@cache
def _console_class() -> type[Console]:
    from rich.console import Console

    class SafeConsole(Console):
        def on_broken_pipe(self) -> None:
            hush()

        def render(self, renderable: Any, options: Any = None) -> Any:
            for segment in super().render(renderable, options):
                text = segment.text if segment.control else printable(segment.text)
                yield segment if text is segment.text else segment._replace(text=text)

    return SafeConsole


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Look for no circular garbage meanwhile: records hold none, and are many."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
