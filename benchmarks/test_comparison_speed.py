"""Speed and memory of `bench compare` on a file of 600,000 records.

100 runs of 20 generators, 60 metrics and 5 seeds, as records of the usual length. The comparison
runs in a process of its own, so that its peak memory is its own too.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

RUNS, GENERATORS, METRICS, SEEDS = 100, 20, 60, 5

MEASURE = """
import resource, sys
from haplobench.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"exit {end.code}, {peak:.0f} MiB", file=sys.stderr)
"""


def record(run: int, generator: int, metric: int, seed: int) -> dict[str, Any]:
    """A record whose value falls a little with every run."""
    noise = ((run * 7919 + generator * 104729 + metric * 1299709 + seed * 15485863) % 1000) / 1e4
    return {
        "run_id": f"2026{run:04d}T000000.000000Z-{run:010x}", "suite": "large",
        "suite_digest": "0" * 64, "dataset": "chr20", "dataset_digest": "1" * 64,
        "generator": f"generator-{generator}", "generator_name": f"generator-{generator}",
        "generator_version": "1", "generator_distribution": "haplobench 0.1.0",
        "role": "generator", "params_digest": "2" * 16, "seed": seed, "replicate": 0,
        "world_size": 1, "cell_id": f"{generator:08x}{seed:08x}", "run_key": f"{metric:016x}",
        "git_sha": f"{run:040x}", "git_dirty": False, "lock_digest": "3" * 16,
        "hardware": "4" * 16, "status": "ok", "phase": "measure",
        "started": "2026-01-01T00:00:00+00:00", "metric": f"metric-{metric}",
        "metric_version": "1", "metric_distribution": "haplobench 0.1.0", "family": "fidelity",
        "submetric": "value", "labels": {"superpopulation": "EUR"}, "value": 1.0 + noise,
        "standard_error": 0.01, "n": 500, "unit": "", "direction": "lower", "wall_s": 0.1,
        "error_type": "", "error": "", "note": "", "series": "series/aaaaaaaaaaaaaaaa/0/x.npz",
        "schema": 1,
    }  # fmt: skip


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file: some 650 MB."""
    path = tmp_path_factory.mktemp("large") / "all.jsonl"
    with path.open("w") as lines:
        for run in range(RUNS):
            template = json.dumps(record(run, 0, 0, 0))
            assert len(template) > 900
            for generator in range(GENERATORS):
                for metric in range(METRICS):
                    for seed in range(SEEDS):
                        lines.write(json.dumps(record(run, generator, metric, seed)) + "\n")
    return path


def test_compare_two_runs_of_600_000_records(benchmark: Any, large: Path) -> None:
    """The newest run of the file against the one before it."""
    command = [sys.executable, "-c", MEASURE, "compare", f"{large}@-2", str(large)]
    done = benchmark.pedantic(
        subprocess.run, args=(command,), kwargs={"capture_output": True, "text": True}, rounds=3
    )
    ending = done.stderr.strip().splitlines()[-1]
    benchmark.extra_info.update(
        {"ending": ending, "file_mb": large.stat().st_size // 10**6, "output": done.stdout[:300]}
    )
    print(ending)
    assert ending.startswith(("exit 0", "exit 1"))
