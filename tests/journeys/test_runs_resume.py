"""Killing the harness at any moment, interrupting it, running two at once: nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from toy_runs import HARNESS, Events, records_of, run, values

from haplobench import BenchError
from haplobench.results.records import Record
from haplobench.results.run_folder import RunFolder, find_runs

SMALL = ("generators=[]", "metrics=[difference, spectrum]", "sample.draws=1", "floor.draws=1")


def start(
    toys: Any, suite: Path, out: Path, *overrides: str, **environment: str
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HARNESS, str(suite), str(out), *overrides],
        env={**os.environ, "PYTHONPATH": str(toys.folder), **environment},
        stdout=subprocess.PIPE,
        text=True,
        # A shell's background jobs ignore interrupts, and so would their children.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.default_int_handler),
    )


def wait_for(what: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def stage_processes(out: Path) -> list[psutil.Process]:
    """Processes of stages that work for a folder of results."""
    found = []
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())
            alive = process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            continue
        if alive and "entry.py" in line and str(out) in line:
            found.append(process)
    return found


def run_until(toys: Any, suite: Path, out: Path, stage: str, sign: signal.Signals) -> int:
    """Start a run in a process, and signal it while a stage, which lingers, is at work."""
    harness = start(toys, suite, out, *SMALL, TOY_LINGER=stage)
    wait_for(lambda: any((out / "toy/stages/work").glob(f"*.{stage}-*/job.json")))
    time.sleep(0.6)  # past its imports, into its work
    assert stage_processes(out), "the stage ended before it could be interrupted"
    harness.send_signal(sign)
    harness.communicate(timeout=20)
    return harness.returncode


@pytest.fixture(scope="module")
def unbroken() -> dict[str, Any]:
    return {}


@pytest.mark.parametrize(
    ("stage", "again"),
    [
        ("prepare", {"prepare", "fit", "sample", "measure"}),
        ("fit", {"fit", "sample", "measure"}),
        ("sample", {"sample", "measure"}),
        ("measure", {"measure"}),
    ],
)
def test_after_sigkill_the_same_command_resumes(
    toys: Any,
    suite_text: str,
    tmp_path: Path,
    shared_out: Path,
    unbroken: dict[str, Any],
    stage: str,
    again: set[str],
) -> None:
    suite = toys.suite_file(suite_text)
    out = tmp_path / "out"
    if stage == "measure":
        # The floor's own measure stage would be the one to linger: have it done before.
        first = start(toys, suite, out, *SMALL, "sample.draws=2")
        first.communicate(timeout=60)
    assert run_until(toys, suite, out, stage, signal.SIGKILL) == -signal.SIGKILL
    # Nothing is left running: the kernel told the guardian.
    wait_for(lambda: not stage_processes(out), 5)
    broken = find_runs(out, "toy")[-1]
    assert broken.info()["status"] == "running"

    events = Events()
    outcome = run(toys, suite_text, out, *SMALL, reporter=events)
    assert outcome.resumed
    assert outcome.run_folder == broken.path
    assert f"resuming {broken.path}" in events.messages[0]
    ran = {at for name, at in events.ran() if name != "toy/floor"}
    assert ran == again
    assert RunFolder(outcome.run_folder).info()["status"] == "complete"
    assert outcome.exit_code == 0
    records = records_of(outcome)
    # Every measurement once.
    assert len(records) == len(values(records))
    if not unbroken:
        unbroken.update({"values": values(records_of(run(toys, suite_text, shared_out, *SMALL)))})
    assert values(records) == unbroken["values"]
    assert not list((out / "toy/stages/work").iterdir())


def test_a_run_killed_before_it_was_described_leaves_nothing(
    toys: Any, suite_text: str, tmp_path: Path
) -> None:
    host, gone = os.uname().nodename, 999999999
    parent = tmp_path / "out" / "toy"
    unborn = {
        "killed": (f"process {gone} on {host}", f".new.{host}.{gone}.ab"),
        "killed-later": (f"process {gone} on {host}", "suite.yaml"),
        "alive": (f"process {os.getpid()} on {host}", f".new.{host}.{os.getpid()}.ab"),
        "elsewhere": (f"process {gone} on elsewhere", "suite.yaml"),
        "recorded": (f"process {gone} on {host}", "records.jsonl"),
        "torn": ("process", "suite.yaml"),
    }
    for name, (holder, file) in unborn.items():
        (parent / name).mkdir(parents=True)
        (parent / name / "run.lock").touch()
        (parent / name / "run.holder").write_text(holder)
        (parent / name / file).touch()
    outcome = run(toys, suite_text, tmp_path / "out", *SMALL)
    assert outcome.exit_code == 0
    left = {path.name for path in parent.iterdir()} - {outcome.run_folder.name, "stages"}
    assert left == {"alive", "elsewhere", "recorded", "torn"}


def test_ctrl_c_ends_the_children_and_leaves_a_run_to_resume(
    toys: Any, suite_text: str, tmp_path: Path
) -> None:
    suite = toys.suite_file(suite_text)
    out = tmp_path / "out"
    code = run_until(toys, suite, out, "fit", signal.SIGINT)
    assert code == 130
    assert not stage_processes(out)
    (broken,) = find_runs(out, "toy")
    assert broken.info()["status"] == "incomplete"
    outcome = run(toys, suite_text, out, *SMALL)
    assert outcome.resumed
    assert outcome.exit_code == 0


def test_programs_that_a_plugin_started_die_with_the_harness(
    toys: Any, suite_text: str, tmp_path: Path
) -> None:
    suite = toys.suite_file(suite_text)
    pid_file = tmp_path / "pid"
    harness = start(
        toys,
        suite,
        tmp_path / "out",
        *SMALL,
        # So that it can say where.
        "sandbox=off",
        "generators=[{name: frequency, params: {misbehave: spawn}}]",
        TOY_PID=str(pid_file),
    )
    wait_for(lambda: pid_file.exists() and bool(pid_file.read_text()))
    child = psutil.Process(int(pid_file.read_text()))
    assert child.is_running()
    harness.kill()
    harness.communicate()
    wait_for(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, 5)


def test_two_harnesses_on_one_folder_share_the_work(
    toys: Any, suite_text: str, tmp_path: Path
) -> None:
    suite = toys.suite_file(suite_text)
    count = tmp_path / "count"
    out = tmp_path / "out"
    both = [
        start(toys, suite, out, *SMALL, "sandbox=off", TOY_COUNT=str(count), TOY_LINGER="fit")
        for _ in range(2)
    ]
    told = [harness.communicate(timeout=60) for harness in both]
    assert [harness.returncode for harness in both] == [0, 0], told
    folders = [Path(out.strip()) for out, _ in told]
    assert folders[0] != folders[1]
    first, second = (values(RunFolder(folder).records()) for folder in folders)
    assert first == second
    # Whoever came second waited for the stage instead of doing it again.
    assert sorted(count.read_text().split()) == ["fit", "sample"]


def test_a_failure_is_not_repeated_when_its_run_is_resumed(
    toys: Any, suite_text: str, shared_out: Path
) -> None:
    more = ("generators=[{name: frequency, params: {misbehave: raise, pause: 0.01}}]",)
    first = run(toys, suite_text, shared_out, *more)
    folder = RunFolder(first.run_folder)
    # As if it had been killed before its end.
    path = folder.path / "run.json"
    path.write_text(path.read_text().replace('"status": "complete"', '"status": "running"'))
    before = folder.records()
    events = Events()
    second = run(toys, suite_text, shared_out, *more, reporter=events)
    assert second.run_folder == first.run_folder
    assert second.failed == ("toy/frequency/seed1",)
    assert [e.message.split(":")[0] for e in events.events if e.status == "failed"] == ["as before"]
    assert folder.records() == before


def test_a_torn_record_is_written_again(toys: Any, suite_text: str, shared_out: Path) -> None:
    more = ("generators=[]", "floor.draws=3")
    first = run(toys, suite_text, shared_out, *more)
    folder = RunFolder(first.run_folder)
    whole = values(folder.records())
    path = folder.path / "run.json"
    path.write_text(path.read_text().replace('"status": "complete"', '"status": "running"'))
    text = folder.records_path.read_bytes()
    folder.records_path.write_bytes(text[:-100])
    assert len(folder.records()) == len(whole) - 1
    run(toys, suite_text, shared_out, *more)
    again: list[Record] = folder.records()
    assert values(again) == whole
    assert len(again) == len(whole)


def test_a_full_disk_is_one_line_and_what_is_done_is_kept(
    toys: Any, suite_text: str, shared_out: Path
) -> None:
    more = ("generators=[{name: frequency, params: {misbehave: full}}]", "floor.draws=4")
    with pytest.raises(BenchError) as caught:
        run(toys, suite_text, shared_out, *more)
    assert "No space left on device" in str(caught.value)
    assert "\n" not in str(caught.value)
    runs = find_runs(shared_out, "toy")
    assert runs[-1].info()["status"] == "incomplete"
    assert {r.generator for r in runs[-1].records()} == {"floor", "independent"}


def test_an_unfinished_fresh_run_goes_on_with_its_own_stages(
    toys: Any, suite_text: str, shared_out: Path
) -> None:
    run(toys, suite_text, shared_out, *SMALL)
    first = run(toys, suite_text, shared_out, *SMALL, fresh=True)
    path = first.run_folder / "run.json"
    path.write_text(path.read_text().replace('"status": "complete"', '"status": "running"'))
    events = Events()
    again = run(toys, suite_text, shared_out, *SMALL, fresh=True, reporter=events)
    assert again.run_folder == first.run_folder
    assert events.ran() == set()


def test_changed_data_starts_a_run_of_its_own(toys: Any, suite_text: str, shared_out: Path) -> None:
    first = run(toys, suite_text, shared_out, *SMALL)
    path = first.run_folder / "run.json"
    path.write_text(path.read_text().replace('"status": "complete"', '"status": "running"'))
    other = run(toys, suite_text, shared_out, *SMALL, "datasets[0].split.seed=2")
    assert other.run_folder != first.run_folder
    assert not other.resumed
