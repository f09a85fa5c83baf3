"""The sandbox: found where it works, refused by name where it doesn't; a stage's view of files."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from toy_runs import records_of, run, values

from haplobench import BenchError
from haplobench.results.run_folder import RunFolder
from haplobench.runner.isolation import Sandbox, find_sandbox
from haplobench.runner.worker.job import Job
from haplobench.suite.load import load_suite

SUITE = """
name: toy
datasets: [{name: toy, filters: {min_maf: 0.05}, split: {holdout: 0.25, validation: 0.1}}]
generators: [{name: conditional}]
metrics: [difference]
floor: {draws: 1}
sample: {draws: 2}
"""


def bubblewrap(folder: Path, people: tuple[Path, ...] = ()) -> Sandbox:
    found = find_sandbox(folder, people)
    if isinstance(found, str):
        pytest.skip(found)
    return found


def job(prepared: Path, **more: Any) -> Job:
    return Job(
        stage="fit",
        plugins=(),
        output="",
        scratch="",
        artifacts="",
        status="",
        error="",
        time_limit=1.0,
        settings={"prepared": str(prepared)},
        **more,
    )


def program(folder: Path, text: str) -> None:
    path = folder / "bwrap"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "bwrap isn't installed"),
        ("exit 3", "bwrap doesn't run: "),
        (
            '[ "$1" = --version ] && echo bubblewrap 0.8.0 && exit\n'
            "echo 'bwrap: No permissions to create a new namespace' >&2; exit 1",
            "bwrap doesn't work here: bwrap: No permissions to create a new namespace",
        ),
        # One that hides nothing.
        (
            '[ "$1" = --version ] && echo bubblewrap 0.8.0 && exit\n'
            'while [ "$1" != -- ]; do shift; done; shift; exec "$@"',
            "bwrap doesn't work here: what is to be hidden can be seen",
        ),
    ],
)
def test_where_it_does_not_work_the_reason_is_said_and_stands_in_the_run(
    toys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, why: str
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    if text:
        program(programs, text)
    else:
        monkeypatch.setattr("shutil.which", lambda name, *_: None)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    found = find_sandbox(tmp_path, ())
    assert isinstance(found, str)
    assert found.startswith(why)
    with pytest.raises(BenchError, match="sandbox: require: bwrap"):
        run(toys, SUITE, tmp_path / "out", "sandbox=require")
    if not text:
        outcome = run(toys, SUITE, tmp_path / "out", "generators=[]")
        told = RunFolder(outcome.run_folder).info()["isolation"]
        # The control's fit and sample stages.
        assert told == {"sandbox": "", "why_not": why, "inside": 0, "outside": 2}


def test_numbers_do_not_depend_on_it_and_what_is_required_is_done_again(
    toys: Any, tmp_path: Path
) -> None:
    bubblewrap(tmp_path)
    outside = run(toys, SUITE, tmp_path / "out", "sandbox=off")
    inside = run(toys, SUITE, tmp_path / "out", "sandbox=require")
    assert values(records_of(inside)) == values(records_of(outside))
    told = [RunFolder(o.run_folder).info()["isolation"] for o in (outside, inside)]
    assert [(t["inside"], t["outside"]) for t in told] == [(0, 4), (4, 0)]
    # One that doesn't ask takes what is there, and still says where it came from.
    kept = RunFolder(run(toys, SUITE, tmp_path / "out", "sandbox=off").run_folder).info()
    assert (kept["isolation"]["inside"], kept["isolation"]["outside"]) == (4, 0)


def test_a_suite_says_off_as_yaml_reads_it(toys: Any) -> None:
    registry = toys.registry()
    for text, expected in (("off", "off"), ("'off'", "off"), ("require", "require")):
        path = toys.suite_file(f"{SUITE}sandbox: {text}\n")
        suite = load_suite(path, (), registry)
        assert suite.sandbox == expected
        assert suite.digest == load_suite(toys.suite_file(SUITE), (), registry).digest


def test_a_stage_sees_its_inputs_and_writes_its_own_folders(tmp_path: Path) -> None:
    results, people = tmp_path / "results", tmp_path / "panel.vcf"
    store = results / "suite" / "stages"
    prepared, work, other = store / "prepare" / "k", store / "work" / "w", store / "sample" / "o"
    for folder in (prepared / "train", prepared / "holdout", work, other):
        folder.mkdir(parents=True)
        (folder / "a").write_text("a")
    log, named = results / "suite" / "log", tmp_path / "named.txt"
    for path in (people, log, named):
        path.write_text("a")
    (results / "baselines").mkdir()
    (results / "baselines" / "a").write_text("a")
    sandbox = bubblewrap(results, (people,))
    command = sandbox.command(job(prepared, params={"run": [f"cat {named}"]}), work, log)
    seen = {
        prepared / "train" / "a": True,
        prepared / "holdout" / "a": False,
        other / "a": False,
        named: True,
        work / "a": True,
    }
    script = 'for f in "$@"; do cat "$f" 2>/dev/null >/dev/null && echo 1 || echo 0; done'
    shown = [str(path) for path in (*seen, people)]
    done = subprocess.run(
        [*command, "sh", "-c", script, "sh", *shown], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [*("01"[there] for there in seen.values()), "0"]
    changed = [prepared / "train" / "a", named, work / "a", log]
    script = 'for f in "$@"; do (echo b >>"$f") 2>/dev/null && echo 1 || echo 0; done'
    done = subprocess.run(
        [*command, "sh", "-c", script, "sh", *map(str, changed)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["0", "0", "1", "1"]
    assert (work / "a").read_text() == log.read_text() == "ab\n"


def test_root_in_it_has_no_more_rights_than_over_files(tmp_path: Path) -> None:
    command = bubblewrap(tmp_path).command(job(tmp_path), tmp_path, tmp_path / "log")
    (tmp_path / "log").touch()
    done = subprocess.run(
        [*command, "grep", "CapEff", "/proc/self/status"], capture_output=True, text=True
    )
    # CAP_DAC_OVERRIDE is bit 1; somebody who isn't root has none.
    assert int(done.stdout.split()[1], 16) == (2 if os.getuid() == 0 else 0)
