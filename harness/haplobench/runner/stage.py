"""A stage of a cell: taken from the store where it's there, else done by a process and stored."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from haplobench.data.prepared import (
    FACTS_FILE,
    Prepared,
    PrepareFacts,
    verify_panel,
    verify_prepared,
)
from haplobench.errors import BenchError, FormatError, PanelError
from haplobench.files import file_name, read_as, read_json, write_json
from haplobench.plugin import StageEvent
from haplobench.registry import Registry
from haplobench.results.records import Phase, Status
from haplobench.results.run_folder import RunFolder
from haplobench.runner.describe import ClaimLog
from haplobench.runner.executors.local import Executor, StageTask, StoppedError
from haplobench.runner.executors.process import Outcome
from haplobench.runner.isolation import Isolation
from haplobench.runner.plan import Keys
from haplobench.runner.progress import ProgressReporter
from haplobench.runner.record_log import Failure, RecordLog
from haplobench.runner.store import StageStore, unstorable
from haplobench.runner.worker.cost import Beat
from haplobench.runner.worker.entry import log_of_rank
from haplobench.runner.worker.job import (
    STAGE_FILE,
    FitFacts,
    Job,
    JoinFacts,
    SampleFacts,
    Stage,
    StageError,
    is_no_space,
    last_lines,
)
from haplobench.runner.worker.prepare import shadow_prepared
from haplobench.suite.schema import Limits, Suite
from haplobench.units import format_duration, format_size

LOG = logging.getLogger("haplobench.runner")

T = TypeVar("T")

CHANGED = "IntegrityError"
"""Type of the failure where something changed that nobody may change."""
_SANDBOXED = "sandboxed"


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
    """What all cells of a run share.

    `folder` is where their records, logs and costs lie, `home` the run's own: another one for
    the cells of a genome's contigs.
    """

    suite: Suite
    registry: Registry
    home: RunFolder
    folder: RunFolder
    store: StageStore
    executor: Executor
    isolation: Isolation
    reporter: ProgressReporter
    keys: Keys
    log: RecordLog
    claims: ClaimLog
    observe: Callable[[StageEvent], None]
    stop: threading.Event = field(default_factory=threading.Event)

    def event(
        self,
        cell: str,
        stage: str,
        status: str,
        wall: float,
        message: str = "",
        own: float | None = None,
    ) -> None:
        """Tell reporter and observers of a stage that ended, see `StageEvent`."""
        event = StageEvent(cell, stage, status, wall, message, own)
        self.reporter.stage_finished(event)
        self.observe(event)

    def modules(self, kind: str, *names: str) -> tuple[str, ...]:
        """Plugin modules that declare some specs."""
        return tuple(dict.fromkeys(self.registry.source(kind, name).module for name in names))


@contextlib.contextmanager
def stage_lock(run: RunState, cell: str, stage: Stage, key: str) -> Iterator[None]:
    """Hold a stage, so that nobody else does the same work; who waits for it says for whom.

    Raises StoppedError if the run was stopped meanwhile.
    """

    def waiting(holder: str) -> None:
        run.reporter.message(f"{cell} {stage}: waiting for {holder}, which is doing it")

    try:
        with run.store.lock(stage, key, waiting, run.stop.is_set):
            yield
    except InterruptedError:
        raise StoppedError from None


@dataclass(frozen=True)
class StageWork(Generic[T]):
    """A stage of a cell (of a dataset, where it's the prepare stage) that is to be had.

    `key` is what it rests on, `job` what `Job` needs beside what the run knows, `facts` the
    dataclass that its process hands back. `shadow`: of a shadow's stages, which are shown a
    dataset of their own.
    """

    run: RunState
    cell: str
    stage: Stage
    key: str
    limits: Limits
    job: Mapping[str, Any]
    facts: type[T]
    shadow: int | None = None

    def get(self) -> T:
        """The facts that the stage hands back, from the store or after running it.

        Raises
        ------
        StageFailedError
            If its process failed, ran out of time or out of memory.
        StoppedError
            If the run was stopped.
        """
        run, stage, key = self.run, self.stage, self.key
        stored = self._stored()
        if stored is None:
            with stage_lock(run, self.cell, stage, key):
                stored = self._stored()
                if stored is None:
                    return self._made()
        run.event(self.cell, stage, "cached", 0.0)
        return stored

    def _tell(self, text: str) -> None:
        self.run.reporter.message(f"{self.cell} {self.stage}: {text}")

    def _read(self, folder: Path) -> T:
        file = FACTS_FILE if self.facts is PrepareFacts else STAGE_FILE
        return read_as(self.facts, folder / file)

    def _stored(self) -> T | None:
        """The facts of a finished stage; None if it isn't there, or isn't what it was.

        What an earlier build stored under other facts is done again, too.
        """
        store, isolation = self.run.store, self.run.isolation
        if (finished := store.finished(self.stage, self.key)) is None:
            return None
        folder = store.folder(self.stage, self.key)
        inside = finished.get(_SANDBOXED) is True
        if isolation.refuses(self.stage, inside=inside):
            return None
        try:
            if trouble := isolation.trouble(folder):
                raise FormatError(f"{folder}: {trouble}")
            stored = self._read(folder)
            if self.facts is PrepareFacts:
                verify_prepared(folder)
            _verify_draws(folder, stored)
        except (FormatError, PanelError, FileNotFoundError) as error:
            self._tell(f"{error}; done again")
            store.discard(self.stage, self.key)
            return None
        isolation.note(self.stage, self.key, inside=inside)
        return stored

    def _made(self) -> T:
        """Run the stage's process until its output is stored, as often as the limits say."""
        store, stage, key = self.run.store, self.stage, self.key
        checkpoint = store.checkpoint(stage, key) if stage in ("fit", "sample") else None
        job = {**self.job, "checkpoint": str(checkpoint.resolve()) if checkpoint else ""}
        for attempt in range(1 + self.limits.restart):
            try:
                told = self._attempt(job)
                break
            except StageFailedError as error:
                if attempt == self.limits.restart or error.user:
                    if checkpoint is not None and not any(checkpoint.glob("*")):
                        store.forget_checkpoint(stage, key)
                    raise
                why = error.failure.error.splitlines()[0]
                self._tell(f"{why}; restart {attempt + 1} of {self.limits.restart}")
        if checkpoint is not None:
            store.forget_checkpoint(stage, key)
        return told

    def _attempt(self, job: Mapping[str, Any]) -> T:
        """Run the stage's process once, or raise StageFailedError."""
        run, stage = self.run, self.stage
        with run.store.workspace(stage, self.key) as work:
            if self.shadow is not None:
                job = _shadow_job(job, work, self.shadow)
            with run.isolation.watching(stage) as changed:
                outcome, error, log = run_job(run, self.cell, stage, work, self.limits, job)
            ranks = int(job.get("world_size", 1))
            failure = explain_failure(outcome, error, log, self.limits, ranks)
            if changed:
                text = f"changed what isn't its own: {', '.join(map(str, changed[:3]))}"
                failure = Failure("failed", CHANGED, text, outcome.wall)
            elif outcome.ending == "ok":
                told = self._publish(work / "output")
                if not isinstance(told, str):
                    run.event(self.cell, stage, "ok", outcome.wall, own=_own(told))
                    return told
                failure = Failure("failed", "OutputError", told, outcome.wall)
        run.event(self.cell, stage, failure.status, outcome.wall, failure.error)
        raise StageFailedError(stage, failure, self.key, user=error is not None and error.user)

    def _publish(self, output: Path) -> T | str:
        """Store an output: its facts; or why that can't be, after what a plugin has done."""
        try:
            if (said := read_json(output / STAGE_FILE)) is None:
                return "ended without saying that it was done"
            told = self._read(output)
            if trouble := unstorable(output):
                return f"what it left can't be stored: {trouble}, expected files and folders"
            _verify_draws(output, told)
            artifacts = output / "artifacts"
            if artifacts.is_dir() and not any(artifacts.iterdir()):
                artifacts.rmdir()
            inside = self.run.isolation.confines(self.stage)
            # Of the process's own word there is nothing left in it.
            write_json(output / STAGE_FILE, {**said, _SANDBOXED: inside})
            self.run.store.publish(output, self.stage, self.key)
            self.run.isolation.seal(self.run.store.folder(self.stage, self.key))
            self.run.isolation.note(self.stage, self.key, inside=inside)
        except (PanelError, FileNotFoundError) as error:
            return f"what it left isn't what it says of itself: {error}"
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


def _own(facts: object) -> float | None:
    """Seconds of a stage that are the generator's, as tables have them."""
    if isinstance(facts, SampleFacts):
        return sum(draw.wall for draw in facts.draws)
    return facts.wall if isinstance(facts, FitFacts) else None


def _verify_draws(folder: Path, facts: object) -> None:
    """Raise PanelError if cohorts in a stage's folder aren't those that its facts name."""
    digests: Mapping[str, str] = {}
    if isinstance(facts, SampleFacts):
        digests = {f"draw{number}": draw.digest for number, draw in enumerate(facts.draws)}
    elif isinstance(facts, JoinFacts):
        digests = facts.digests
    for name, digest in digests.items():
        verify_panel(folder / name, digest)


def _shadow_job(job: Mapping[str, Any], work: Path, shadow: int) -> dict[str, Any]:
    """A stage's job with the shadow's own dataset, which is laid into its work folder."""
    folder = work / "dataset"
    folder.mkdir()
    whole = Prepared.load(Path(job["settings"]["prepared"]))
    shadow_prepared(whole, shadow).for_training.save(folder)
    return {**job, "settings": {**job["settings"], "prepared": str(folder.resolve())}}


def run_job(
    run: RunState,
    cell: str,
    stage: Stage,
    work: Path,
    limits: Limits,
    job: Mapping[str, Any],
    *,
    alone: bool = False,
) -> tuple[Outcome, StageError | None, Path]:
    """Run one process in a work folder: how it ended, what it said of a failure, and its log.

    `alone` as for `StageTask`.
    """
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
    log = run.folder.path / "logs" / f"{file_name(cell)}.{stage}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    for rank in range(whole.world_size):
        Path(log_of_rank(str(log), rank)).write_bytes(b"")
    run.isolation.check_code()
    per_item = stage in ("sample", "measure")
    sandbox = run.isolation.command(whole, work.resolve(), log.resolve())
    whole = replace(whole, sandboxed=bool(sandbox))
    whole.write(path)
    task = StageTask(whole, path, log, limits.memory, per_item, sandbox, alone)
    run.reporter.stage_started(cell, stage)

    def watch(beat: Beat) -> None:
        run.reporter.stage_progress(cell, stage, beat.fraction, beat.message)

    outcome = run.executor.run(task, run.stop, watch)
    run.isolation.check_code(f"{cell} {stage}")
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


# A server that is down may keep each stage waiting for minutes.
_OBSERVER_FAILURES = 3


def observer(registry: Registry) -> Callable[[StageEvent], None]:
    """Calls every plugin's `haplobench_stage_finished`; one that raises is logged, no more.

    One that raises three times in a row isn't called again.
    """
    lock = threading.Lock()
    failures: Counter[str] = Counter()

    def observe(event: StageEvent) -> None:
        with lock:
            for name, finished in registry.observers("haplobench_stage_finished"):
                if failures[name] >= _OBSERVER_FAILURES:
                    continue
                try:
                    finished(event=event)
                    failures[name] = 0
                except Exception as error:
                    failures[name] += 1
                    last = failures[name] == _OBSERVER_FAILURES
                    end = "; it is told of no more stages of this run" if last else ""
                    LOG.warning("observer %s failed: %r%s", name, error, end)

    return observe
