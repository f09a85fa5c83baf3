"""Run a suite: prepare its datasets, then all cells, and leave a run folder that can be resumed."""

from __future__ import annotations

import contextlib
import itertools
import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from haplobench.data.consent import withdrawal_text
from haplobench.data.prepared import read_facts
from haplobench.data.relatives import noteworthy
from haplobench.errors import BenchError, SuiteError
from haplobench.files import read_json, write_json, write_whole
from haplobench.hookspecs import StageEvent
from haplobench.plugin import GeneratorSpec, MetricSpec
from haplobench.registry import Registry, resolve
from haplobench.results.provenance import Provenance, provenance
from haplobench.runner import fingerprints
from haplobench.runner.cell import (
    Session,
    StageFailedError,
    fit_and_sample,
    fit_shadows,
    floor_cohorts,
    measure_cell,
    run_stage,
    sampled_cohorts,
    with_shadows,
)
from haplobench.runner.describe import ClaimLog, describe_run, people_of, run_lines
from haplobench.runner.executors.local import Executor, UserError, make_executor, run_all
from haplobench.runner.floor import unmarked
from haplobench.runner.plan import Cell, Keys, by_world_size, plan_cells
from haplobench.runner.progress import ProgressReporter, SilentReporter
from haplobench.runner.recording import Failure, Ledger, Recorder
from haplobench.runner.store import open_run, open_store
from haplobench.runner.worker.job import describe_error
from haplobench.suite.model import DatasetEntry, GeneratorEntry, Suite, digest_of


@dataclass
class DatasetStage:
    """A prepared dataset in the store; `failure` in its place if the plugin broke."""

    entry: DatasetEntry
    key: str
    folder: Path
    facts: dict[str, Any] = field(default_factory=dict)
    failure: Failure | None = None


def hardware_of(suite: Suite, origin: Provenance) -> str:
    """What stages run on: this machine, or what is asked of the cluster that it submits to."""
    if suite.executor.name == "local":
        return origin.fingerprint
    asked = suite.executor
    return f"{origin.fingerprint} {asked.partition} {asked.constraint} {asked.gpus_per_node}"


def plugin_modules(registry: Registry) -> tuple[str, ...]:
    """Modules of all plugins that a registry holds."""
    return tuple(sorted({source.module for source in registry.sources.values()}))


def dataset_stages(suite: Suite, registry: Registry, keys: Keys) -> list[DatasetStage]:
    """Datasets with the keys of their prepare stage; all that can't be found at once."""
    found = []
    problems = []
    for entry in suite.datasets:
        spec = registry.dataset(entry.name)
        try:
            dataset = resolve(spec.target)()
            fingerprint = str(dataset.fingerprint(spec.params.model_validate(entry.params)))
        except BenchError as error:
            problems.append(f"dataset {entry.label}: {error}")
            continue
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            problems.append(f"dataset {entry.label}: {where}{error.strerror or error}")
            continue
        except Exception as error:  # a plugin is someone else's code
            problems.append(
                f"dataset {entry.label}: its fingerprint can't be taken: "
                f"{type(error).__name__}: {error}"
            )
            continue
        found.append(DatasetStage(entry, keys.prepare(spec, entry, fingerprint), Path()))
    if problems:
        raise SuiteError(problems)
    return found


def state_of(suite: Suite, registry: Registry, keys: Keys, prepare: Sequence[str]) -> str:
    """Digest of everything that a run's records rest on: a run is resumed only where it's equal."""
    specs: list[GeneratorSpec | MetricSpec] = [
        registry.generator(entry.name) for entry in suite.generators
    ]
    specs += [registry.metric(entry.name) for entry in suite.metrics]
    missing = [entry.missing for entry in suite.generators]
    missing += [entry.missing for entry in suite.metrics]
    return digest_of(
        {
            "suite": suite.digest,
            "prepare": list(prepare),
            "code": [
                [
                    spec.name,
                    spec.version,
                    fingerprints.plugin_code(spec.target, keys.plugins).digest,
                ]
                for spec in specs
            ],
            "harness": fingerprints.harness_code(
                *(f"haplobench.runner.stage_{stage}" for stage in ("fit", "sample", "measure")),
                "haplobench.runner.worker.main",
            ).digest,
            "missing": missing,
            "hardware": keys.hardware,
        }
    )


LOG = logging.getLogger("haplobench.runner")


@dataclass(frozen=True)
class RunOutcome:
    """What became of a run.

    Attributes
    ----------
    run_folder : Path
    failed : tuple of str
        Names of the cells in which something failed.
    resumed : bool
        Whether it went on in the folder of an unfinished run.
    exit_code : int
        0 fine, 1 something failed.
    """

    run_folder: Path
    failed: tuple[str, ...] = ()
    resumed: bool = False

    @property
    def exit_code(self) -> int:
        """0 if nothing failed, else 1."""
        return 1 if self.failed else 0


def run_suite(
    suite: Suite,
    registry: Registry,
    out: Path | str = Path("results"),
    *,
    jobs: int | None = None,
    fresh: bool = False,
    reporter: ProgressReporter | None = None,
    executor: Executor | None = None,
) -> RunOutcome:
    """Run every cell of a suite.

    An unfinished run of the same suite, code, data and hardware is resumed in its own
    folder; otherwise a new run folder takes from the store of finished stages whatever rests
    on nothing that has changed.

    Parameters
    ----------
    suite : Suite
    registry : Registry
        From importable modules: every stage's process imports them again.
    out : Path
        Folder of results; the run's is `out/<suite>/<run_id>/`.
    jobs : int or None
        Processes run side by side (a cell of several ranks has several); they share the cores.
        None: 1 here, 16 jobs on a cluster.
    fresh : bool
        Use nothing that was stored before this run. An unfinished fresh run is resumed.
    reporter : ProgressReporter or None
        None: silence.
    executor : Executor or None
        None: the suite's (`executor:`), see `make_executor`.

    Raises
    ------
    BenchError
        For what the user must mend: a dataset that can't be read, results that can't be
        written. What was computed is kept.
    KeyboardInterrupt
        After children were ended; the same call resumes.
    """
    out = Path(out)
    reporter = reporter or SilentReporter()
    executor = executor or make_executor(suite.executor, jobs)
    fingerprints.forget()
    with writing(out / suite.name, reporter):
        return _run(suite, registry, out, fresh, reporter, executor)


@contextlib.contextmanager
def writing(folder: Path, reporter: ProgressReporter) -> Iterator[None]:
    """Turn a disk that can't be written into one clear line; end the reporter, whatever comes."""
    try:
        yield
    except OSError as error:
        where = error.filename or folder
        raise BenchError(
            f"{where}: results can't be written or read: {error.strerror or error}",
            hint="what is done is kept; mend it and run the same command again",
        ) from error
    finally:
        reporter.stop()


def _run(
    suite: Suite,
    registry: Registry,
    out: Path,
    fresh: bool,
    reporter: ProgressReporter,
    executor: Executor,
) -> RunOutcome:
    origin = provenance()
    keys = Keys(plugin_modules(registry), hardware_of(suite, origin), suite.threads)
    datasets = dataset_stages(suite, registry, keys)
    state = state_of(suite, registry, keys, [dataset.key for dataset in datasets])
    parent = out / suite.name
    with open_run(parent, suite, state, fresh=fresh, reporter=reporter) as (folder, info):
        store = open_store(parent, info)
        session = Session(
            suite=suite,
            registry=registry,
            folder=folder,
            store=store,
            executor=executor,
            reporter=reporter,
            keys=keys,
            ledger=Ledger(folder),
            observe=observer(registry),
        )
        write_whole(folder.path / "suite.yaml", suite.to_yaml())
        for dataset in datasets:
            dataset.folder = store.folder("prepare", dataset.key)
        try:
            return _Run(session, origin, info).go(datasets)
        except BenchError:
            if not folder.records_path.is_file():
                shutil.rmtree(folder.path, ignore_errors=True)
            raise


class _Run:
    """One run in progress."""

    def __init__(self, session: Session, origin: Provenance, info: dict[str, Any]) -> None:
        self.session = session
        self.origin = origin
        self.info = info
        self.failed: list[str] = []
        self.claims = ClaimLog()
        self.timings_path = session.store.root / "timings.json"
        self.timings: dict[str, float] = {
            name: float(seconds)
            for name, seconds in (read_json(self.timings_path) or {}).items()
            if isinstance(seconds, int | float)
        }
        self.lock = threading.Lock()

    def go(self, datasets: Sequence[DatasetStage]) -> RunOutcome:
        """Prepare, then run all cells."""
        session = self.session
        suite, slots = session.suite, session.executor.slots
        cells = plan_cells(suite, self.timings)
        expected = {cell.name: self.timings.get(cell.name) for cell in cells}
        prepared: dict[str, DatasetStage] = {}
        try:
            self.describe("running", {})
            session.reporter.start(suite.name, session.folder.path, expected)
            run_all([partial(self.prepare, dataset) for dataset in datasets], slots, session.stop)
            prepared = {dataset.entry.label: dataset for dataset in datasets}
            self.describe("running", prepared)
            for entry in suite.generators:
                if entry.missing:
                    self.not_available(entry, prepared)
            work = [partial(self.cell, cell, prepared[cell.dataset.label]) for cell in cells]
            run_all(work, slots, session.stop)
        except BaseException:
            with contextlib.suppress(OSError):
                self.describe("incomplete", prepared)
            raise
        session.ledger.check()
        self.describe("complete", prepared)
        return RunOutcome(session.folder.path, tuple(self.failed), bool(self.info["resumed"]))

    def describe(self, status: str, prepared: Mapping[str, DatasetStage]) -> None:
        """Write run.json."""
        facts = {label: dataset.facts for label, dataset in prepared.items()}
        session = self.session
        people = {
            label: people_of(dataset.folder, held_out=bool(session.suite.shadows))
            for label, dataset in prepared.items()
            if status != "running" and dataset.failure is None
        }
        described = describe_run(
            session.suite,
            session.registry,
            session.folder.run_id,
            self.origin,
            facts,
            self.claims.entries(),
            self.claims.totals(people),
        )
        for label, dataset in prepared.items():
            if dataset.facts and (marks := _marks(session.suite, dataset.facts)):
                described["datasets"][label]["marks"] = marks
        described |= run_lines(self.info, status, self.failed, session)
        write_json(session.folder.path / "run.json", described)

    def prepare(self, dataset: DatasetStage) -> None:
        """Prepare a dataset; what the user must mend is raised, what the plugin broke is kept."""
        session = self.session
        entry = dataset.entry
        spec = session.registry.dataset(entry.name)
        job = {
            "name": entry.name,
            "plugins": session.modules("datasets", entry.name),
            "params": dict(entry.params),
            "seed": entry.split.seed,
            "settings": {
                "filters": entry.filters.model_dump(),
                "withdrawn": entry.withdrawn and entry.withdrawn.as_job(),
                "allow_unknown": bool(
                    entry.filters.withdrawn and entry.filters.withdrawn.allow_unknown
                ),
                "split": entry.split.model_dump(),
                "listed": {key: people.as_job() for key, people in entry.listed.items()},
            },
        }
        try:
            run_stage(session, entry.label, "prepare", dataset.key, session.suite.limits, job)
        except StageFailedError as error:
            if error.user:
                raise UserError(f"dataset {entry.label}: {error.failure.error}") from None
            dataset.failure = error.failure
            return
        dataset.facts = read_facts(dataset.folder) | {"name": spec.name, "version": spec.version}
        if (counts := dataset.facts.get("withdrawn")) is not None:
            doubts = (counts[key] for key in ("unknown", "repeated", "doubles"))
            doubt = "warning: " if any(doubts) else ""
            session.reporter.message(f"{doubt}{entry.label}: {withdrawal_text(counts)}")
        if text := noteworthy(dataset.facts["relatives"]):
            session.reporter.message(f"{entry.label}: {text}")

    def recorder(self, cell: Cell, dataset: DatasetStage) -> Recorder:
        """What makes a cell's records."""
        session = self.session
        return Recorder(
            cell,
            suite=session.suite,
            run_id=session.folder.run_id,
            registry=session.registry,
            provenance=self.origin,
            dataset_digest=dataset.facts.get("digest", ""),
        )

    def not_available(self, entry: GeneratorEntry, prepared: Mapping[str, DatasetStage]) -> None:
        """State, for every dataset, that a generator can't be run here."""
        note = f"not available: needs {'; '.join(entry.missing)}"
        for dataset in prepared.values():
            for seed, one in itertools.product(entry.seeds, by_world_size(entry)):
                cell = Cell(dataset.entry, one, seed, self.session.suite.sample)
                record = self.recorder(cell, dataset).cell_not_applicable(note)
                self.session.ledger.append([record])
        self.session.reporter.message(f"{entry.label}: {note}")

    def cell(self, cell: Cell, dataset: DatasetStage) -> None:
        """Run a cell to its end; its failures become records."""
        session = self.session
        recorder = self.recorder(cell, dataset)
        start = time.monotonic()
        try:
            if dataset.failure is not None:
                raise StageFailedError("prepare", dataset.failure, dataset.key)
            self.stages(cell, dataset, recorder)
        except StageFailedError as error:
            record = recorder.cell_failure(error.stage, error.failure, error.key)
            session.ledger.append([record])
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            # What a plugin left where the harness keeps its own: it costs the plugin's cell.
            LOG.warning("%s: %r", cell.name, error)
            broken = describe_error(error)
            failure = Failure("failed", broken.error_type, broken.error, 0.0)
            session.ledger.append([recorder.cell_failure("measure", failure, "")])
        wall = time.monotonic() - start
        failures = session.ledger.failures(cell)
        with self.lock:
            if failures:
                self.failed.append(cell.name)
            if wall > self.timings.get(cell.name, 0.0) / 10:
                self.timings[cell.name] = round(wall, 1)
                write_json(self.timings_path, self.timings)
        session.reporter.cell_finished(cell.name, failures)

    def stages(self, cell: Cell, dataset: DatasetStage, recorder: Recorder) -> None:
        """Fit, sample and measure; the floor is only measured."""
        session = self.session
        limits = session.suite.limits
        if cell.generator is None:
            people = _asked_people(session.suite, dataset.facts)
            cohorts = floor_cohorts(dataset.facts, session.suite.floor.draws, people)
        else:
            limits = cell.generator.limits
            spec = session.registry.generator(cell.generator.name)
            sampled = fit_and_sample(session, cell, dataset.folder, dataset.facts)
            self.claim(cell, sampled.key)
            cohorts = sampled_cohorts(session, cell, sampled, spec.site_matched)
            try:
                shadows = fit_shadows(session, cell, dataset.folder, dataset.facts)
                self.claim(cell, sampled.key, shadows)
                cohorts = with_shadows(session, cohorts, shadows)
            except StageFailedError as error:
                cohorts = replace(cohorts, no_shadows=error.failure)
        measure_cell(
            session,
            cell,
            recorder,
            cohorts,
            prepared=dataset.folder,
            facts=dataset.facts,
            limits=limits,
        )

    def claim(self, cell: Cell, sampled: str, shadows: Sequence[str] = ()) -> None:
        """Keep what a cell claims, by the sample stages' keys."""
        folders = [self.session.store.folder("sample", key) for key in (sampled, *shadows)]
        with self.lock:
            self.claims.add(cell, folders[0], folders[1:])


def _asked_people(suite: Suite, facts: Mapping[str, Any]) -> int | None:
    """How many people a suite's cohorts have; None for as many as are held out."""
    n = suite.sample.haplotypes
    return None if n == "holdout" else -(-n // int(facts["ploidy"]))


def _marks(suite: Suite, facts: Mapping[str, Any]) -> dict[str, str]:
    """What run.json says of a dataset whose floor can't be as large as its cohorts."""
    ploidy = int(facts["ploidy"])
    people = _asked_people(suite, facts) or int(facts["n_holdout_haplotypes"]) // ploidy
    note = unmarked(people, int(facts["n_train_haplotypes"]) // ploidy)
    return {"cohort": "", "note": note} if note else {}


def observer(registry: Registry) -> Callable[[StageEvent], None]:
    """Calls every plugin's `haplobench_stage_finished`; one that raises is logged, no more."""
    lock = threading.Lock()

    def observe(event: StageEvent) -> None:
        with lock:
            for implementation in registry.manager.hook.haplobench_stage_finished.get_hookimpls():
                try:
                    implementation.function(event=event)
                except Exception as error:
                    LOG.warning("observer %s failed: %r", implementation.plugin_name, error)

    return observe
