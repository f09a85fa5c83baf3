"""The page of a history: whole, offline, with its changes said and drawn."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from history_records import record, write_run

from haplobench.cli import main
from haplobench.history.reading import read_history, sources_of
from haplobench.history.show import render_history, sparkline


def page(root: Path, **more: int) -> str:
    for run in range(1, 13):
        level = 0.01 if run < 7 else 0.05
        write_run(
            root,
            run,
            [
                record(run, level + 0.0001 * ((run * 7) % 5), generator=generator)
                for generator in ("vae", "a <b>bold</b> name")
            ],
        )
    return render_history(read_history(*sources_of([], root)), **more)


def test_changes_are_said_and_drawn(tmp_path: Path) -> None:
    text = page(tmp_path)
    assert "12 runs, 2 series, 2 with a change of level." in text
    assert f"{7:040x}"[:9] in text
    assert text.count('<span class="status-regressed">worse</span>') == 2
    assert text.count("<svg") >= 1
    assert "LD-decay RMSE" in text


def test_nothing_is_loaded_and_nothing_is_taken_for_markup(tmp_path: Path) -> None:
    text = page(tmp_path)
    assert "<b>bold" not in text
    assert not re.search(r'(?:src|href)="https?:', text)
    assert "default-src 'none'" in text


def test_over_its_limit_plots_are_left_to_the_tables(tmp_path: Path) -> None:
    text = page(tmp_path, limit=1000)
    assert "1 more numbers are in the table only" in text
    assert "All 2 series" in text


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for run in range(1, 13):
        level = 0.01 if run < 7 else 0.05
        values = [level + 0.0001 * ((run * 7 + seed * 3) % 5) for seed in (1, 2, 3)]
        write_run(
            tmp_path,
            run,
            [
                record(run, value, seed=seed, labels={} if seed < 3 else {"population": "CEU"})
                for seed, value in enumerate(values, 1)
            ],
        )
    return tmp_path


def bench(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(item) for item in arguments])
    return int(end.value.code or 0)


def test_the_table_names_the_commit_of_a_change(
    results: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    assert bench("history", "tiny", "--out", results) == 0
    out = capsys.readouterr().out
    assert "12 runs, 1 series, 1 with a change of level" in out
    assert f"worse at {7:040x}"[:18] in out
    assert "ld-decay/rmse" in out


def test_a_metric_is_plotted(
    results: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    assert bench("history", "--metric", "ld-decay", "--last", 6, "--out", results) == 0
    out = capsys.readouterr().out
    assert "6 runs" in out
    assert "┤" in out
    assert "population=CEU" in out


def test_parquet_is_read_by_pandas_and_duckdb(results: Path, tmp_path: Path) -> None:
    target = tmp_path / "all.parquet"
    assert bench("history", "--out", results, "--to", target) == 0
    table = pd.read_parquet(target)
    assert len(table) == 36
    assert set(table["generator"]) == {"vae"}
    found = duckdb.sql(
        f"select run_id, avg(value) as mean, count(*) as n from '{target}' "
        "where labels['population'] is null group by run_id order by run_id"
    ).df()
    mean = table[table["labels"].map(len) == 0].groupby("run_id")["value"].mean()
    assert found["mean"].tolist() == pytest.approx(mean.tolist())
    assert found["n"].tolist() == [2] * 12


def test_mistakes_are_one_line(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("history", "--to", "x.png", "--out", results) == 2
    assert bench("history", "nowhere", "--out", results) == 2
    assert bench("history", "-g", "nobody", "--out", results) == 2
    assert capsys.readouterr().err.count("\n") == 3


def test_sparklines_have_the_newest_at_the_right() -> None:
    assert sparkline([1, 2, 3]) == "▁▅█"
    assert sparkline([5, 5]) == "▄▄"
    assert len(sparkline(list(range(100)))) == 24
    assert sparkline([0] * 99 + [1000])[-1] == "█"
