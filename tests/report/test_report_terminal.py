"""Tables for the terminal: what they say, and that they fit."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from report_fixture import HOSTILE, build_run
from rich.cells import cell_len
from rich.console import Console
from typer.testing import CliRunner

from haplobench.cli import app
from haplobench.errors import BenchError
from haplobench.report.leaderboard import by_rank, leaderboards
from haplobench.report.model import Summary
from haplobench.report.summary import order_by, select, summarise
from haplobench.report.terminal import print_summary
from haplobench.results.table import load_run


def printed(summary: Summary, width: int, terminal: bool = False, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
    console = Console(
        file=file,
        width=width,
        force_terminal=terminal,
        color_system="truecolor" if terminal else "auto",
        legacy_windows=False,
    )
    print_summary(summary, console)
    return raw.getvalue().decode(encoding)


def tables(summary: Summary, width: int, encoding: str = "utf-8") -> str:
    """What follows the verdicts."""
    return printed(summary, width, encoding=encoding).partition("suite).")[2]


@pytest.mark.parametrize("width", [80, 100, 140, 200, 400])
def test_fits_the_terminal_and_loses_no_column(demo: Summary, width: int) -> None:
    text = printed(demo, width)
    assert max(cell_len(line) for line in text.splitlines()) <= width
    words = " ".join(text.split())
    for dataset in demo.datasets.values():
        for column in dataset.headline():
            # Heads may wrap, but each word is there whole.
            for word in column.title.split():
                assert word in words
    assert "…" not in tables(demo, width)
    assert text.count("patchwork ") >= 2


def test_wide_enough_is_one_table_per_dataset(demo: Summary) -> None:
    assert printed(demo, 400).count("─\nfloor") == 2
    assert printed(demo, 100).count("─\nfloor") > 4


def test_verdicts_come_before_any_table_in_two_lines_of_80_columns(demo: Summary) -> None:
    head, _, rest = printed(demo, 80).partition("chr20-eur · fidelity")
    assert rest
    for dataset in demo.datasets.values():
        assert f"{dataset.label} · verdict" in head
    assert head.count("faithful: ") == head.count("leaks: ") == 2 * 8
    assert head.count("Best: none: patchwork is first by rank, but not faithful.") == 2
    lines = head.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("patchwork "))
    assert "faithful: " in lines[at]
    assert lines[at + 1].split()[1] == "leaks:"


def test_floor_first_then_generators_then_controls(demo: Summary) -> None:
    lines = tables(demo, 400).splitlines()
    starts = [line.split("  ")[0].strip() for line in lines]
    at = [starts.index(name) for name in ("floor, 10 draws", "chain", "shuffled (control)")]
    assert at == sorted(at)


def test_states_have_words_and_reasons(demo: Summary) -> None:
    text = tables(demo, 200)
    theory = next(line for line in text.splitlines() if line.startswith("theory"))
    assert theory.count("n/a a") == 6
    assert "n/a a: sites differ" in text
    broken = next(line for line in text.splitlines() if line.startswith("broken"))
    assert set(broken.split()) == {"broken", "failed"}
    assert "chr20-eur · broken (seeds 1, 2, 3), fit: failed after 600 s: ValueError: shapes" in text
    assert "chr1 · slowpoke (seeds 1, 2, 3), fit: timed out after 600 s" in text
    assert "inference (seed 2), measure: out of memory" in text


def test_values_carry_spread_and_mark(demo: Summary) -> None:
    text = tables(demo, 400)
    row = next(line for line in text.splitlines() if line.startswith("shuffled"))
    assert "0.98072 ±" in row
    assert "×" in row
    replayed = next(line for line in text.splitlines() if line.startswith("replayed"))
    assert "0.0148 ±" in replayed
    assert "●" in replayed


def test_plain_where_it_is_no_terminal_and_coloured_where_it_is(demo: Summary) -> None:
    assert "\x1b" not in printed(demo, 100)
    assert "\x1b[32m" in printed(demo, 100, terminal=True)


def test_ascii_console_gets_ascii(demo: Summary) -> None:
    text = tables(demo, 100, encoding="ascii")
    assert "?" not in text
    assert "0.98072 ~" in text


def test_markup_in_labels_is_text(tmp_path: Path) -> None:
    folder = build_run(tmp_path / "run", hostile=True)
    console = Console(file=io.StringIO(), width=300)
    print_summary(summarise(load_run(folder)), console)
    assert f"{HOSTILE} · fidelity" in console.file.getvalue()  # type: ignore[attr-defined]


def test_nothing_measured_is_said(tmp_path: Path) -> None:
    (tmp_path / "records.jsonl").touch()
    (tmp_path / "run.json").write_text('{"suite": "s", "datasets": {"d": {}}}')
    assert "d: no headline numbers" in printed(summarise(load_run(tmp_path)), 100)


def shown(run: Path, *arguments: str) -> str:
    result = CliRunner().invoke(app, ["show", str(run), *arguments], env={"COLUMNS": "100"})
    assert result.exit_code == 0, result.output
    return result.output


def test_show_takes_metrics_sorts_and_prints_other_forms(demo_run: Path) -> None:
    order = ["patchwork", "slowpoke", "network", "chain"]  # from the best to the worst by rmse
    by_rmse = ["--metric", "ld-decay/rmse", "--sort", "ld-decay/rmse"]
    rows = json.loads(shown(demo_run, *by_rmse, "--format", "json"))
    assert {(row["metric"], row["submetric"]) for row in rows} == {("ld-decay", "rmse")}
    found = [
        (row["generator"], row["value"])
        for row in rows
        if row["dataset"] == "chr20-eur" and row["role"] == "generator" and row["value"] is not None
    ]
    assert [value for _, value in found] == sorted(value for _, value in found)
    assert [name for name, _ in found if name in order] == order
    table = list(csv.DictReader(shown(demo_run, *by_rmse, "-f", "csv").splitlines()))
    assert [row["generator"] for row in table] == [row["generator"] for row in rows]
    names = [
        line.split()[0] for line in shown(demo_run, *by_rmse).splitlines() if line[:1].isalpha()
    ]
    assert [name for name in names if name in order][:4] == order  # of the first dataset
    assert "| LD decay RMSE ↓" in shown(demo_run, *by_rmse, "-f", "md")
    # A number that isn't of the main table is there when it's asked for, or with --all.
    assert "LD decay bias" not in shown(demo_run, "-f", "md")
    assert "LD decay bias" in shown(demo_run, "-m", "ld-decay", "-f", "md")
    assert "LD decay bias" in shown(demo_run, "--all", "-f", "md")


def test_show_refuses_what_is_not_there(demo: Summary) -> None:
    for name, near in (
        ("ld-decay/rsme", "did you mean ld-decay/rmse"),
        ("ld-decai", "did you mean ld-decay"),
        ("x", "its metrics are .*ld-decay"),
    ):
        with pytest.raises(BenchError, match=rf"is called '{name}' \({near}"):
            select(demo, [name])
    with pytest.raises(BenchError, match=r"no generator of the run is called 'chian' \(did you m"):
        select(demo, generators=["chian"])
    with pytest.raises(BenchError, match="--sort ld-decay: one number is needed"):
        order_by(demo, "ld-decay")


def test_generators_come_by_rank_and_controls_last(demo: Summary) -> None:
    boards = leaderboards(demo)
    for label, dataset in by_rank(demo, boards).datasets.items():
        board = next(board for board in boards if board.dataset == label)
        names = [cohort.label for cohort in dataset.cohorts]
        assert names[0] == "floor"
        assert names[1 : 1 + len(board.ranked)] == [row.label for row in board.ranked]
        assert {cohort.role for cohort in dataset.cohorts[-2:]} == {"control"}
