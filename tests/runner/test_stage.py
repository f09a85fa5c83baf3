"""A stage from the store: what an earlier build left under other facts is done again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from toy_runs import Events, records_of, run, values

from haplobench.plugin import StageEvent
from haplobench.registry import Registry
from haplobench.runner.stage import observer


@pytest.fixture(scope="module")
def stored(module_toys: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Any]:
    """A suite with a whole run of it, and its values."""
    out = tmp_path_factory.mktemp("stored")
    text = "name: toy\ndatasets: [toy]\ngenerators: [frequency]\nmetrics: [difference]\n"
    text += "floor: {draws: 1}\nsample: {draws: 1}\n"
    return text, out, values(records_of(run(module_toys, text, out)))


@pytest.mark.parametrize(
    ("stage", "name", "key", "facts"),
    [
        ("prepare", "dataset.json", "content", "PrepareFacts: content: Field required"),
        ("fit", "stage.json", "cpu", "FitFacts: cpu: Field required"),
        ("sample", "stage.json", "draws", "SampleFacts: draws: Field required"),
        ("measure", "*.json", "measurements", "MeasureFacts: measurements: Field required"),
    ],
)
def test_facts_that_lack_something_are_made_again(
    module_toys: Any,
    stored: tuple[str, Path, Any],
    tmp_path: Path,
    stage: str,
    name: str,
    key: str,
    facts: str,
) -> None:
    text, out, before = stored
    shutil.copytree(out, tmp_path / "out")
    paths = list((tmp_path / "out/toy/stages" / stage).glob(f"*/{name}"))
    assert paths
    for path in paths:
        told = json.loads(path.read_text())
        del told[key]
        path.chmod(0o644)
        path.write_text(json.dumps(told))
    events = Events()
    again = run(module_toys, text, tmp_path / "out", reporter=events)
    assert again.exit_code == 0
    assert values(records_of(again)) == before
    assert {stage} == {at for _, at in events.ran()}
    notes = [message for message in events.messages if facts in message]
    assert len(notes) >= len(paths)
    assert all(note.endswith("; done again") for note in notes)
    quiet = Events()
    run(module_toys, text, tmp_path / "out", reporter=quiet)
    assert not quiet.ran()
    assert not quiet.messages


def test_an_observer_that_fails_three_times_in_a_row_is_left_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen: list[str] = []

    def down(event: StageEvent) -> None:
        seen.append(event.stage)
        if event.stage != "sample":
            raise OSError("connection refused")

    observers = SimpleNamespace(observers=lambda hook: [("tracker", down)])
    observe = observer(cast("Registry", observers))
    stages = ["prepare", "fit", "sample", "measure", "fit", "prepare", "sample", "measure"]
    for stage in stages:
        observe(StageEvent("chr20/vae/seed1", stage, "ok", 1.0))
    assert seen == stages[:6]  # one that goes well in between begins the count anew
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 5
    assert [text.endswith("no more stages of this run") for text in told] == [False] * 4 + [True]
