"""A leaderboard of many runs as a folder of pages that needs no server: an index, a page a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from haplobench.errors import BenchError
from haplobench.files import write_whole
from haplobench.report import html
from haplobench.report.figures import slug
from haplobench.report.leaderboard.board import BoardRow, Leaderboard, leaderboards
from haplobench.report.leaderboard.texts import ShownRow, leak_words, show_rows
from haplobench.report.model import Summary
from haplobench.report.summary import summarise
from haplobench.report.verdict.judgement import Verdict, reach_verdicts
from haplobench.report.write import write_summary
from haplobench.results.records import FLOOR
from haplobench.results.run_folder import DESCRIPTION, RECORDS
from haplobench.results.table import load_run
from haplobench.units import counted


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
