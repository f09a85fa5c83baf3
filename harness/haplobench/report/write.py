"""Writing a run's report: every form asked for, each file whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from haplobench.errors import BenchError
from haplobench.files import write_whole
from haplobench.report.csv import render_claims, render_tidy, render_wide
from haplobench.report.figures import draw_boards, draw_figures
from haplobench.report.html import render_html
from haplobench.report.leaderboard.board import Leaderboard, leaderboards
from haplobench.report.leaderboard.texts import render_csv
from haplobench.report.markdown import render_markdown
from haplobench.report.model import Summary
from haplobench.report.privacy_claims import claim_rows, draw_claims
from haplobench.report.summary import summarise
from haplobench.report.svg import clean, to_png
from haplobench.results.table import load_run
from haplobench.scaling.figures import draw_scaling

FORMATS = ("html", "md", "csv", "svg")
_ALL = (*FORMATS, "png")


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
    problems: tuple[str, ...] = ()

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
    unknown = [name for name in formats if name not in _ALL]
    if unknown:
        raise BenchError(f"report: no format {unknown[0]!r}", hint=f"one of {', '.join(_ALL)}")
    summary = summarise(load_run(run_folder))
    return write_summary(summary, leaderboards(summary), out, formats)


def write_summary(
    summary: Summary,
    boards: Sequence[Leaderboard],
    out: Path | None = None,
    formats: Sequence[str] = FORMATS,
) -> ReportPaths:
    """Write the report of a run that was read and ranked already, as `write_report` does."""
    run = summary.run
    folder = out or run.folder / "report"
    figures, problems = draw_figures(run) if set(formats) - {"csv"} else ([], [])
    if set(formats) - {"csv"}:
        drawn = [*draw_boards(run, boards), *draw_claims(summary), *draw_scaling(run)]
        figures = [*drawn, *figures]
    html = markdown = None
    tables: list[Path] = []
    files: list[Path] = []
    # Markdown shows the figures by their files.
    if {"svg", "md"} & set(formats):
        for figure in figures:
            text = clean(figure.svg, label=figure.title)
            files.append(_write(folder / "figures" / f"{figure.file}.svg", text))
    if "png" in formats:
        for figure in figures:
            png = to_png(clean(figure.svg))
            files.append(_write(folder / "figures" / f"{figure.file}.png", png))
    if "csv" in formats:
        tables.append(_write(folder / "summary.csv", render_tidy(summary)))
        tables.append(_write(folder / "summary-wide.csv", render_wide(summary)))
        tables.append(_write(folder / "leaderboard.csv", render_csv(boards)))
        if claim_rows(run):
            tables.append(_write(folder / "privacy-claims.csv", render_claims(summary)))
    if "md" in formats:
        text = render_markdown(summary, figures, problems, boards)
        markdown = _write(folder / "report.md", text)
    if "html" in formats:
        html = _write(folder / "report.html", render_html(summary, figures, problems, boards))
    return ReportPaths(
        folder=folder,
        html=html,
        markdown=markdown,
        csv=tuple(tables),
        figures=tuple(files),
        problems=tuple(str(problem) for problem in problems),
    )


def _write(path: Path, content: str | bytes) -> Path:
    write_whole(path, content)
    return path
