"""The page of a history: whole, offline, with its changes said and drawn."""

from __future__ import annotations

import re
from pathlib import Path

from history_records import record, write_run

from haplobench.history.reading import read_history, sources_of
from haplobench.history.show import render_history


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
