"""How fast a report's summary of many records is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from haplobench.report.load import load_run
from haplobench.report.summary import summarise
from haplobench.results.records import Record

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
