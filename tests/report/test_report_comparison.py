"""The page of a comparison, as text."""

from __future__ import annotations

from dataclasses import replace

import pytest
from report_comparison_fixture import HOSTILE, build_comparison
from test_report_html import Page

from haplobench.compare import exchange
from haplobench.compare.exchange import LIMIT, render_comparison, show_row, verdict
from haplobench.compare.model import STATUSES, Comparison


def test_says_the_verdict_and_every_row() -> None:
    comparison = build_comparison(copies=3)
    parsed = Page(render_comparison(comparison))
    assert "1 gated number regressed, 1 failed: chain on chr1, slowpoke on chr1." in parsed.text
    assert "Head ran with uncommitted changes." in parsed.text
    for status in STATUSES:
        assert status in parsed.text
    percent = "+30.0\N{NO-BREAK SPACE}%"
    for text in ("AF r (2)", "ValueError: shapes differ", "+0.00500 to +0.00700", percent,
                 "Benjamini-Hochberg over 3", "bbbbbbbbbbbb with uncommitted changes"):  # fmt: skip
        assert text in parsed.text, text
    ids = [a["id"] for _, a in parsed.tags if "id" in a]
    assert len(ids) == len(set(ids))
    targets = {a["href"][1:] for a in parsed.all("a") if a["href"].startswith("#")}
    assert targets <= set(ids)
    assert len([a for a in parsed.all("svg") if a.get("role") == "img"]) == 1


def test_verdicts() -> None:
    comparison = build_comparison()
    fine = replace(comparison, rows=tuple(row for row in comparison.rows if not row.fails))
    assert verdict(fine) == "No gated number regressed; 1 can't be told."
    none = Comparison(comparison.base, comparison.head, comparison.rows[3:5])
    assert verdict(none) == "Nothing could be compared."
    empty = Page(render_comparison(Comparison(comparison.base, comparison.head, ())))
    assert "Nothing changed." in empty.text


def test_intervals_are_drawn_worse_to_the_right() -> None:
    rows = {(row.generator, row.status): row for row in build_comparison().rows}
    worse = show_row(rows["chain", "regressed"]).bar
    better = show_row(rows["network", "improved"]).bar
    assert worse is not None
    assert better is not None
    assert 0 < worse[3] < worse[0] < worse[1] < worse[2] <= 48.0
    assert -48.0 <= better[0] < better[1] < better[2] < 0
    slower = show_row(rows["network", "regressed"]).bar
    assert slower is not None
    assert slower[3] / slower[1] == 0.5  # 15 % of 4 s against 1.2 s
    assert show_row(rows["gone", "missing"]).bar is None


def test_hostile_names_are_text() -> None:
    page = render_comparison(build_comparison(hostile=True))
    assert "<script>alert" not in page
    parsed = Page(page)
    assert len(parsed.all("script")) == 1
    assert HOSTILE in parsed.text


def test_many_rows_leave_out_the_unchanged_first(monkeypatch: pytest.MonkeyPatch) -> None:
    comparison = build_comparison(copies=6_000)
    page = render_comparison(comparison)
    parsed = Page(page)
    assert len(page.encode()) <= LIMIT
    assert "rows are left out to keep this page small" in parsed.text
    assert "LD decay RMSE" in parsed.text
    monkeypatch.setattr(exchange, "LIMIT", 60_000)
    page = render_comparison(comparison)
    assert len(page.encode()) <= 60_000
    assert "LD decay RMSE" in Page(page).text
