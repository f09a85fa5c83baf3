"""A generator that reaches for people, cohorts, records or code costs its own cell at most."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from intruders import NOTE
from toy_runs import Events, records_of, values

from haplobench import BenchError
from haplobench.results.description import isolation_text
from haplobench.results.run_folder import RunFolder
from haplobench.runner.isolation import find_sandbox
from haplobench.runner.run import RunOutcome, run_suite
from haplobench.suite.load import load_suite

SUITE = """
name: intruders
datasets: [{name: vault, filters: {min_maf: 0.05}, split: {holdout: 0.25, validation: 0.1}}]
metrics: [difference]
floor: {draws: 1}
sample: {draws: 1}
limits: {time: 60s, memory: 1GiB}
generators:
  - {name: frequency, label: before}
"""
# Three runs, in a sandbox and outside.
pytestmark = pytest.mark.slow

VAULT = """
from pathlib import Path
import toy_datasets
from haplobench import DatasetSpec, hookimpl


class Vault(toy_datasets.Toy):
    def files(self, params):
        return [Path(__file__).with_name("people.txt")]


@hookimpl
def haplobench_datasets():
    params = toy_datasets.ToyParams
    return [DatasetSpec("vault", "1", "vault:Vault", "People in a file.", params)]
"""
HONEST = ("floor", "independent", "before", "after")
READS = ("read-holdout", "read-cohort", "read-source", "open-harness", "look-around")
# By label, in the order in which they are run: where each does what.
CELLS = {
    "reads": ("fit", READS),
    "holdout": ("fit", ("change-holdout",)),
    "cohort": ("sample", (*READS, "change-cohort")),
    "records": ("fit", ("rewrite-records", "append-records", "plant", "leave")),
    "collect": ("fit", ("collect",)),
}
METRIC = {"metric": ("fit", ("change-metric",))}


class Bench:
    """Runs of the intruders in a folder of their own, with values to compare with."""

    def __init__(self, toys: Any, folder: Path) -> None:
        self.toys, self.folder = toys, folder
        toys.write("intruders", Path(__file__).with_name("intruders.py").read_text())
        toys.write("vault", VAULT)
        (toys.folder / "people.txt").write_text("person person\n")
        self.registry = toys.registry("intruders", "vault")
        clean = self.run({}, "clean", "off")
        self.clean = self.honest(clean)
        # What the honest generator after all others will be said to have scored, if that works.
        self.forged = folder / "forged"
        shutil.copytree(folder / "clean/intruders/stages/measure", self.forged / "measure")
        for path in (self.forged / "measure").rglob("*.json"):
            told = json.loads(path.read_text())
            told["measurements"][0]["value"] = 0.0
            path.write_text(json.dumps(told))

    def run(self, cells: Any, out: str, sandbox: str, **more: Any) -> RunOutcome:
        items = [
            f"  - {{name: intruder, label: {label}, params: {{how: {json.dumps(how)}, "
            f"where: {where}, forged: '{self.folder / 'forged'}'}}}}"
            for label, (where, how) in cells.items()
        ]
        items.append("  - {name: frequency, label: after, params: {pause: 0.01}}")
        text = SUITE + "\n".join(items)
        suite = load_suite(self.toys.suite_file(text), (f"sandbox={sandbox}",), self.registry)
        return run_suite(suite, self.registry, self.folder / out, **more)

    def honest(self, outcome: RunOutcome) -> dict[Any, Any]:
        return values([r for r in records_of(outcome) if r.generator in HONEST])


def got(outcome: RunOutcome, label: str) -> list[str]:
    """What a generator says that it got hold of."""
    where, _ = CELLS[label]
    path = outcome.run_folder / f"artifacts/vault.{label}.seed1/{where}/got.txt"
    return path.read_text().splitlines() if path.exists() else []


def statuses(outcome: RunOutcome) -> dict[str, set[tuple[str, str]]]:
    found: dict[str, set[tuple[str, str]]] = {}
    for record in records_of(outcome):
        found.setdefault(record.generator, set()).add((record.status, record.error_type))
    return found


@pytest.fixture(scope="module")
def bench(module_toys: Any, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(module_toys, tmp_path_factory.mktemp("intruders"))


@pytest.fixture(scope="module")
def inside(bench: Bench) -> RunOutcome:
    """All of them, side by side, in sandboxes."""
    found = find_sandbox(bench.folder, ())
    if isinstance(found, str):
        pytest.skip(found)
    return bench.run(CELLS, "inside", "require", jobs=3)


@pytest.fixture(scope="module")
def outside(bench: Bench) -> tuple[RunOutcome, Events]:
    """All of them, one after the other, without a sandbox."""
    events = Events()
    return bench.run(CELLS, "outside", "off", reporter=events), events


def test_in_a_sandbox_nobody_else_is_touched(bench: Bench, inside: RunOutcome) -> None:
    assert bench.honest(inside) == bench.clean
    assert statuses(inside) == {key: {("ok", "")} for key in (*HONEST, *CELLS)}
    assert len(records_of(inside)) == len(values(records_of(inside)))


@pytest.mark.parametrize("label", ["reads", "cohort"])
def test_in_a_sandbox_it_gets_nothing(inside: RunOutcome, label: str) -> None:
    assert got(inside, label) == [
        "held out: 0 panels",
        "cohorts: 0 panels",
        "source: PermissionError",
        "code: 0 files",
        "processes: 0",
    ]


def test_in_a_sandbox_what_it_leaves_is_nowhere(inside: RunOutcome) -> None:
    assert got(inside, "collect") == ["left: 0 notes"]
    folders = (inside.run_folder.parent, Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"))
    assert not [folder for folder in folders if (folder / NOTE).exists()]


def test_in_a_sandbox_a_metrics_source_stays(bench: Bench, inside: RunOutcome) -> None:
    source = bench.toys.folder / "toy_metrics.py"
    before = source.read_bytes()
    outcome = bench.run(METRIC, "inside", "require")
    assert source.read_bytes() == before
    assert bench.honest(outcome) == bench.clean
    (record,) = [r for r in records_of(outcome) if r.generator == "metric"]
    assert (record.status, record.error_type) == ("failed", "OSError")
    assert "Read-only file system" in record.error
    assert "sandbox: off" in record.error


def test_outside_nobody_else_is_touched(bench: Bench, outside: tuple[RunOutcome, Events]) -> None:
    outcome, events = outside
    assert bench.honest(outcome) == bench.clean
    assert len(records_of(outcome)) == len(values(records_of(outcome)))
    caught = {("failed", "IntegrityError")}
    fine = {key: {("ok", "")} for key in (*HONEST, *CELLS)}
    assert statuses(outcome) == fine | {"holdout": caught, "cohort": caught}
    told = "\n".join(events.messages)
    assert "records.jsonl: changed by something else than this run; written again" in told
    assert got(outcome, "records") not in ([], ["planted: 0 results"])
    assert ".json: came there or changed while a generator's stage ran outside a sandbox" in told


def test_outside_the_run_says_that_people_could_be_read(
    inside: RunOutcome, outside: tuple[RunOutcome, Events]
) -> None:
    assert got(outside[0], "reads")[0] == "held out: 1 panels"
    texts = [
        isolation_text(RunFolder(run.run_folder).info()["isolation"])
        for run in (inside, outside[0])
    ]
    assert texts[0].startswith("generators ran in a sandbox (bubblewrap ")
    assert "they could read held-out people" in texts[1]


def test_outside_a_changed_source_ends_the_run(
    bench: Bench, outside: tuple[RunOutcome, Events]
) -> None:
    source = bench.toys.folder / "toy_metrics.py"
    before = source.read_text()
    try:
        with pytest.raises(BenchError, match=r"toy_metrics\.py: changed since the run began, when"):
            bench.run(METRIC, "outside", "off")
    finally:
        source.write_text(before)
