"""What was stored and then changed, torn, deleted or left half written: noticed, and mended."""

from __future__ import annotations

import json
import os
import shutil
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from haplobench import BenchError
from haplobench.results.records import Record
from haplobench.results.run_folder import RunFolder
from haplobench.runner.progress import ProgressReporter
from haplobench.runner.run import RunOutcome, run_suite
from haplobench.runner.store import StageStore
from haplobench.suite.load import load_suite

SUITE = """
name: toy
datasets: [{name: toy, filters: {min_maf: 0.05}, split: {holdout: 0.25, validation: 0.1}}]
generators: [frequency]
metrics: [difference]
floor: {draws: 1}
limits: {time: 60s, memory: 2GiB}
"""


class Listener(ProgressReporter):
    def __init__(self) -> None:
        self.messages: list[str] = []

    def message(self, text: str) -> None:
        self.messages.append(text)


def run(toys: Any, out: Path, text: str = SUITE, **more: Any) -> RunOutcome:
    registry = toys.registry()
    return run_suite(load_suite(toys.suite_file(text), (), registry), registry, out, **more)


def values(outcome: RunOutcome) -> dict[Any, Any]:
    records = RunFolder(outcome.run_folder).records()
    return {(r.generator, r.metric, r.submetric, r.replicate): r.value for r in records}


def flip(path: Path, at: int) -> None:
    """Change one bit of a file, as a bad disk or a stray program would."""
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)


def unfinished(outcome: RunOutcome) -> None:
    """Have a run look as if it had been killed."""
    path = outcome.run_folder / "run.json"
    path.write_text(path.read_text().replace('"status": "complete"', '"status": "running"'))


@pytest.fixture(scope="module")
def stored(module_toys: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A folder of results with a whole run, and its values."""
    out = tmp_path_factory.mktemp("stored")
    return out, values(run(module_toys, out))


@pytest.mark.parametrize(
    ("stage", "file", "word"),
    [
        ("prepare", "holdout/haplotypes.npy", "changed since it was stored"),
        ("prepare", "train/sites.npz", "not a saved panel"),
        ("prepare", "validation.npy", "changed since it was stored"),
        ("sample", "draw0/haplotypes.npy", "changed since it was stored"),
    ],
)
def test_a_stored_panel_that_changed_is_made_again(
    module_toys: Any, stored: tuple[Path, Any], tmp_path: Path, stage: str, file: str, word: str
) -> None:
    out = tmp_path / "out"
    shutil.copytree(stored[0], out)
    for path in (out / "toy/stages" / stage).glob(f"*/{file}"):
        flip(path, path.stat().st_size - 3)
    listener = Listener()
    assert values(run(module_toys, out, reporter=listener)) == stored[1]
    told = [text for text in listener.messages if word in text]
    assert told
    assert all("done again" in text for text in told)
    listener = Listener()
    run(module_toys, out, reporter=listener)
    assert not listener.messages


def test_what_is_stored_is_read_only(stored: tuple[Path, Any]) -> None:
    files = [p for p in (stored[0] / "toy/stages/prepare").rglob("*") if p.is_file()]
    assert files
    assert not [path for path in files if path.stat().st_mode & 0o222]
    panel = next(path for path in files if path.name == "haplotypes.npy")
    assert not np.load(panel, mmap_mode="r").flags.writeable


def test_a_record_torn_inside_a_character_is_written_again(
    module_toys: Any, tmp_path: Path
) -> None:
    text = SUITE + "title: é\n"
    first = run(module_toys, tmp_path, text)
    folder = RunFolder(first.run_folder)
    before = values(first)
    lines = folder.records_path.read_bytes().splitlines(keepends=True)
    torn = json.dumps({"note": "é"}, ensure_ascii=False).encode()[:11]
    assert torn.endswith(b"\xc3")
    folder.records_path.write_bytes(b"".join(lines[:-1]) + torn)
    unfinished(first)
    again = run(module_toys, tmp_path, text)
    assert again.run_folder == first.run_folder
    assert values(again) == before


def test_a_run_whose_folder_vanishes_is_not_complete(module_toys: Any, tmp_path: Path) -> None:
    class Vandal(ProgressReporter):
        done = 0

        def cell_finished(self, cell: str, failures: int) -> None:
            self.done += 1
            if self.done == self.when:
                (folder,) = (path.parent for path in tmp_path.glob("toy/*/run.json"))
                shutil.rmtree(folder)

        def __init__(self, when: int) -> None:
            self.when = when

    for when in (1, 3):  # in the middle, and after the last record
        with pytest.raises(BenchError, match="records that this run wrote are gone"):
            run(module_toys, tmp_path, reporter=Vandal(when))
        left = [json.loads(path.read_text()) for path in tmp_path.glob("toy/*/run.json")]
        assert not [info for info in left if info["status"] == "complete"]
    assert len(values(run(module_toys, tmp_path))) == 3


def test_a_fresh_run_needs_no_clock(toys: Any, tmp_path: Path) -> None:
    source = toys.folder / "toy_generators.py"
    source.write_text(source.read_text() + "\n\ntime.time = lambda: 86_400.0\n")
    first = run(toys, tmp_path)
    second = run(toys, tmp_path, fresh=True)
    assert second.exit_code == 0
    assert values(second) == values(first)
    assert [r.status for r in records(second)] == ["ok"] * 3
    # Nothing of the first run was used: all of it lies there anew.
    stages = tmp_path.glob("toy/stages/fit/*/stage.json")
    assert {json.loads(path.read_text())["generation"] for path in stages} == {1}


def records(outcome: RunOutcome) -> list[Record]:
    return RunFolder(outcome.run_folder).records()


def test_leftovers_of_processes_that_are_gone_are_swept(tmp_path: Path) -> None:
    host = socket.gethostname()
    folder = tmp_path / "measure" / "ab"
    folder.mkdir(parents=True)
    gone = folder / f".new.{host}.999999999.0a0b0c0d"
    ours = folder / f".new.{host}.{os.getpid()}.0a0b0c0d"
    theirs = folder / ".new.elsewhere.1.0a0b0c0d"
    for path in (gone, ours, theirs, folder / "abcd.json"):
        path.write_text("{}")
    StageStore(tmp_path).sweep()
    assert sorted(folder.iterdir()) == sorted([ours, theirs, folder / "abcd.json"])


def test_a_broken_description_of_another_run_stops_nobody(module_toys: Any, tmp_path: Path) -> None:
    first = run(module_toys, tmp_path)
    (first.run_folder / "run.json").write_text("{]")
    listener = Listener()
    assert run(module_toys, tmp_path, reporter=listener).exit_code == 0
    assert "passed over" in listener.messages[0]
