"""Writing a run's report: every form asked for, each file whole or not at all."""

from __future__ import annotations

from pathlib import Path

from haplobench.errors import BenchError
from haplobench.files import write_whole
from haplobench.report import FORMATS, ReportPaths
from haplobench.report.csv import render_claims, render_tidy, render_wide
from haplobench.report.figures import draw_boards, draw_figures
from haplobench.report.html import render_html
from haplobench.report.leaderboard.board import leaderboards
from haplobench.report.leaderboard.texts import render_csv
from haplobench.report.load import load_run
from haplobench.report.markdown import render_markdown
from haplobench.report.privacy_claims import claim_rows, draw_claims
from haplobench.report.summary import summarise
from haplobench.report.svg import clean, to_png
from haplobench.scaling.figures import draw_scaling

_ALL = (*FORMATS, "png")


def write(run_folder: Path, out: Path | None, formats: tuple[str, ...]) -> ReportPaths:
    """Write the report, see `haplobench.report.write_report`."""
    unknown = [name for name in formats if name not in _ALL]
    if unknown:
        raise BenchError(f"report: no format {unknown[0]!r}", hint=f"one of {', '.join(_ALL)}")
    run = load_run(run_folder)
    summary = summarise(run)
    folder = out or run_folder / "report"
    boards = leaderboards(summary)
    drawn = draw_figures(run) if set(formats) - {"csv"} else ([], [])
    figures, problems = drawn
    if set(formats) - {"csv"}:
        own = [*draw_boards(run, boards), *draw_claims(summary), *draw_scaling(run)]
        figures = [*own, *figures]
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
