"""How fast a report's summary of many records is, and how fast its page opens."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from haplobench.report.leaderboard import leaderboards
from haplobench.report.summary import summarise
from haplobench.report.write import write_report
from haplobench.results.records import Record
from haplobench.results.table import load_run

RECORDS = 600_000


@pytest.fixture(scope="module")
def big_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("big")
    texts = (
        "run_id suite suite_digest dataset dataset_digest generator generator_name "
        "generator_version generator_distribution params_digest cell_id run_key git_sha "
        "lock_digest hardware started"
    )
    row: dict[str, Any] = json.loads(
        Record(
            **dict.fromkeys(texts.split(), "x" * 8),
            **dict.fromkeys(("seed", "replicate", "world_size"), 1),
            git_dirty=False,
            role="generator",
            status="ok",
            phase="measure",
            metric="m",
            family="fidelity",
        ).to_json()
    )
    with (folder / "records.jsonl").open("w") as file:
        for i in range(RECORDS):
            row |= {"generator": f"g{i % 10}", "seed": i // 10 % 10, "submetric": f"x{i // 100}"}
            row |= {"value": i % 1009 / 1009, "labels": {"bin": str(i % 7)}}
            file.write(json.dumps(row) + "\n")
    return folder


def test_summary_of_600000_records(big_run: Path, benchmark: Any) -> None:
    summary = benchmark.pedantic(lambda: summarise(load_run(big_run)), rounds=2)
    assert summary.datasets


# --- the page in a browser ------------------------------------------------------------------

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "report"))


@pytest.fixture(scope="module")
def demo_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from report_fixture import build_run

    return build_run(tmp_path_factory.mktemp("runs") / "demo")


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    from report_browser_fixture import browser

    with browser() as made:
        yield made


def test_leaderboards(demo_run: Path, benchmark: Any) -> None:
    summary = summarise(load_run(demo_run))
    boards = benchmark.pedantic(lambda: leaderboards(summary), rounds=3, warmup_rounds=1)
    assert all(board.rows for board in boards)


def test_page_opens(demo_run: Path, driver: Any, benchmark: Any) -> None:
    """From asking for the page to its load event, figures in place: the bar is 1 s."""
    paths = write_report(demo_run, formats=("html",))
    assert paths.html is not None
    assert paths.html.stat().st_size <= 2_000_000
    benchmark.extra_info["bytes"] = paths.html.stat().st_size
    benchmark.pedantic(lambda: driver.get(paths.html.as_uri()), rounds=10, warmup_rounds=1)
    timing = "const n = performance.getEntriesByType('navigation')[0]; return n.loadEventEnd"
    benchmark.extra_info["load_event_ms"] = driver.execute_script(timing)
