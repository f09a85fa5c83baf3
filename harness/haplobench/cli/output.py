"""What the commands share: arguments that name runs, and output.

Nothing that a file holds can command the terminal.
"""

from __future__ import annotations

import contextlib
import gc
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
RUNS = Path("results")
BaselinesOption = Annotated[
    Path, typer.Option("--baselines", help="Keep baselines in this folder.")
]
BASELINES = Path("results/baselines")


def echo(text: object, *, err: bool = False, nl: bool = True) -> None:
    """Print a text, its control characters as escapes."""
    typer.echo(printable(str(text)), err=err, nl=nl)


def make_console(**settings: Any) -> Console:
    """A console that shows control characters as escapes; `settings` are rich's.

    Square brackets are markup only where `markup=True` is asked for.
    """
    return _console_class()(**{"markup": False, **settings})


@cache
def _console_class() -> type[Console]:
    from rich.console import Console

    class SafeConsole(Console):
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
