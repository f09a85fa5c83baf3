"""Killed at any moment and started again, a run loses, doubles and changes no record.

`make kill` does so 200 times: `KILLS=200`.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from haplobench.results.records import Record
from haplobench.results.run_folder import RunFolder, find_runs
from haplobench.runner.record_log import identity

KILLS = int(os.environ.get("KILLS", "10"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
SUITE = """
name: toy
seeds: [1]
datasets: [{name: toy, filters: {min_maf: 0.05}, split: {holdout: 0.25, validation: 0.1}}]
generators: [frequency, {name: frequency, label: broken, params: {misbehave: raise}}]
metrics: [difference, spectrum]
floor: {draws: 2}
"""
HARNESS = """
import sys
from pathlib import Path
from haplobench.registry import load_registry
from haplobench.runner.run import run_suite
from haplobench.suite.load import load_suite
registry = load_registry(["toy_datasets", "toy_generators", "toy_metrics"])
run_suite(load_suite(sys.argv[1], (), registry), registry, Path(sys.argv[2]), jobs=2)
"""


def content(record: Record) -> tuple[Any, ...]:
    """What of a record must be the same whenever it is made."""
    where = (record.dataset, record.generator, record.seed, record.replicate)
    first = record.error.split("\n")[0]
    return (*where, record.metric, record.submetric, str(record.labels), record.value, first)


def start(toys: Any, suite: Path, out: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", HARNESS, str(suite), str(out)],
        env={**os.environ, "PYTHONPATH": str(toys.folder)},
        stderr=subprocess.PIPE,
    )


def at_work(out: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            alive = process.status() != psutil.STATUS_ZOMBIE
            if alive and str(out) in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.slow
@pytest.mark.timeout(60 + 20 * KILLS)
def test_kills(module_toys: Any, tmp_path: Path) -> None:
    rng = random.Random(f"kills {SEED}")
    suite = module_toys.suite_file(SUITE)
    reference = tmp_path / "reference"
    begun = time.monotonic()
    assert start(module_toys, suite, reference).wait() == 0
    whole_time = time.monotonic() - begun
    (run,) = find_runs(reference, "toy")
    whole = sorted(map(content, run.records()))
    assert len(set(whole)) == len(whole)
    assert {record.status for record in run.records()} >= {"ok", "failed"}
    killed, round_, out = 0, 0, tmp_path / "out0"
    while killed < KILLS:
        process = start(module_toys, suite, out)
        try:
            # The first third of a second goes to imports.
            process.wait(0.3 + rng.random() * whole_time)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed += 1
        end = time.monotonic() + 10
        while at_work(out):
            assert time.monotonic() < end, f"kill {killed}: left running: {at_work(out)}"
            time.sleep(0.02)
        left = [record for found in find_runs(out, "toy") for record in found.records()]
        assert set(map(content, left)) <= set(whole), f"kill {killed}: changed"
        if process.returncode == 0:
            check(out, whole)
            round_, out = round_ + 1, tmp_path / f"out{round_ + 1}"
    process = start(module_toys, suite, out)
    _, errors = process.communicate()
    assert process.returncode == 0, errors.decode()
    check(out, whole)


def check(out: Path, whole: list[tuple[Any, ...]]) -> None:
    """The newest run is whole: every record once, and as ever; nothing is left half done."""
    folder: RunFolder = find_runs(out, "toy")[-1]
    records = folder.records()
    assert folder.info()["status"] == "complete"
    assert sorted(map(content, records)) == whole
    assert len(set(map(identity, records))) == len(records)
    assert not list((out / "toy/stages/work").iterdir())
    assert not list(out.rglob(".new.*"))
