"""Writing a run's report, every form asked for, and the site of a leaderboard of many runs.

Each file is written whole or not at all. The site is an index and a page a run; it needs no
server.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from haplobench.errors import BenchError
from haplobench.files import write_whole
from haplobench.report import html
from haplobench.report.exchange import render_claims, render_multiqc, render_tidy, render_wide
from haplobench.report.figures import (
    Figure,
    FigureProblem,
    begin_figures,
    draw_boards,
    draw_figures,
    print_style,
    slug,
)
from haplobench.report.html import make_page, render_page
from haplobench.report.leaderboard import BoardRow, Leaderboard, by_rank, leaderboards
from haplobench.report.leaderboard_texts import ShownRow, leak_words, render_csv, show_rows
from haplobench.report.markdown import render_markdown
from haplobench.report.model import Summary
from haplobench.report.paper import (
    Selection,
    render_bibtex,
    render_document,
    render_methods,
    render_tables,
)
from haplobench.report.privacy_claims import claim_rows, draw_claims
from haplobench.report.summary import select, summarise
from haplobench.report.svg import Renderer, clean, renderer, to_pdf, to_png
from haplobench.report.verdict import Verdict, reach_verdicts
from haplobench.results.records import FLOOR
from haplobench.results.run_folder import DESCRIPTION, RECORDS
from haplobench.results.table import load_run
from haplobench.scaling.figures import draw_scaling
from haplobench.units import counted

FORMATS = ("html", "md", "csv", "svg")
PAPER = ("latex", "bib", "pdf")
"""Forms that a paper takes, in a folder `paper`: they can be of some rows and numbers."""
ALL_FORMATS = (*FORMATS, "png", *PAPER, "multiqc")
LEAST_TEXT = 5.0
"""Points of the smallest text that journals print."""


# Formats that figures are drawn for.
_DRAWN = frozenset(("html", "md", "svg", "png"))


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

    def joined(self, other: ReportPaths) -> ReportPaths:
        """These and another's further files and problems."""
        return replace(
            self, csv=(*self.csv, *other.csv), problems=(*self.problems, *other.problems)
        )


def write_report(
    run_folder: Path,
    out: Path | None = None,
    formats: Sequence[str] = FORMATS,
    selection: Selection | None = None,
    width_mm: float = 85,
) -> ReportPaths:
    """Write the report of a run into `out` (default: `report/` in the run folder).

    `formats` are of `ALL_FORMATS`; those of a paper are of a `selection` and of a `width_mm`.
    Files are written whole or not at all.

    Raises
    ------
    BenchError
        If the folder holds no run, a format is unknown, the selection names what the run doesn't
        have or what other formats are made of, or the extra `report` is missing.
    """
    unknown = [name for name in formats if name not in ALL_FORMATS]
    if unknown:
        near = f"one of {', '.join(ALL_FORMATS)}"
        raise BenchError(f"report: no format {unknown[0]!r}", hint=near)
    whole = [name for name in formats if name not in PAPER]
    if selection and whole:
        raise BenchError(
            f"--only and --metric: {whole[0]} shows the whole run", hint=f"-f {','.join(PAPER)}"
        )
    with renderer(early=bool(_DRAWN & set(whole))) as processes:
        summary = summarise(load_run(run_folder))
        boards = leaderboards(summary)
        paths = ReportPaths(out or run_folder / "report")
        if paper := [name for name in formats if name in PAPER]:
            paths = write_paper(summary, boards, paths.folder, paper, selection, width_mm)
        return write_summary(summary, boards, paths.folder, whole, processes).joined(paths)


def write_paper(
    summary: Summary,
    boards: Sequence[Leaderboard],
    folder: Path,
    formats: Sequence[str],
    selection: Selection | None = None,
    width_mm: float = 85,
) -> ReportPaths:
    """Write `paper/` into a folder: `latex` (tables, methods, a document), `bib`, `pdf` figures."""
    selection = selection or Selection()
    select(summary, selection.metrics, selection.only)  # refuses what isn't there
    paper = folder / "paper"
    figures: list[Figure] = []
    problems: list[str] = []
    files = []
    if "pdf" in formats:
        points = width_mm / 25.4 * 72
        run, style = selection.run(summary.run), print_style(summary.run, points / 0.75)
        figures, undrawn = draw_figures(run, style, points / 0.75)
        ranked = [] if selection.metrics else [selection.board(board) for board in boards]
        figures = [
            *draw_boards(run, ranked, style, points / 0.75),
            *([] if selection else [*draw_claims(summary), *draw_scaling(run)]),
            *figures,
        ]
        problems += map(str, undrawn)
        for figure in figures:
            pdf, smallest = to_pdf(clean(figure.svg, ink="#000000"), points)
            _write(paper / "figures" / f"{figure.file}.pdf", pdf)
            if smallest < LEAST_TEXT:
                problems.append(
                    f"{figure.file}.pdf: text of {smallest:.1f} points at {width_mm:g} mm; "
                    "--width 170mm is for figures of this kind"
                )
    methods, books = render_methods(summary, boards, selection)
    if "bib" in formats:
        files.append(_write(paper / "references.bib", render_bibtex(books)))
    if "latex" in formats:
        tables = render_tables(summary, boards, selection, width_mm)
        for name, text in (tables | {"methods": methods}).items():
            files.append(_write(paper / f"{name}.tex", text))
        title = str(summary.run.info.get("title") or summary.run.info.get("suite") or "A run")
        text = render_document(title, list(tables), figures, width_mm, "bib" in formats)
        files.append(_write(paper / "paper.tex", text))
    more = (paper / "figures",) if figures else ()
    return ReportPaths(folder, csv=(*files, *more), problems=tuple(problems))


def write_summary(
    summary: Summary,
    boards: Sequence[Leaderboard],
    out: Path | None = None,
    formats: Sequence[str] = FORMATS,
    processes: Renderer | None = None,
) -> ReportPaths:
    """Write the report of a run that was read and ranked already, as `write_report` does.

    `processes` render its figures; without them, its own.
    """
    if processes is None:
        with renderer() as own:
            return write_summary(summary, boards, out, formats, own)
    run = summary.run
    folder = out or run.folder / "report"
    drawing = begin_figures(run, boards, processes) if _DRAWN & set(formats) else None
    html = markdown = None
    tables: list[Path] = []
    files: list[Path] = []
    # What needs no figures is done while they are rendered.
    if "csv" in formats:
        tables.append(_write(folder / "summary.csv", render_tidy(summary)))
        tables.append(_write(folder / "summary-wide.csv", render_wide(summary)))
        tables.append(_write(folder / "leaderboard.csv", render_csv(boards)))
        if claim_rows(run):
            tables.append(_write(folder / "privacy-claims.csv", render_claims(summary)))
    if "multiqc" in formats:
        for name, text in render_multiqc(summary, boards).items():
            tables.append(_write(folder / "multiqc" / name, text))
    ranked, page = by_rank(summary, boards), None
    verdicts = reach_verdicts(ranked, boards) if {"md", "html"} & set(formats) else []
    if "html" in formats:
        page = make_page(ranked, boards, verdicts)
    figures: list[Figure] = []
    problems: list[FigureProblem] = []
    if drawing is not None:
        more = [*draw_claims(summary), *draw_scaling(run)]
        figures, problems = drawing()
        figures = [*more, *figures]
    # Markdown shows the figures by their files.
    if {"svg", "md"} & set(formats):
        for figure in figures:
            text = clean(figure.svg, label=figure.title)
            files.append(_write(folder / "figures" / f"{figure.file}.svg", text))
    if "png" in formats:
        for figure in figures:
            png = to_png(clean(figure.svg))
            files.append(_write(folder / "figures" / f"{figure.file}.png", png))
    if "md" in formats:
        text = render_markdown(summary, figures, problems, boards, verdicts=verdicts)
        markdown = _write(folder / "report.md", text)
    if page is not None:
        html = _write(folder / "report.html", render_page(page, ranked, figures, problems))
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


# --- a site of many runs ---------------------------------------------------------------------


def write_site(folders: Iterable[Path], to: Path, title: str) -> tuple[Path, list[str]]:
    """Write the index and the pages of runs into a folder; the index, and why runs are left out.

    A run's page is written anew only where the run is newer than it. Raises BenchError if no
    folder holds a run that can be read.
    """
    rows: list[dict[str, Any]] = []
    left_out: list[str] = []
    runs = 0
    taken: dict[str, Path] = {}
    for folder in folders:
        try:
            summary = summarise(load_run(folder))
            boards = leaderboards(summary)
            name = slug(str(summary.run.info.get("run_id") or folder.name))
            if name in taken:
                left_out.append(f"{folder}: the same run as {taken[name]}")
                continue
            page = _page(summary, boards, to / "runs" / name)
        except BenchError as error:
            left_out.append(f"{folder}: {error}")
            continue
        taken[name] = folder
        runs += 1
        rows += _rows(summary, boards, page.relative_to(to).as_posix())
    if not runs:
        raise BenchError(f"no run can be read: {'; '.join(left_out[:3]) or 'none was named'}")
    rows.sort(key=lambda row: (row["suite"], row["dataset"], row["order"]))
    datasets = {(row["suite"], row["dataset"]) for row in rows}
    context = {
        "title": title,
        "subtitle": f"{counted(runs, 'run')}, {counted(len(datasets), 'dataset')}",
        "rows": rows,
    }
    index = to / "index.html"
    write_whole(index, html.render("site.html.jinja", context))
    return index, left_out


def _page(summary: Summary, boards: Sequence[Leaderboard], folder: Path) -> Path:
    """A run's own page, as `bench report` writes it."""
    page = folder / "report.html"
    made = [summary.run.folder / name for name in (DESCRIPTION, RECORDS)]
    newest = max(path.stat().st_mtime for path in made if path.exists())
    if not page.is_file() or page.stat().st_mtime < newest:
        write_summary(summary, boards, folder, ("html",))
    return page


def _rows(summary: Summary, boards: Sequence[Leaderboard], page: str) -> list[dict[str, Any]]:
    """A line of the index for each generator and control on each dataset, ranked or not."""
    info = summary.run.info
    run = {
        "page": page,
        "suite": str(info.get("suite") or ""),
        "started": str(info.get("started") or "")[:16].replace("T", " "),
        "commit": str((info.get("git") or {}).get("sha") or "")[:9],
        "status": str(info.get("status") or ""),
    }
    rows = []
    for verdicts in reach_verdicts(summary, boards):
        board = next((b for b in boards if b.dataset == verdicts.dataset), None)
        pairs = zip(board.rows, show_rows(board), strict=True) if board else ()
        places = {row.label: (row, shown) for row, shown in pairs if row.role != FLOOR}
        for at, verdict in enumerate(verdicts.rows):
            rows.append(run | _row(verdict, places.get(verdict.generator), board) | {"order": at})
    return rows


def _row(
    verdict: Verdict, place: tuple[BoardRow, ShownRow] | None, board: Leaderboard | None
) -> dict[str, Any]:
    row, shown = place or (None, None)
    unranked = dict(board.unranked).get(verdict.generator, "") if board else ""
    exposure = row.exposure if row else None
    return {
        "dataset": verdict.dataset,
        "generator": verdict.generator,
        "role": verdict.role,
        "rank": shown.rank if shown else "–",
        "of": len(board.ranked) if board and row else 0,
        "rank_sort": row.rank if row else "",
        "distance": shown.distance if shown else "–",
        "interval": shown.interval if shown else "",
        "distance_sort": f"{row.distance:.9g}" if row else "",
        "faithful": verdict.faithful.answer,
        "useful": verdict.useful.answer,
        "leak": leak_words(exposure) if exposure else verdict.leaks.answer,
        "leaks": verdict.leaks.answer,
        "why": unranked,
    }
