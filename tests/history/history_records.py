"""Records of made-up runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from haplobench.results.records import Record

METRICS = {
    "ld-decay": {
        "family": "fidelity",
        "submetrics": [
            {"name": "rmse", "title": "LD-decay RMSE", "direction": "lower", "ideal": 0.0,
             "min_effect": 0.001, "headline": True},
            {"name": "bias", "title": "Bias", "direction": "info", "headline": False},
        ],
    },
    "time": {
        "family": "performance",
        "submetrics": [
            {"name": "fit", "title": "Fit", "direction": "lower", "unit": "s", "headline": True}
        ],
    },
}  # fmt: skip


def record(run: int, value: float | None, **more: Any) -> Record:
    columns: dict[str, Any] = {
        "run_id": f"20260101T{run:06d}Z-aaaa",
        "suite": "tiny",
        "suite_digest": "s",
        "dataset": "chr20",
        "dataset_digest": "d" * 64,
        "generator": "vae",
        "generator_name": "vae",
        "generator_version": "1",
        "generator_distribution": "haplobench 0.1.0",
        "role": "generator",
        "params_digest": "p",
        "seed": 1,
        "replicate": 0,
        "world_size": 1,
        "cell_id": "c",
        "run_key": f"k{run}",
        "git_sha": f"{run:040x}",
        "git_dirty": False,
        "lock_digest": "l",
        "hardware": "machine-a",
        "status": "ok" if value is not None else "not-applicable",
        "phase": "measure",
        "started": f"2026-01-01T00:00:{run:02d}+00:00",
        "metric": "ld-decay",
        "metric_version": "1",
        "family": "fidelity",
        "submetric": "rmse",
        "value": value,
        "direction": "lower",
    }
    return Record(**{**columns, **more})


def write_run(root: Path, run: int, records: list[Record]) -> Path:
    folder = root / "tiny" / f"20260101T{run:06d}Z-aaaa"
    folder.mkdir(parents=True)
    text = "".join(item.to_json() + "\n" for item in records)
    (folder / "records.jsonl").write_text(text)
    info = {
        "metrics": METRICS,
        "hardware": {"fingerprint": "machine-a", "cpu": "A fine CPU", "cores": 2, "gpus": []},
    }
    (folder / "run.json").write_text(json.dumps(info))
    return folder
