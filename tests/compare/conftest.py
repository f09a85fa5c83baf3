"""Run folders of runs that never happened."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from comparison_records import DEFINITIONS


@pytest.fixture
def write_run(tmp_path: Path) -> Callable[..., Path]:
    """Write records as a run folder, `results/tiny/<run_id>/`, with a run.json."""

    def write(rows: list[dict[str, Any]], run_id: str = "20260101T000000Z-aa") -> Path:
        folder = tmp_path / "results" / "tiny" / run_id
        folder.mkdir(parents=True)
        with (folder / "records.jsonl").open("w") as lines:
            for row in rows:
                lines.write(json.dumps({**row, "run_id": run_id}) + "\n")
        metrics: dict[str, Any] = {}
        for (metric, _), known in DEFINITIONS.items():
            entry = metrics.setdefault(metric, {"family": known.family, "submetrics": []})
            fields = {key: value for key, value in vars(known).items() if key != "family"}
            entry["submetrics"].append(fields)
        info = {"run_id": run_id, "metrics": metrics, "hardware": {"cpu": "Z80", "cores": 1}}
        (folder / "run.json").write_text(json.dumps(info))
        return folder

    return write
