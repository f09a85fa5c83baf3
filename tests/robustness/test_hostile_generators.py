"""A generator that misbehaves costs its own cell: the others run, records and report stand."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import psutil
import pytest
from hostile import WAYS

from haplobench.results.records import Record
from haplobench.results.run_folder import RunFolder
from haplobench.runner.run import run_suite
from haplobench.suite.load import load_suite

# One run of all of them, with limits that have to pass.
pytestmark = pytest.mark.slow

# In a sandbox the guardian is out of a plugin's reach: it may wait until its time is up.
IN_SANDBOX = {"stop-guardian": "failed", "daemon-and-no-guardian": "timeout"}
# Ways that do no harm: what they leave is fine, or none of the harness's business.
STATUS = {"forks-that-write": "memory", "stop-guardian": "timeout"}
HARMLESS = {"no-artifacts", "long-name", "odd-name", "forks-that-share"}
SAMPLED = ("exit-0", "fifo", "artifacts-elsewhere", "no-checkpoint", "not-facts")
SUITE = """
name: hostile
datasets: [{name: toy, filters: {min_maf: 0.05}, split: {holdout: 0.25, validation: 0.1}}]
metrics: [difference]
floor: {draws: 1}
limits: {time: 8s, memory: 1GiB}
generators:
  - {name: frequency, label: before}
"""
GIB = 1 << 30


@pytest.fixture(scope="module")
def outcome(module_toys: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One run of them all."""
    toys, out = module_toys, tmp_path_factory.mktemp("hostile")
    toys.write("hostile", (Path(__file__).with_name("hostile.py")).read_text())
    cells = [(way, "fit") for way in WAYS] + [(way, "sample") for way in SAMPLED]
    items = [
        f"  - {{name: hostile, label: {way}-{where}, params: {{how: {way}, where: {where}}}}}"
        for way, where in cells
    ]
    items.append("  - {name: frequency, label: after}")
    registry = toys.registry("hostile")
    suite = load_suite(toys.suite_file(SUITE + "\n".join(items)), (), registry)
    return run_suite(suite, registry, out, jobs=4)


@pytest.fixture(scope="module")
def sandboxed(outcome: Any) -> bool:
    return bool(RunFolder(outcome.run_folder).info()["isolation"]["sandbox"])


@pytest.fixture(scope="module")
def records(outcome: Any) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for record in RunFolder(outcome.run_folder).records():
        found.setdefault(record.generator, []).append(record)
    return found


def test_the_run_is_complete_and_the_others_are_measured(outcome: Any, records: Any) -> None:
    assert RunFolder(outcome.run_folder).info()["status"] == "complete"
    for label in ("before", "after", "independent", "floor"):
        assert {record.status for record in records[label]} == {"ok"}, label


@pytest.mark.parametrize(
    ("way", "where"), [(way, "fit") for way in WAYS] + [(way, "sample") for way in SAMPLED]
)
def test_each_costs_its_own_cell(records: Any, sandboxed: bool, way: str, where: str) -> None:
    (record, *more) = records[f"{way}-{where}"]
    if way in HARMLESS:
        assert record.status == "ok", record.error
        return
    assert not more
    status = STATUS | (IN_SANDBOX if sandboxed else {})
    assert record.status == status.get(way, "failed"), record.error
    assert record.phase in (where, "sample", "measure")
    assert len(record.error) < 40_000
    assert not [c for c in record.error if c < " " and c not in "\n\t"]


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("exit-0-fit", "ended with status 0 before it was done"),
        ("exit-0-sample", "ended with status 0 before it was done"),
        ("fifo-fit", "artifacts/pipe is a FIFO, expected files and folders"),
        ("socket-fit", "artifacts/socket is a socket"),
        ("link-to-zero-fit", "artifacts/endless is a link that leads out"),
        ("artifacts-elsewhere-fit", "artifacts is a link that leads out"),
        ("artifacts-a-file-fit", "artifacts is no folder"),
        ("fifo-for-status-fit", "ZeroDivisionError"),
        ("no-checkpoint-fit", "checkpoint"),
        ("long-message-fit", "characters left out …] xxx"),
        ("odd-message-fit", r"red \x1b[31m, half \ud800, torn\x00"),
        ("no-message-fit", "its message can't be had: RuntimeError"),
        ("long-log-fit", "the last line"),
        ("forks-that-write-fit", "past its limit of 1.0 GiB"),
    ],
)
def test_the_record_says_why(records: Any, cell: str, words: str) -> None:
    assert words in records[cell][0].error


def test_nothing_is_left_running(outcome: Any) -> None:
    left = []
    for process in psutil.process_iter():
        try:
            line = process.cmdline()
        except psutil.Error:
            continue
        if line[:2] in (["sleep", "977"], ["sleep", "978"]):
            left.append(process)
    assert not left


def test_logs_keep_beginning_and_end(outcome: Any) -> None:
    log = outcome.run_folder / "logs" / "toy.long-log-fit.seed1.fit.log"
    text = log.read_text()
    assert len(text) < 9 << 20
    assert "bytes left out here]" in text
    assert text.startswith("yyy")
    assert text.endswith("the last line\n")


def test_what_is_left_for_the_user_is_in_the_run_folder(outcome: Any) -> None:
    folder = outcome.run_folder / "artifacts"
    assert os.listdir(folder / "toy.long-name-fit.seed1" / "fit") == ["x" * 255]
    assert not (folder / "toy.artifacts-elsewhere-fit.seed1").exists()
