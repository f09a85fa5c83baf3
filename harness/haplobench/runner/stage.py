"""A stage of a cell: taken from the store where it's there, else done by a process and stored."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from haplobench.data.prepared import FACTS_FILE, verify_panel, verify_prepared
from haplobench.errors import BenchError, FormatError, PanelError
from haplobench.files import file_name, read_as, read_json
from haplobench.plugin.hooks import StageEvent
from haplobench.registry import Registry
from haplobench.results.records import Phase, Status
from haplobench.results.run_folder import RunFolder
from haplobench.runner.describe import ClaimLog
from haplobench.runner.executors.local import Executor, StageTask, StoppedError
from haplobench.runner.executors.process import Outcome
from haplobench.runner.plan import Keys
from haplobench.runner.progress import ProgressReporter
from haplobench.runner.recording import Failure, RecordLog
from haplobench.runner.store import StageStore, unstorable
from haplobench.runner.worker.cost import Beat
from haplobench.runner.worker.facts import STAGE_FILE, SampleFacts
from haplobench.runner.worker.job import Job, Stage, StageError, is_no_space, last_lines
from haplobench.runner.worker.launch import log_of_rank
from haplobench.suite.schema import Limits, Suite
from haplobench.units import format_duration, format_size

T = TypeVar("T")


class StageFailedError(Exception):
    """A stage of a cell gave nothing; `failure` says why, `key` is the stage's."""

    def __init__(self, stage: Phase, failure: Failure, key: str, *, user: bool = False) -> None:
        super().__init__(failure.error)
        self.stage = stage
        self.failure = failure
        self.key = key
        self.user = user


@dataclass
class RunState:
    """What all cells of a run share."""

    suite: Suite
    registry: Registry
    folder: RunFolder
    store: StageStore
    executor: Executor
    reporter: ProgressReporter
    keys: Keys
    log: RecordLog
    claims: ClaimLog
    observe: Callable[[StageEvent], None]
    stop: threading.Event = field(default_factory=threading.Event)

    def event(self, cell: str, stage: str, status: str, wall: float, message: str = "") -> None:
        """Tell reporter and observers of a stage that ended."""
        event = StageEvent(cell, stage, status, wall, message)
        self.reporter.stage_finished(event)
        self.observe(event)

    def modules(self, kind: str, *names: str) -> tuple[str, ...]:
        """Plugin modules that declare some specs."""
        return tuple(dict.fromkeys(self.registry.source(kind, name).module for name in names))


def run_stage(
    run: RunState,
    cell: str,
    stage: Stage,
    key: str,
    limits: Limits,
    job: Mapping[str, Any],
    facts: type[T],
) -> T:
    """The facts that a stage hands back, from the store or after running it.

    Raises
    ------
    StageFailedError
        If its process failed, ran out of time or out of memory.
    StoppedError
        If the run was stopped.
    """
    stored = _stored(run, cell, stage, key, facts)
    if stored is None:

        def waiting(holder: str) -> None:
            run.reporter.message(f"{cell} {stage}: waiting for {holder}, which is doing it")

        try:
            with run.store.lock(stage, key, waiting, run.stop.is_set):
                stored = _stored(run, cell, stage, key, facts)
                if stored is None:
                    return _run_process(run, cell, stage, key, limits, job, facts)
        except InterruptedError:
            raise StoppedError from None
    run.event(cell, stage, "cached", 0.0)
    return stored


def _read_facts(folder: Path, stage: Stage, facts: type[T]) -> T:
    return read_as(facts, folder / (FACTS_FILE if stage == "prepare" else STAGE_FILE))


def _stored(run: RunState, cell: str, stage: Stage, key: str, facts: type[T]) -> T | None:
    """The facts of a finished stage; None if it isn't there, or isn't what it was.

    What an earlier build stored under other facts is done again, too.
    """
    if run.store.finished(stage, key) is None:
        return None
    folder = run.store.folder(stage, key)
    try:
        stored = _read_facts(folder, stage, facts)
        if stage == "prepare":
            verify_prepared(folder)
        elif isinstance(stored, SampleFacts):
            for number, draw in enumerate(stored.draws):
                verify_panel(folder / f"draw{number}", draw.digest)
    except (FormatError, PanelError, FileNotFoundError) as error:
        run.reporter.message(f"{cell} {stage}: {error}; done again")
        run.store.discard(stage, key)
        return None
    return stored


def _run_process(
    run: RunState,
    cell: str,
    stage: Stage,
    key: str,
    limits: Limits,
    job: Mapping[str, Any],
    facts: type[T],
) -> T:
    """Run a stage's process until its output is stored, as often as the limits say."""
    checkpoint = run.store.checkpoint(stage, key) if stage in ("fit", "sample") else None
    job = {**job, "checkpoint": str(checkpoint.resolve()) if checkpoint else ""}
    for attempt in range(1 + limits.restart):
        try:
            told = _attempt(run, cell, stage, key, limits, job, facts)
            break
        except StageFailedError as error:
            if attempt == limits.restart or error.user:
                if checkpoint is not None and not any(checkpoint.glob("*")):
                    run.store.forget_checkpoint(stage, key)
                raise
            run.reporter.message(
                f"{cell} {stage}: {error.failure.error.splitlines()[0]}; restart "
                f"{attempt + 1} of {limits.restart}"
            )
    if checkpoint is not None:
        run.store.forget_checkpoint(stage, key)
    return told


def _attempt(
    run: RunState,
    cell: str,
    stage: Stage,
    key: str,
    limits: Limits,
    job: Mapping[str, Any],
    facts: type[T],
) -> T:
    """Run a stage's process once, or raise StageFailedError."""
    with run.store.workspace(stage, key) as work:
        outcome, error, log = run_job(run, cell, stage, work, limits, job)
        failure = explain_failure(outcome, error, log, limits, int(job.get("world_size", 1)))
        if outcome.ending == "ok":
            told = _publish(run, stage, key, work / "output", facts)
            if not isinstance(told, str):
                run.event(cell, stage, "ok", outcome.wall)
                return told
            failure = Failure("failed", "OutputError", told, outcome.wall)
    run.event(cell, stage, failure.status, outcome.wall, failure.error)
    raise StageFailedError(stage, failure, key, user=error is not None and error.user)


def _publish(run: RunState, stage: Stage, key: str, output: Path, facts: type[T]) -> T | str:
    """Store a stage's output: its facts; or why that can't be, after what a plugin has done."""
    try:
        if read_json(output / STAGE_FILE) is None:
            return "ended without saying that it was done"
        told = _read_facts(output, stage, facts)
        if trouble := unstorable(output):
            return f"what it left can't be stored: {trouble}, expected files and folders"
        artifacts = output / "artifacts"
        if artifacts.is_dir() and not any(artifacts.iterdir()):
            artifacts.rmdir()
        run.store.publish(output, stage, key)
    except FormatError as error:
        return f"what it says of itself can't be read: {str(error).partition(': ')[2]}"
    except RecursionError:
        return "what it left can't be stored: folders nested too deep"
    except OSError as error:
        if is_no_space(error):
            raise
        where = f"{error.filename}: " if error.filename else ""
        return f"what it left can't be stored: {where}{error.strerror or error}"
    return told


def run_job(
    run: RunState,
    cell: str,
    stage: Stage,
    work: Path,
    limits: Limits,
    job: Mapping[str, Any],
) -> tuple[Outcome, StageError | None, Path]:
    """Run one process in a work folder: how it ended, what it said of a failure, and its log."""
    for name in ("output", "output/artifacts", "scratch"):
        (work / name).mkdir()
    whole = Job(
        stage=stage,
        output=str((work / "output").resolve()),
        scratch=str((work / "scratch").resolve()),
        artifacts=str((work / "output" / "artifacts").resolve()),
        status=str((work / "status.json").resolve()),
        error=str((work / "error.json").resolve()),
        meeting=str((work / "meeting.json").resolve()),
        time_limit=limits.time,
        threads=run.suite.threads,
        generation=run.store.generation,
        paths=tuple(entry for entry in sys.path if entry),
        **job,
    )
    path = work / "job.json"
    whole.write(path)
    log = run.folder.path / "logs" / f"{file_name(cell)}.{stage}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    for rank in range(whole.world_size):
        Path(log_of_rank(str(log), rank)).write_bytes(b"")
    task = StageTask(whole, path, log, limits.memory, per_item=stage in ("sample", "measure"))
    run.reporter.stage_started(cell, stage)

    def watch(beat: Beat) -> None:
        run.reporter.stage_progress(cell, stage, beat.fraction, beat.message)

    outcome = run.executor.run(task, run.stop, watch)
    if outcome.ending == "stopped":
        raise StoppedError
    error = whole.failure(outcome.rank)
    if outcome.ending == "no-space":
        why = error.error.splitlines()[0] if error else ""
        if "Read-only" not in why and "No space" not in why:
            # numpy and mapped pages don't say it (see `is_full`).
            why = f"No space left on device{f' ({why})' if why else ''}"
        raise BenchError(
            f"{run.store.root.parent}: results can't be written: {why}",
            hint="make room and run the same command again; what is done is kept",
        )
    return outcome, error, log


def explain_failure(
    outcome: Outcome, error: StageError | None, log: Path, limits: Limits, world_size: int = 1
) -> Failure:
    """Status, type and text of a stage that gave nothing; of several ranks, which one and why."""
    failed = outcome.rank if error is None else error.rank
    whose = f"rank {failed} of {world_size}: " if world_size > 1 and failed is not None else ""
    printed = last_lines(Path(log_of_rank(str(log), failed or 0)))
    tail = f"\n{printed}" if printed else ""
    if outcome.ending == "timeout":
        text = f"ran past its limit of {format_duration(limits.time)}"
        if world_size > 1:
            places = [f"rank {rank} {_stood(log, rank)}" for rank in range(world_size)]
            tail = "\n" + "\n".join(places) + tail
        return Failure("timeout", "TimeoutError", text + tail, outcome.wall)
    if outcome.ending == "memory":
        text = outcome.detail or (
            f"used {format_size(outcome.peak)}, past its limit of {format_size(limits.memory)}"
        )
        return Failure("memory", "MemoryError", whose + text + tail, outcome.wall)
    if error is not None:
        status: Status = "memory" if error.error_type == "MemoryError" else "failed"
        return Failure(status, error.error_type, whose + error.error, outcome.wall)
    return Failure("failed", "ProcessError", f"{whose}{outcome.detail}{tail}", outcome.wall)


def _stood(log: Path, rank: int) -> str:
    """Where a rank stood at its time limit, by the trace that it was asked for."""
    lines = last_lines(Path(log_of_rank(str(log), rank)), 200).splitlines()
    traces = [i for i, line in enumerate(lines) if line.startswith("Current thread")]
    if not traces or traces[-1] + 1 >= len(lines):
        return "did not answer"
    return f"was at {lines[traces[-1] + 1].strip()}"
