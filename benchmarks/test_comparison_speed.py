"""Speed and memory of `bench compare` on a file of 600,000 records.

100 runs of 20 generators, 60 metrics and 5 seeds, as records of the usual length. The comparison
runs in a process of its own, so that its peak memory is its own too.
"""

from __future__ import annotations

import itertools
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

RUNS, GENERATORS, METRICS, SEEDS = 100, 20, 60, 5

MEASURE = """
import resource, sys
from haplobench.cli import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu = used.ru_utime + used.ru_stime
    text = f"exit {end.code}, {used.ru_maxrss / 1024:.0f} MiB, {cpu:.2f} processor seconds"
    print(text, file=sys.stderr)
"""


def template(run: int, generator: int) -> str:
    """A record of a run's generator, with places for metric, seed and value."""
    row: dict[str, Any] = {
        "run_id": f"2026{run:04d}T000000.000000Z-{run:010x}", "suite": "large",
        "suite_digest": "0" * 64, "dataset": "chr20", "dataset_digest": "1" * 64,
        "generator": f"generator-{generator}", "generator_name": f"generator-{generator}",
        "generator_version": "1", "generator_distribution": "haplobench 0.1.0",
        "role": "generator", "params_digest": "2" * 16, "seed": "SEED", "replicate": 0,
        "world_size": 1, "cell_id": f"{generator:016x}", "run_key": "5" * 16,
        "git_sha": f"{run:040x}", "git_dirty": False, "lock_digest": "3" * 16,
        "hardware": "4" * 16, "status": "ok", "phase": "measure",
        "started": "2026-01-01T00:00:00+00:00", "metric": "metric-METRIC",
        "metric_version": "1", "metric_distribution": "haplobench 0.1.0", "family": "fidelity",
        "submetric": "value", "labels": {"superpopulation": "EUR"}, "value": "VALUE",
        "standard_error": 0.01, "n": 500, "unit": "", "direction": "lower", "wall_s": 0.1,
        "error_type": "", "error": "", "note": "", "series": "series/aaaaaaaaaaaaaaaa/0/x.npz",
        "schema": 1,
    }  # fmt: skip
    text = json.dumps(row)
    return text.replace('"SEED"', "SEED").replace('"VALUE"', "VALUE") + "\n"


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file: some 690 MB."""
    path = tmp_path_factory.mktemp("large") / "all.jsonl"
    places = list(itertools.product(range(METRICS), range(SEEDS)))
    noise = random.Random(1)
    with path.open("w") as lines:
        for run, generator in itertools.product(range(RUNS), range(GENERATORS)):
            text = template(run, generator)
            for metric, seed in places:
                value = f"{1 + noise.random() / 10:.17g}"
                line = text.replace("METRIC", str(metric)).replace("SEED", str(seed))
                lines.write(line.replace("VALUE", value))
    return path


def test_compare_two_runs_of_600_000_records(benchmark: Any, large: Path) -> None:
    """The newest run of the file against the one before it."""
    command = [sys.executable, "-c", MEASURE, "compare", f"{large}@-2", str(large)]
    done = benchmark.pedantic(
        subprocess.run, args=(command,), kwargs={"capture_output": True, "text": True}, rounds=2
    )
    ending = done.stderr.strip().splitlines()[-1]
    benchmark.extra_info.update(
        {"ending": ending, "file_mb": large.stat().st_size // 10**6, "output": done.stdout[:300]}
    )
    print(ending)
    assert ending.startswith(("exit 0", "exit 1"))
