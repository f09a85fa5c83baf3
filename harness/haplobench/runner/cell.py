"""Drive a cell through its stages: from the store where it's there, else in a process."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from haplobench.data.prepared import verify_panel, verify_prepared
from haplobench.errors import BenchError, PanelError
from haplobench.files import file_name, read_json
from haplobench.fitted.models import note_model
from haplobench.hookspecs import StageEvent
from haplobench.plugin import GPU, MetricSpec
from haplobench.registry import Registry
from haplobench.results.costs import note_cost
from haplobench.results.records import Phase, Status
from haplobench.results.run_folder import RunFolder
from haplobench.runner.executors.local import Executor, StageTask, StoppedError
from haplobench.runner.executors.process import Outcome
from haplobench.runner.fingerprints import plugin_code
from haplobench.runner.plan import Cell, Keys
from haplobench.runner.progress import ProgressReporter
from haplobench.runner.recording import Failure, Ledger, Recorder
from haplobench.runner.store import STAGE_FILE, StageStore, link_or_copy, unstorable
from haplobench.runner.worker.cost import Beat
from haplobench.runner.worker.job import Job, Stage, StageError, is_no_space, last_lines
from haplobench.runner.worker.launch import log_of_rank
from haplobench.suite.model import MetricEntry, Suite, digest_of
from haplobench.suite.schema import Limits
from haplobench.units import format_duration, format_size


class StageFailedError(Exception):
    """A stage of a cell gave nothing; `failure` says why, `key` is the stage's."""

    def __init__(self, stage: Phase, failure: Failure, key: str, *, user: bool = False) -> None:
        super().__init__(failure.error)
        self.stage = stage
        self.failure = failure
        self.key = key
        self.user = user


@dataclass
class Session:
    """What all cells of a run share."""

    suite: Suite
    registry: Registry
    folder: RunFolder
    store: StageStore
    executor: Executor
    reporter: ProgressReporter
    keys: Keys
    ledger: Ledger
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
    session: Session,
    cell: str,
    stage: Stage,
    key: str,
    limits: Limits,
    job: Mapping[str, Any],
) -> dict[str, Any]:
    """What a stage tells of itself, from the store or after running it.

    Raises
    ------
    StageFailedError
        If its process failed, ran out of time or out of memory.
    StoppedError
        If the run was stopped.
    """
    facts = _stored(session, cell, stage, key)
    if facts is None:

        def waiting(holder: str) -> None:
            session.reporter.message(f"{cell} {stage}: waiting for {holder}, which is doing it")

        try:
            with session.store.lock(stage, key, waiting, session.stop.is_set):
                facts = _stored(session, cell, stage, key)
                if facts is None:
                    return _run_process(session, cell, stage, key, limits, job)
        except InterruptedError:
            raise StoppedError from None
    session.event(cell, stage, "cached", 0.0)
    return facts


def _stored(session: Session, cell: str, stage: Stage, key: str) -> dict[str, Any] | None:
    """What a finished stage tells of itself; None if it isn't there, or its panels have changed."""
    facts = session.store.finished(stage, key)
    if facts is None:
        return None
    folder = session.store.folder(stage, key)
    try:
        if stage == "prepare":
            verify_prepared(folder)
        elif stage == "sample":
            for number, draw in enumerate(facts["draws"]):
                verify_panel(folder / f"draw{number}", draw["digest"])
    except PanelError as error:
        session.reporter.message(f"{cell} {stage}: {error}; done again")
        session.store.discard(stage, key)
        return None
    return facts


def _run_process(
    session: Session, cell: str, stage: Stage, key: str, limits: Limits, job: Mapping[str, Any]
) -> dict[str, Any]:
    checkpoint = session.store.checkpoint(stage, key) if stage in ("fit", "sample") else None
    job = {**job, "checkpoint": str(checkpoint.resolve()) if checkpoint else ""}
    for attempt in range(1 + limits.restart):
        try:
            facts = _attempt(session, cell, stage, key, limits, job)
            break
        except StageFailedError as error:
            if attempt == limits.restart or error.user:
                if checkpoint is not None and not any(checkpoint.glob("*")):
                    session.store.forget_checkpoint(stage, key)
                raise
            session.reporter.message(
                f"{cell} {stage}: {error.failure.error.splitlines()[0]}; restart "
                f"{attempt + 1} of {limits.restart}"
            )
    if checkpoint is not None:
        session.store.forget_checkpoint(stage, key)
    return facts


def _attempt(
    session: Session, cell: str, stage: Stage, key: str, limits: Limits, job: Mapping[str, Any]
) -> dict[str, Any]:
    """Run a stage's process once, or raise StageFailedError."""
    with session.store.workspace(stage, key) as work:
        outcome, error, log = run_job(session, cell, stage, work, limits, job)
        failure = explain_failure(outcome, error, log, limits, int(job.get("world_size", 1)))
        if outcome.ending == "ok":
            trouble = _publish(session, stage, key, work / "output")
            facts = session.store.finished(stage, key) if not trouble else None
            if facts is not None:
                session.event(cell, stage, "ok", outcome.wall)
                return facts
            trouble = trouble or "its output vanished"
            failure = Failure("failed", "OutputError", trouble, outcome.wall)
    session.event(cell, stage, failure.status, outcome.wall, failure.error)
    raise StageFailedError(stage, failure, key, user=error is not None and error.user)


def _publish(session: Session, stage: Stage, key: str, output: Path) -> str:
    """Store a stage's output; why that can't be, where a plugin has left what can't be stored."""
    try:
        if read_json(output / STAGE_FILE) is None:
            return "ended without saying that it was done"
        if trouble := unstorable(output):
            return f"what it left can't be stored: {trouble}, expected files and folders"
        artifacts = output / "artifacts"
        if artifacts.is_dir() and not any(artifacts.iterdir()):
            artifacts.rmdir()
        session.store.publish(output, stage, key)
    except RecursionError:
        return "what it left can't be stored: folders nested too deep"
    except OSError as error:
        if is_no_space(error):
            raise
        where = f"{error.filename}: " if error.filename else ""
        return f"what it left can't be stored: {where}{error.strerror or error}"
    return ""


def run_job(
    session: Session,
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
        threads=session.suite.threads,
        generation=session.store.generation,
        paths=tuple(entry for entry in sys.path if entry),
        **job,
    )
    path = work / "job.json"
    whole.write(path)
    log = session.folder.path / "logs" / f"{file_name(cell)}.{stage}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    for rank in range(whole.world_size):
        Path(log_of_rank(str(log), rank)).write_bytes(b"")
    task = StageTask(whole, path, log, limits.memory, per_item=stage in ("sample", "measure"))
    session.reporter.stage_started(cell, stage)

    def watch(beat: Beat) -> None:
        session.reporter.stage_progress(cell, stage, beat.fraction, beat.message)

    outcome = session.executor.run(task, session.stop, watch)
    if outcome.ending == "stopped":
        raise StoppedError
    error = whole.failure(outcome.rank)
    if outcome.ending == "no-space":
        why = error.error.splitlines()[0] if error else ""
        if "Read-only" not in why and "No space" not in why:
            # numpy and mapped pages don't say it (see `is_full`).
            why = f"No space left on device{f' ({why})' if why else ''}"
        raise BenchError(
            f"{session.store.root.parent}: results can't be written: {why}",
            hint="make room and run the same command again; what is done is kept",
        )
    return outcome, error, log


def explain_failure(
    outcome: Outcome, error: StageError | None, log: Path, limits: Limits, world_size: int = 1
) -> Failure:
    """Status, type and text of a stage that gave nothing; of several ranks, which one and why."""
    failed = outcome.rank if error is None else error.rank
    whose = f"rank {failed} of {world_size}: " if world_size > 1 and failed is not None else ""
    said = last_lines(Path(log_of_rank(str(log), failed or 0)))
    tail = f"\n{said}" if said else ""
    if outcome.ending == "timeout":
        text = f"ran past its limit of {format_duration(limits.time)}"
        if world_size > 1:
            stood = [f"rank {rank} {_stood(log, rank)}" for rank in range(world_size)]
            tail = "\n" + "\n".join(stood) + tail
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


# --- fit and sample ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Sampled:
    """What a generator cell has to show: the sample stage's key, and what both stages tell."""

    key: str
    fit: Mapping[str, Any]
    sample: Mapping[str, Any]


def fit_and_sample(
    session: Session,
    cell: Cell,
    prepared: Path,
    facts: Mapping[str, Any],
    shadow: int | None = None,
) -> Sampled:
    """Fit and sample a generator's cell; or, with `shadow`, one of its shadows.

    Raises StageFailedError; also where this run has seen the same fail already.
    """
    entry = cell.generator
    if entry is None:
        raise ValueError("the floor is not fitted")
    spec = session.registry.generator(entry.name)
    code = plugin_code(spec.target, session.keys.plugins, spec.needs)
    job: dict[str, Any] = {
        "name": entry.name,
        "plugins": session.modules("generators", entry.name),
        "params": dict(entry.params),
        "seed": cell.seed,
        "world_size": entry.world_size,
        "backend": entry.backend,
        "torch": "torch" in code.modules,
        "gpu": "torch" in code.modules or any(isinstance(need, GPU) for need in spec.needs),
    }
    name = cell.name if shadow is None else f"{cell.name}/shadow{shadow}"
    fit_key = session.keys.fit(spec, entry, cell.seed, str(facts["content"]), shadow)
    _refuse_known(session, cell, "fit", fit_key)
    settings: dict[str, Any] = {
        "prepared": str(prepared.resolve()),
        "shadow": shadow,
        "people": entry.people,
        "torch_profile": entry.torch_profile and shadow is None,
    }
    fit = run_stage(session, name, "fit", fit_key, entry.limits, {**job, "settings": settings})
    asked = cell.sample.model_dump() | {"train_cohort": _train_cohort(session)}
    if shadow is not None:
        asked |= {"draws": 0, "train_cohort": True}
    sample_key = session.keys.sample(fit_key, asked)
    _refuse_known(session, cell, "sample", sample_key)
    model = session.store.folder("fit", fit_key) / "model"
    settings = {**settings, "model": str(model.resolve()), **asked}
    sample = run_stage(
        session, name, "sample", sample_key, entry.limits, {**job, "settings": settings}
    )
    if shadow is None:
        noted = {
            "dataset": cell.dataset.label,
            "generator": cell.label,
            "name": entry.name,
            "seed": cell.seed,
            "world_size": entry.world_size,
        }
        note_model(session.folder, cell.name, model, prepared, noted)
        note_cost(session.folder, cell, fit, sample, int(facts["n_train_haplotypes"]))
        _show_artifacts(session, cell, "fit", fit_key)
        _show_artifacts(session, cell, "sample", sample_key)
    return Sampled(sample_key, fit, sample)


def fit_shadows(
    session: Session, cell: Cell, prepared: Path, facts: Mapping[str, Any]
) -> tuple[str, ...]:
    """Sample stages' keys of a cell's shadow cohorts: none unless suite and a metric ask for them.

    Raises StageFailedError.
    """
    wanted = any(
        session.registry.metric(entry.name).shadows and not entry.missing
        for entry in session.suite.metrics
    )
    entry = cell.generator
    if not wanted or entry is None or not session.registry.generator(entry.name).site_matched:
        return ()
    return tuple(
        fit_and_sample(session, cell, prepared, facts, shadow).key
        for shadow in range(session.suite.shadows)
    )


def _train_cohort(session: Session) -> bool:
    """Whether a metric of the suite is to be shown a cohort as large as the training panel."""
    metrics = session.suite.metrics
    return any(
        session.registry.metric(entry.name).cohort == "train" and not entry.missing
        for entry in metrics
    )


def _refuse_known(session: Session, cell: Cell, stage: Phase, key: str) -> None:
    """Don't repeat, in a resumed run, what has failed in it: the same would happen again."""
    record = session.ledger.failure(cell, key)
    if record is not None:
        failure = Failure(record.status, record.error_type, record.error, record.wall_s or 0.0)
        session.event(cell.name, stage, record.status, 0.0, f"as before: {record.error}")
        raise StageFailedError(stage, failure, key)


def _show_artifacts(session: Session, cell: Cell, stage: str, key: str) -> None:
    """Have the files that a plugin left for the user in the run folder too."""
    source = session.store.folder(stage, key) / "artifacts"
    target = session.folder.path / "artifacts" / file_name(cell.name) / stage
    for file in source.rglob("*"):
        if file.is_file() and not file.is_symlink():
            link_or_copy(file, target / file.relative_to(source))


NO_TELEMETRY = "nothing was fitted or sampled"
SITES_DIFFER = "sites differ"
UNPHASED = "not phased"
NOT_FITTED = "nothing was fitted"
NO_SHADOWS = "no shadow fits (a suite asks for them: shadows: 8)"


@dataclass(frozen=True)
class Cohorts:
    """The cohorts that a cell measures.

    `key` identifies their content; `replicates` how many there are; `source` is what the
    measure stage is told (see there); `site_matched` whether they have the panel's sites;
    `refused` are reasons, by metric, for which some metrics don't apply. `shadows` are the sample
    stages' keys of shadow cohorts; `no_shadows` says why fitting them failed.
    """

    key: str
    replicates: int
    source: Mapping[str, Any]
    site_matched: bool
    phased: bool
    telemetry: Sequence[Mapping[str, Any]] = ()
    refused: Mapping[str, str] | None = None
    shadows: Sequence[str] = ()
    no_shadows: Failure | None = None


@dataclass(frozen=True)
class Item:
    """One metric of one cohort."""

    spec: MetricSpec
    entry: MetricEntry
    replicate: int
    key: str
    telemetry: Mapping[str, Any] | None

    @property
    def id(self) -> str:
        """For the heartbeat and file names."""
        return f"{self.spec.name}.{self.replicate}"


def floor_cohorts(
    facts: Mapping[str, Any], draws: int, people: int | None = None, pool: str = ""
) -> Cohorts:
    """The floor's cohorts: real people of a prepared dataset; `people` and `pool` as in `measure`.

    None for `people` draws as many as are held out.
    """
    return Cohorts(
        key=f"floor {people} {pool} {facts['content']}",
        replicates=draws,
        source={"kind": "floor", "people": people, "pool": pool},
        site_matched=True,
        phased=bool(facts["phased"]),
    )


def sampled_cohorts(session: Session, cell: Cell, sampled: Sampled, site_matched: bool) -> Cohorts:
    """The cohorts that a generator has sampled."""
    draws = sampled.sample["draws"]
    folder = session.store.folder("sample", sampled.key).resolve()
    generator = cell.generator
    return Cohorts(
        key=sampled.key,
        replicates=len(draws),
        source={"kind": "sample", "folder": str(folder)},
        site_matched=site_matched,
        phased=all(draw["phased"] for draw in draws),
        telemetry=[
            {
                "fit_wall": sampled.fit["wall"],
                "fit_cpu": sampled.fit["cpu"],
                "sample_wall": draw["wall"],
                "sample_cpu": draw["cpu"],
                "fit_peak_rss": sampled.fit["peak_rss"],
                "sample_peak_rss": draw["peak_rss"],
                "fit_base_rss": sampled.fit["base_rss"],
                "sample_base_rss": draw["base_rss"],
                "n_haplotypes": draw["n_haplotypes"],
                "n_sites": draw["n_sites"],
                "span": draw["span"],
                "world_size": generator.world_size if generator else 1,
                "fit_ranks": sampled.fit["ranks"],
                "sample_ranks": draw["ranks"],
                "peak_gpu_memory": max(
                    (
                        part["peak_gpu_memory"]
                        for part in (sampled.fit, draw)
                        if part["peak_gpu_memory"] is not None
                    ),
                    default=None,
                ),
            }
            for draw in draws
        ],
    )


def with_shadows(session: Session, cohorts: Cohorts, shadows: Sequence[str]) -> Cohorts:
    """The cohorts with those of the shadows of the generator that sampled them."""
    folders = [str(session.store.folder("sample", key).resolve()) for key in shadows]
    return replace(cohorts, shadows=shadows, source={**cohorts.source, "shadows": folders})


def measure_cell(
    session: Session,
    cell: Cell,
    recorder: Recorder,
    cohorts: Cohorts,
    *,
    prepared: Path,
    facts: Mapping[str, Any],
    limits: Limits,
) -> None:
    """Measure every metric of the suite on every cohort of a cell, and write the records.

    A metric that raises, hangs or dies costs its own records only. Raises StageFailedError
    if the stage can't even begin.
    """
    items = _applicable(session, cell, recorder, cohorts, facts)
    open_items = [item for item in items if not _record_stored(session, cell, recorder, item)]
    open_items = _without_known_failures(session, cell, open_items)
    if not open_items:
        session.event(cell.name, "measure", "cached", 0.0)
        return
    key = digest_of([item.key for item in open_items])
    wall = 0.0
    while open_items:
        with session.store.workspace("measure", key) as work:
            job = _job(session, cell, cohorts, open_items, prepared)
            outcome, error, log = run_job(session, cell.name, "measure", work, limits, job)
            wall += outcome.wall
            left = []
            for item in open_items:
                raised = read_json(work / "output" / f"{item.id}.error.json")
                if raised is not None:
                    status: Status = "memory" if raised["error_type"] == "MemoryError" else "failed"
                    failure = Failure(status, raised["error_type"], raised["error"], raised["wall"])
                    _record_failure(session, recorder, item, failure)
                elif not _record_stored(session, cell, recorder, item):
                    left.append(item)
            culprit = Beat.read(work / "status.json").item
        if not left:
            break
        failure = explain_failure(outcome, error, log, limits)
        if outcome.ending == "ok":
            failure = Failure("failed", "ProcessError", "ended without a result", outcome.wall)
        guilty = next((item for item in left if item.id == culprit), None)
        if guilty is None:
            session.event(cell.name, "measure", failure.status, wall, failure.error)
            raise StageFailedError("measure", failure, key)
        _record_failure(session, recorder, guilty, failure)
        # What hung or died once would do so again on the cell's other cohorts.
        again = Failure(
            failure.status,
            failure.error_type,
            f"not tried again after cohort {guilty.replicate + 1}: {failure.error}",
            0.0,
        )
        for item in left:
            if item.spec.name == guilty.spec.name and item is not guilty:
                _record_failure(session, recorder, item, again)
        open_items = [item for item in left if item.spec.name != guilty.spec.name]
    failures = session.ledger.failures(cell)
    status = "failed" if failures else "ok"
    message = f"{failures} measurements failed" if failures else ""
    session.event(cell.name, "measure", status, wall, message)


def _applicable(
    session: Session, cell: Cell, recorder: Recorder, cohorts: Cohorts, facts: Mapping[str, Any]
) -> list[Item]:
    """Items to measure; what doesn't apply is recorded with its reason."""
    items = []
    refused = []
    for entry in session.suite.metrics:
        spec = session.registry.metric(entry.name)
        why = _why_not(spec, entry, cohorts, facts)
        if spec.shadows and cohorts.no_shadows is not None and not why:
            failed = cohorts.no_shadows
            session.ledger.append([recorder.metric_failure(spec, 0, failed, cohorts.key)])
            continue
        for replicate in range(_replicates(spec, cohorts)):
            if why:
                refused.append(recorder.not_applicable(spec, replicate, why))
                continue
            telemetry = cohorts.telemetry[replicate] if spec.input == "telemetry" else None
            key = session.keys.measure(
                spec,
                entry,
                cohort=cohorts.key,
                replicate=replicate,
                seed=cell.seed,
                telemetry=telemetry,
                shadows=cohorts.shadows if spec.shadows else (),
            )
            items.append(Item(spec, entry, replicate, key, telemetry))
    session.ledger.append(refused)
    return items


def _replicates(spec: MetricSpec, cohorts: Cohorts) -> int:
    """A generator samples one cohort of train's size, however many draws there are."""
    return (
        1 if spec.cohort == "train" and cohorts.source["kind"] == "sample" else cohorts.replicates
    )


def _why_not(
    spec: MetricSpec, entry: MetricEntry, cohorts: Cohorts, facts: Mapping[str, Any]
) -> str:
    if entry.missing:
        return f"not available: needs {'; '.join(entry.missing)}"
    if spec.input == "telemetry":
        return "" if cohorts.telemetry else NO_TELEMETRY
    if cohorts.refused and spec.name in cohorts.refused:
        return cohorts.refused[spec.name]
    if spec.site_matched and not cohorts.site_matched:
        return SITES_DIFFER
    if spec.phased and not (cohorts.phased and facts["phased"]):
        return UNPHASED
    if spec.shadows and not cohorts.shadows and cohorts.no_shadows is None:
        return NOT_FITTED if cohorts.source["kind"] == "floor" else NO_SHADOWS
    return ""


def _record_stored(session: Session, cell: Cell, recorder: Recorder, item: Item) -> bool:
    """Record an item's stored result; False if there is none."""
    stored = session.store.measurement(item.key)
    if stored is None:
        return False
    series = ""
    if stored["series"]:
        target = session.folder.series_path(cell.cell_id, item.replicate, item.spec.name)
        source = session.store.measurement_path(item.key).with_suffix(".npz")
        try:
            link_or_copy(source, target)
        except FileNotFoundError:
            return False
        series = str(target.relative_to(session.folder.path))
    records = recorder.measurements(item.spec, item.replicate, stored, item.key, series)
    session.ledger.append(records)
    return True


def _record_failure(session: Session, recorder: Recorder, item: Item, failure: Failure) -> None:
    record = recorder.metric_failure(item.spec, item.replicate, failure, item.key)
    session.ledger.append([record])


def _without_known_failures(session: Session, cell: Cell, items: Sequence[Item]) -> list[Item]:
    """Items that haven't failed in this run already."""
    return [
        item
        for item in items
        if session.ledger.failure(cell, item.key, item.spec.name, item.replicate) is None
    ]


def _job(
    session: Session, cell: Cell, cohorts: Cohorts, items: Sequence[Item], prepared: Path
) -> dict[str, Any]:
    names = dict.fromkeys(item.spec.name for item in items)
    modules = frozenset[str]().union(
        *(
            plugin_code(item.spec.target, session.keys.plugins, item.spec.needs).modules
            for item in items
        )
    )
    return {
        "plugins": session.modules("metrics", *names),
        "seed": cell.seed,
        "torch": "torch" in modules,
        "gpu": "torch" in modules
        or any(isinstance(need, GPU) for item in items for need in item.spec.needs),
        "settings": {
            "prepared": str(prepared.resolve()),
            "cohort": dict(cohorts.source),
            "items": [
                {
                    "id": item.id,
                    "metric": item.spec.name,
                    "params": dict(item.entry.params),
                    "replicate": item.replicate,
                    "result": str(session.store.measurement_path(item.key).resolve()),
                    "telemetry": item.telemetry,
                }
                for item in items
            ],
        },
    }
