"""Whatever shows a number of a run shows the same one, however often it was measured."""

from __future__ import annotations

import csv
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from haplobench.cli import app
from haplobench.results.records import Record, append_records

RUN = "20260101T000000.000000Z-aaaaaaaaaa"


def record(**changes: Any) -> Record:
    given: dict[str, Any] = {
        "run_id": RUN, "suite": "tiny", "suite_digest": "s", "dataset": "chr20",
        "dataset_digest": "d", "generator": "vae", "generator_name": "vae",
        "generator_version": "1", "generator_distribution": "haplobench 0.1.0",
        "role": "generator", "params_digest": "p", "seed": 1, "replicate": 0, "world_size": 1,
        "cell_id": "c", "run_key": "k", "git_sha": "a" * 40, "git_dirty": False,
        "lock_digest": "l", "hardware": "h", "status": "ok", "phase": "measure",
        "started": "2026-01-01T00:00:00+00:00", "metric": "ld", "metric_version": "1",
        "family": "fidelity", "submetric": "rmse", "value": 1.0, "direction": "lower",
    }  # fmt: skip
    return Record(**{**given, **changes})


def failed(**changes: Any) -> Record:
    return record(submetric="", value=None, status="failed", error="late", **changes)


MEASURED = {
    "again": ([record(value=1.0), record(value=2.0)], 2.0),
    "by other code": ([record(value=1.0), record(value=2.0, run_key="k2")], 2.0),
    "by other code, which calls it otherwise": (
        [record(value=9.0, submetric="old"), record(value=2.0, run_key="k2")],
        2.0,
    ),
    "on another machine": (
        [record(value=1.0), record(value=4.0, run_key="k2", hardware="h2")],
        4.0,
    ),
    "after it failed": ([failed(), record(value=2.0)], 2.0),
    "and failed then": ([record(value=1.0), failed()], None),
    "one draw again": (
        [record(value=1.0), record(value=3.0, replicate=1), record(value=2.0)],
        2.5,
    ),
    "seeds of several draws": (
        [
            *(record(value=value, replicate=at) for at, value in enumerate((1.0, 2.0, 3.0))),
            record(value=10.0, seed=2),
        ],
        6.0,
    ),
}


def bench(*arguments: str) -> str:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"}).output


@pytest.mark.parametrize("name", MEASURED)
def test_show_compare_and_history_agree(tmp_path: Path, name: str) -> None:
    records, expected = MEASURED[name]
    folder = tmp_path / "tiny" / RUN
    append_records(folder / "records.jsonl", records)
    number = {"name": "rmse", "title": "RMSE", "direction": "lower", "headline": True}
    info = {"run_id": RUN, "metrics": {"ld": {"family": "fidelity", "submetrics": [number]}}}
    (folder / "run.json").write_text(json.dumps(info))

    bench("report", str(folder), "--to", str(tmp_path / "report"), "-f", "csv")
    with (tmp_path / "report" / "summary.csv").open() as lines:
        rows = {row["submetric"]: row["value"] for row in csv.DictReader(lines)}
    assert set(rows) == {"rmse"}
    assert (float(rows["rmse"]) if rows["rmse"] else None) == expected
    shown = re.search(r"vae +([\d.]+)", bench("show", str(folder)))
    assert (float(shown[1]) if shown else None) == expected

    compared = json.loads(bench("compare", str(folder), str(folder), "--all", "-f", "json"))
    numbers = {row["submetric"]: row["head"] for row in compared["rows"] if row["submetric"]}
    assert numbers == ({} if expected is None else {"rmse": expected})

    history = bench("history", str(folder), "--all")
    points = re.findall(r"ld/(\w+) +vae +1 +([\d.]+)", history)
    assert points == ([] if expected is None else [("rmse", f"{expected:.4g}")])
    assert expected is None or not math.isnan(expected)
