"""Reports: terminal tables, figures, Markdown, CSV and one self-contained HTML page.

Light to import: pandas, altair and jinja2 are loaded by the functions that need them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from haplobench.compare.model import Comparison

FORMATS = ("html", "md", "csv", "svg")


@dataclass(frozen=True)
class ReportPaths:
    """What `write_report` wrote: None or empty for formats not asked for.

    `problems` names, one line each, the figures that could not be drawn.
    """

    folder: Path
    html: Path | None = None
    markdown: Path | None = None
    csv: tuple[Path, ...] = ()
    figures: tuple[Path, ...] = ()
    problems: tuple[str, ...] = field(default=())

    def __iter__(self) -> Iterator[Path]:
        """The files to name to a user: the pages and tables, then the folder of figures."""
        yield from (path for path in (self.html, self.markdown, *self.csv) if path)
        if self.figures:
            yield self.folder / "figures"


def write_report(
    run_folder: Path, out: Path | None = None, formats: Sequence[str] = FORMATS
) -> ReportPaths:
    """Write the report of a run into `out` (default: `report/` in the run folder).

    `formats` are of `html`, `md`, `csv`, `svg` and `png`. Files are written whole or not at all.

    Raises
    ------
    BenchError
        If the folder holds no run, or a format is unknown, or the extra `report` is missing.
    """
    from haplobench.report.write import write

    return write(Path(run_folder), None if out is None else Path(out), tuple(formats))


def print_run(run_folder: Path, console: Console) -> None:
    """Print a run's headline tables, one per dataset, and what failed, to a rich console.

    Raises
    ------
    BenchError
        If the folder holds no run or the extra `report` is missing.
    """
    from haplobench.report.load import load_run
    from haplobench.report.summary import summarise
    from haplobench.report.terminal import print_summary

    print_summary(summarise(load_run(Path(run_folder))), console)


def render_comparison(comparison: Comparison) -> str:
    """A comparison of two runs as one self-contained HTML page.

    Raises
    ------
    BenchError
        If the extra `report` is missing.
    """
    from haplobench.report.comparison_page import render_comparison as render

    return render(comparison)
