"""Runs of the toy plugins, and what became of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from haplobench.plugin import StageEvent
from haplobench.results.records import Record
from haplobench.results.run_folder import RunFolder
from haplobench.runner.progress import ProgressReporter
from haplobench.runner.run import RunOutcome, run_suite
from haplobench.suite.load import load_suite

HARNESS = """
import sys
from pathlib import Path
from haplobench.registry import load_registry
from haplobench.runner.run import run_suite
from haplobench.suite.load import load_suite

suite, out, overrides = sys.argv[1], sys.argv[2], sys.argv[3:]
registry = load_registry(["toy_datasets", "toy_generators", "toy_metrics"])
try:
    outcome = run_suite(load_suite(suite, overrides, registry), registry, Path(out))
except KeyboardInterrupt:
    sys.exit(130)
print(outcome.run_folder)
sys.exit(outcome.exit_code)
"""


def run(toys: Any, text: str, out: Path, *overrides: str, **more: Any) -> RunOutcome:
    registry = more.pop("registry", None) or toys.registry()
    suite = load_suite(toys.suite_file(text), overrides, registry)
    return run_suite(suite, registry, out, **more)


def records_of(outcome: RunOutcome) -> list[Record]:
    return RunFolder(outcome.run_folder).records()


def values(records: list[Record]) -> dict[tuple[Any, ...], Any]:
    """Everything in records that must not depend on when and where they were made."""
    return {
        (r.dataset, r.generator, r.seed, r.replicate, r.metric, r.submetric, str(dict(r.labels))): (
            r.value,
            r.standard_error,
            r.n,
            r.status,
            r.note,
            r.error_type,
        )
        for r in records
        if r.family != "performance"
    }


def bad(records: list[Record]) -> list[Record]:
    return [r for r in records if r.status in ("failed", "timeout", "memory")]


class Events(ProgressReporter):
    def __init__(self) -> None:
        self.events: list[StageEvent] = []
        self.messages: list[str] = []

    def stage_finished(self, event: StageEvent) -> None:
        self.events.append(event)

    def message(self, text: str) -> None:
        self.messages.append(text)

    def ran(self) -> set[tuple[str, str]]:
        return {(e.cell, e.stage) for e in self.events if e.status != "cached"}
