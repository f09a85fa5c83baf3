"""The store has whole stages or none."""

from __future__ import annotations

import os
from pathlib import Path

from haplobench.files import owner
from haplobench.runner.store import StageStore


def test_the_store_has_whole_stages_or_none(tmp_path: Path) -> None:
    store = StageStore(tmp_path)
    with store.workspace("fit", "key") as work:
        output = work / "output"
        output.mkdir()
        (output / "stage.json").write_text('{"generation": 1, "n": 1}')
        assert store.finished("fit", "key") is None
        store.publish(output, "fit", "key")
    assert not list((tmp_path / "work").iterdir())
    assert store.finished("fit", "key") == {"generation": 1, "n": 1}
    assert StageStore(tmp_path, generation=2, least=2).finished("fit", "key") is None
    # Done again: the new one takes its place.
    with store.workspace("fit", "key") as work:
        (work / "output").mkdir()
        (work / "output" / "stage.json").write_text('{"generation": 2, "n": 2}')
        store.publish(work / "output", "fit", "key")
    assert (store.finished("fit", "key") or {})["n"] == 2
    assert StageStore(tmp_path, generation=2, least=2).finished("fit", "key") is not None
    assert sorted(path.name for path in (tmp_path / "fit").iterdir()) == ["key"]


def test_work_of_processes_that_are_gone_is_swept(tmp_path: Path) -> None:
    import socket

    host = socket.gethostname()
    gone = tmp_path / "work" / f"{host}.999999999.fit-key-x"
    ours = tmp_path / "work" / f"{host}.{os.getpid()}.fit-key-x"
    foreign = tmp_path / "work" / "elsewhere.12.fit-key-x"
    for folder in (gone, ours, foreign):
        folder.mkdir(parents=True)
    StageStore(tmp_path).sweep()
    assert not gone.exists()
    assert ours.exists()
    assert foreign.exists()


def test_scratch_files_of_processes_that_are_gone_are_swept(tmp_path: Path) -> None:
    places = [
        tmp_path,
        tmp_path / "measure" / "ab",
        tmp_path / "checkpoints",
        tmp_path / "checkpoints" / "fit-key",
        tmp_path / "checkpoints" / "fit-key" / "deep" / "er",
    ]
    gone, ours = f".new.{os.uname().nodename}.999999999.ab", f".new.{owner()}.ab"
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
        (place / gone).touch()
        (place / ours).touch()
    StageStore(tmp_path).sweep()
    assert not [place for place in places if (place / gone).exists()]
    assert all((place / ours).exists() for place in places)
