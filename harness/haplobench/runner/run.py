"""Run a suite: prepare its datasets, then all cells, and leave a run folder that can be resumed.

One driver, `drive`, runs a suite with its plugins (`SuiteSource`) and the evaluation of a cohort
that lies in a file (`haplobench.runner.evaluate`): they differ in where the panels come from.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import shutil
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from haplobench.data.consent import withdrawal_text
from haplobench.data.prepared import PrepareFacts
from haplobench.errors import BenchError, SuiteError
from haplobench.files import digest_of, remove_tree, write_json, write_whole
from haplobench.plugin import GeneratorSpec, MetricSpec
from haplobench.registry import Registry, resolve
from haplobench.results.provenance import Provenance, provenance
from haplobench.results.records import Record
from haplobench.runner import fingerprints
from haplobench.runner.cell import (
    Cohorts,
    DatasetStage,
    fit_and_sample,
    fit_shadows,
    floor_cohorts,
    measure_cell,
    sampled_cohorts,
    with_shadows,
)
from haplobench.runner.describe import ClaimLog, describe_run, people_of, run_lines
from haplobench.runner.executors import make_executor
from haplobench.runner.executors.local import Executor, UserError, run_all
from haplobench.runner.floor import unmarked
from haplobench.runner.genome import (
    ContigRecords,
    contigs_run,
    genome_stage,
    join_cohorts,
    join_dataset,
    merge_records,
    refuse_failed,
    tell_relatives,
)
from haplobench.runner.isolation import isolate
from haplobench.runner.plan import Cell, Keys, by_world_size, plan_cells, seed_of_contig
from haplobench.runner.progress import Estimate, ProgressReporter
from haplobench.runner.record_log import Failure, Recorder, RecordLog
from haplobench.runner.stage import CHANGED, RunState, StageFailedError, StageWork, observer
from haplobench.runner.store import open_run, open_store
from haplobench.runner.worker.job import describe_error
from haplobench.suite.schema import Suite

LOG = logging.getLogger("haplobench.runner")
_ATTEMPTS = 3


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


class PanelSource(Protocol):
    """Where the panels of a run come from."""

    suite: Suite

    def datasets(self, keys: Keys) -> list[DatasetStage]:
        """The datasets with the keys of their prepare stages; SuiteError for what isn't there."""

    def cells(self, expected: Mapping[str, float]) -> list[Cell]:
        """The cells in their order; `expected` seconds by name, from earlier runs."""

    def n_cohorts(self, cell: Cell) -> int:
        """How many cohorts a cell measures."""

    def prepare(self, run: RunState, dataset: DatasetStage) -> None:
        """Have a dataset prepared: its facts, or why there are none; UserError for the user's."""

    def cohorts(self, run: RunState, cell: Cell, dataset: DatasetStage) -> Cohorts:
        """What a cell measures; StageFailedError where there is nothing."""

    def joined(
        self, run: RunState, cell: Cell, dataset: DatasetStage, contigs: Sequence[Cohorts]
    ) -> Cohorts:
        """What a genome's cell measures, where its contigs' cells measured these cohorts."""

    def amend(self, described: dict[str, Any], facts: Mapping[str, PrepareFacts]) -> None:
        """Add to run.json what only the source knows of the datasets of these facts, by label."""


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
    executor = executor or make_executor(suite.executor, jobs)
    source = SuiteSource(suite, registry)
    return drive(source, registry, Path(out), fresh, reporter or ProgressReporter(), executor)


def drive(
    source: PanelSource,
    registry: Registry,
    out: Path,
    fresh: bool,
    reporter: ProgressReporter,
    executor: Executor,
) -> RunOutcome:
    """Run every cell of a source's suite, as `run_suite` says."""
    suite = source.suite
    parent = out / suite.name
    fingerprints.forget()
    try:
        origin = provenance()
        keys = Keys(hardware_of(suite, origin), suite.threads)
        datasets = source.datasets(keys)
        state = state_of(suite, registry, keys, [dataset.key for dataset in datasets])
        with open_run(parent, suite, state, fresh=fresh, reporter=reporter) as (folder, info):
            store = open_store(parent, info)
            people = [path for dataset in datasets for path in dataset.files]
            modules = [plugin.module for plugin in registry.sources.values()]
            isolation = isolate(suite, executor, out, store.root, people, modules)
            run = RunState(
                suite=suite,
                registry=registry,
                home=folder,
                folder=folder,
                store=store,
                executor=executor,
                isolation=isolation,
                reporter=reporter,
                keys=keys,
                log=RecordLog(folder, reporter.message),
                claims=ClaimLog(),
                observe=observer(registry),
            )
            write_whole(folder.path / "suite.yaml", suite.to_yaml())
            for dataset in datasets:
                for stage in dataset.all_stages:
                    stage.folder = store.folder("join" if stage.parts else "prepare", stage.key)
            try:
                return _Driver(source, run, origin, info).go(datasets)
            except BenchError:
                if not folder.records_path.is_file():
                    shutil.rmtree(folder.path, ignore_errors=True)
                raise
    except OSError as error:
        where = error.filename or parent
        raise BenchError(
            f"{where}: results can't be written or read: {error.strerror or error}",
            hint="what is done is kept; mend it and run the same command again",
        ) from error
    finally:
        executor.retire()
        reporter.stop()


def hardware_of(suite: Suite, origin: Provenance) -> str:
    """What stages run on: this machine, or what is asked of the cluster that it submits to."""
    if suite.executor.name == "local":
        return origin.fingerprint
    cluster = suite.executor
    return f"{origin.fingerprint} {cluster.partition} {cluster.constraint} {cluster.gpus_per_node}"


def state_of(suite: Suite, registry: Registry, keys: Keys, prepare: Sequence[str]) -> str:
    """Digest of everything that a run's records rest on: a run is resumed only where it's equal."""
    specs: list[GeneratorSpec | MetricSpec] = [
        registry.generators[entry.name]
        for entry in suite.generators
        if entry.name in registry.generators
    ]
    specs += [registry.metric(entry.name) for entry in suite.metrics]
    return digest_of(
        {
            "suite": suite.digest,
            "prepare": list(prepare),
            "code": [
                [spec.name, spec.version, fingerprints.plugin_code(spec.target).digest]
                for spec in specs
            ],
            "harness": [fingerprints.harness_code(stage) for stage in fingerprints.STAGES],
            "missing": [entry.missing for entry in suite.generators]
            + [entry.missing for entry in suite.metrics],
            "hardware": keys.hardware,
        }
    )


class _Driver:
    """A run in progress."""

    def __init__(
        self, source: PanelSource, run: RunState, origin: Provenance, info: dict[str, Any]
    ) -> None:
        self.source = source
        self.run = run
        self.origin = origin
        self.info = info
        genomes = any(dataset.by_contig for dataset in run.suite.datasets)
        self.contigs = contigs_run(run) if genomes else None
        self.sampled: dict[str, Cohorts] = {}
        self.failed: list[str] = []
        self.digests: dict[str, dict[str, Any]] = {}
        self.timings = run.store.timings()
        self.lock = threading.Lock()

    def go(self, datasets: Sequence[DatasetStage]) -> RunOutcome:
        """Prepare, then run all cells."""
        run, slots = self.run, self.run.executor.slots
        cells = self.source.cells(self.timings)
        expected = {cell.name: self.timings.get(cell.name) for cell in cells}
        prepared: dict[str, DatasetStage] = {}
        try:
            self.describe("running", {})
            cohorts = {cell.name: self.source.n_cohorts(cell) for cell in cells}
            run.reporter.start(run.suite.name, run.folder.path, Estimate(expected, cohorts))
            stages = [stage for dataset in datasets for stage in dataset.all_stages]
            # A genome's first contig decides on the split; the genome rests on all.
            for turn in (0, 1, 2):
                ready = [one for one in stages if 2 * bool(one.parts) + bool(one.first) == turn]
                run_all([partial(self.source.prepare, run, one) for one in ready], slots, run.stop)
            prepared = {stage.entry.label: stage for stage in stages}
            self.describe("running", prepared)
            self.not_available(datasets)
            work = [
                partial(self.cell, cell, prepared[cell.dataset.label])
                for cell in cells
                if not cell.dataset.contigs
            ]
            run_all(work, slots, run.stop)
            if self.contigs is not None:
                records = ContigRecords(self.contigs.folder)
                work = [
                    partial(self.cell, cell, prepared[cell.dataset.label], records)
                    for cell in cells
                    if cell.dataset.contigs
                ]
                run_all(work, slots, run.stop)
        except BaseException:
            with contextlib.suppress(OSError):
                self.describe("incomplete", prepared)
            raise
        for log in (run.log, *([self.contigs.log] if self.contigs else ())):
            log.check()
        for path in run.isolation.changed():
            run.reporter.message(f"warning: {path}: changed since it was stored; removed")
            remove_tree(path) if path.is_dir() else path.unlink(missing_ok=True)
        self.describe("complete", prepared)
        return RunOutcome(run.folder.path, tuple(self.failed), bool(self.info["resumed"]))

    def describe(self, status: str, prepared: Mapping[str, DatasetStage]) -> None:
        """Write run.json, and that of the contigs."""
        whole = {name: one for name, one in prepared.items() if not one.entry.contig}
        self._describe(self.run, status, whole)
        if self.contigs is not None:
            of_contigs = {name: one for name, one in prepared.items() if one.entry.contig}
            self._describe(self.contigs, status, of_contigs)

    def _describe(self, run: RunState, status: str, prepared: Mapping[str, DatasetStage]) -> None:
        suite = run.suite
        facts = {label: dataset.told for label, dataset in prepared.items()}
        people = {
            label: people_of(dataset.folder, held_out=bool(suite.shadows))
            for label, dataset in prepared.items()
            if status != "running" and dataset.failure is None
        }
        described = describe_run(
            suite, run.registry, self.run.folder.run_id, self.origin, facts, run.claims, people
        )
        self.source.amend(described, {label: told for label, told in facts.items() if told})
        labels = {entry.label for entry in suite.datasets}
        described["cohorts"] = [
            entry for _, entry in sorted(self.digests.items()) if entry["dataset"] in labels
        ]
        described["isolation"] = run.isolation.facts()
        failed = [name for name in self.failed if name.partition("/")[0] in labels]
        described |= run_lines(self.info, status, failed, run.executor.slots, suite.threads)
        write_json(run.folder.path / "run.json", described)

    def note_digests(self, cell: Cell, digests: Mapping[str, str]) -> None:
        """Keep for run.json which panels a cell's cohorts are."""
        if cell.generator is None or not digests:
            return
        entry = {
            "dataset": cell.dataset.label,
            "generator": cell.label,
            "seed": cell.seed,
            "world_size": cell.generator.ranks,
            "digests": dict(digests),
        }
        with self.lock:
            self.digests[cell.name] = entry

    def recorder(self, cell: Cell, dataset: DatasetStage) -> Recorder:
        """What makes a cell's records."""
        return Recorder(
            cell,
            suite=self.run.suite,
            run_id=self.run.folder.run_id,
            registry=self.run.registry,
            provenance=self.origin,
            dataset_digest=dataset.told.digest if dataset.told else "",
        )

    def not_available(self, datasets: Sequence[DatasetStage]) -> None:
        """State, for every dataset, which generators can't be run here."""
        for entry in self.run.suite.generators:
            if not entry.missing:
                continue
            note = f"not available: needs {'; '.join(entry.missing)}"
            for dataset in (one for one in datasets if entry.fits(one.entry.label)):
                for seed, one in itertools.product(entry.seeds, by_world_size(entry)):
                    cell = Cell(dataset.entry, one, seed, self.run.suite.sample)
                    record = self.recorder(cell, dataset).cell_not_applicable(note)
                    self.run.log.append([record])
            self.run.reporter.message(f"{entry.label}: {note}")

    def run_of(self, cell: Cell) -> RunState:
        """The run with the folder and the records of a cell."""
        return self.contigs if self.contigs is not None and cell.dataset.contig else self.run

    def cohorts(self, cell: Cell, dataset: DatasetStage) -> Cohorts:
        """What a cell measures; what isn't as it was stored any more is made again."""
        run = self.run_of(cell)
        cohorts = self.source.cohorts(run, cell, dataset)
        if dataset.failure is None and run.isolation.trouble(dataset.folder):
            self.source.prepare(run, dataset)
        if any(run.isolation.trouble(folder) for folder in cohorts.folders):
            cohorts = self.source.cohorts(run, cell, dataset)
        if cell.dataset.contig:
            with self.lock:
                self.sampled[cell.name] = cohorts
        return cohorts

    def joined(
        self, cell: Cell, dataset: DatasetStage, records: Mapping[str, Sequence[Record]]
    ) -> Cohorts:
        """What a genome's cell measures."""
        refuse_failed(records)
        names = [replace(cell, dataset=part).name for part in cell.dataset.parts]
        contigs = [self.sampled[name] for name in names]
        return self.source.joined(self.run, cell, dataset, contigs)

    def cell(self, cell: Cell, dataset: DatasetStage, records: ContigRecords | None = None) -> None:
        """Run a cell to its end; its failures become records.

        `records`: of a genome's cell, those of its contigs' cells, which are done.
        """
        run = self.run_of(cell)
        contigs = None if records is None else records.of(cell)
        recorder = self.recorder(cell, dataset)
        start = time.monotonic()
        try:
            for attempt in range(_ATTEMPTS):
                try:
                    if contigs is None:
                        cohorts = self.cohorts(cell, dataset)
                    else:
                        cohorts = self.joined(cell, dataset, contigs)
                        run.log.append(merge_records(run, cell, recorder, contigs))
                    self.note_digests(cell, cohorts.digests)
                    measure_cell(run, cell, dataset, recorder, cohorts)
                    break
                except StageFailedError as error:
                    # What somebody else changed meanwhile is made and measured again.
                    meanwhile = (error.stage, error.failure.error_type) == ("measure", CHANGED)
                    if not meanwhile or attempt == _ATTEMPTS - 1:
                        raise
        except StageFailedError as error:
            run.log.append([recorder.cell_failure(error.stage, error.failure, error.key)])
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            # What a plugin left where the harness keeps its own: it costs the plugin's cell.
            LOG.warning("%s: %r", cell.name, error)
            broken = describe_error(error)
            failure = Failure("failed", broken.error_type, broken.error, 0.0)
            run.log.append([recorder.cell_failure("measure", failure, "")])
        wall = time.monotonic() - start
        failures = run.log.failures(cell)
        with self.lock:
            if failures:
                self.failed.append(cell.name)
            if wall > self.timings.get(cell.name, 0.0) / 10:
                self.timings[cell.name] = round(wall, 1)
                run.store.write_timings(self.timings)
        run.reporter.cell_finished(cell.name, failures)


class SuiteSource:
    """Panels by a suite's plugins: its datasets, and what its generators sample."""

    def __init__(self, suite: Suite, registry: Registry) -> None:
        self.suite = suite
        self.registry = registry

    def datasets(self, keys: Keys) -> list[DatasetStage]:
        """See `PanelSource`; all that can't be had is named at once."""
        stages: dict[str, DatasetStage] = {}
        problems = []
        for entry in (one for each in self.suite.datasets for one in each.parts or (each,)):
            spec = self.registry.dataset(entry.name)
            try:
                dataset = resolve(spec.target)()
                params = spec.params.model_validate(entry.values)
                fingerprint = str(dataset.fingerprint(params))
                files = dataset.files(params) if hasattr(dataset, "files") else ()
            except BenchError as error:
                problems.append(f"dataset {entry.label}: {error}")
            except OSError as error:
                where = f"{error.filename}: " if error.filename else ""
                problems.append(f"dataset {entry.label}: {where}{error.strerror or error}")
            except Exception as error:  # a plugin is someone else's code
                problems.append(
                    f"dataset {entry.label}: its fingerprint can't be taken: "
                    f"{type(error).__name__}: {error}"
                )
            else:
                key = keys.prepare(spec, entry, fingerprint)
                stages[entry.label] = DatasetStage(entry, key, files=tuple(map(Path, files)))
        if problems:
            raise SuiteError(problems)
        return [genome_stage(each, stages, keys) for each in self.suite.datasets]

    def cells(self, expected: Mapping[str, float]) -> list[Cell]:
        """See `PanelSource`."""
        return plan_cells(self.suite, expected)

    def n_cohorts(self, cell: Cell) -> int:
        """The floor's draws, or those of a generator."""
        return self.suite.floor.draws if cell.generator is None else cell.sample.draws

    def prepare(self, run: RunState, dataset: DatasetStage) -> None:
        """Prepare a dataset; what the user must mend is raised, what the plugin broke is kept."""
        entry, first = dataset.entry, dataset.first
        if dataset.parts:
            join_dataset(run, dataset)
            return
        if first is not None and first.failure is not None:
            dataset.failure = first.failure
            return
        withdrawn = entry.filters.withdrawn
        job = {
            "name": entry.name,
            "plugins": run.modules("datasets", entry.name),
            "params": entry.values,
            "seed": seed_of_contig(entry.split.seed, entry),
            "settings": {
                "filters": entry.filters.model_dump(),
                "withdrawn": entry.withdrawn and entry.withdrawn.as_job(),
                "allow_unknown": bool(withdrawn and withdrawn.allow_unknown),
                "split": entry.split.model_dump(),
                "listed": {key: people.as_job() for key, people in entry.listed.items()},
                **({"first": str(first.folder.resolve())} if first else {}),
            },
        }
        limits = run.suite.limits
        try:
            work = StageWork(run, entry.label, "prepare", dataset.key, limits, job, PrepareFacts)
            told = work.get()
        except StageFailedError as error:
            if error.user:
                raise UserError(f"dataset {entry.label}: {error.failure.error}") from None
            dataset.failure = error.failure
            return
        dataset.told = told
        if (counts := told.withdrawn) is not None:
            doubts = (counts[key] for key in ("unknown", "repeated", "doubles"))
            doubt = "warning: " if any(doubts) else ""
            run.reporter.message(f"{doubt}{entry.label}: {withdrawal_text(counts)}")
        tell_relatives(run, dataset)

    def cohorts(self, run: RunState, cell: Cell, dataset: DatasetStage) -> Cohorts:
        """Those that the cell's generator samples; for the floor, real people."""
        facts = dataset.facts
        if cell.generator is None:
            return floor_cohorts(facts, self.suite.floor.draws, self._people(facts))
        spec = run.registry.generator(cell.generator.name)
        sampled = fit_and_sample(run, cell, dataset)
        folder = partial(run.store.folder, "sample")
        run.claims.add(cell, folder(sampled.key), ())
        cohorts = sampled_cohorts(run, cell, sampled, spec.site_matched)
        try:
            shadows = fit_shadows(run, cell, dataset)
        except StageFailedError as error:
            return replace(cohorts, no_shadows=error.failure)
        run.claims.add(cell, folder(sampled.key), [folder(key) for key in shadows])
        return with_shadows(run, cohorts, shadows)

    def joined(
        self, run: RunState, cell: Cell, dataset: DatasetStage, contigs: Sequence[Cohorts]
    ) -> Cohorts:
        """Person i's of all contigs as one; for the floor, whole real people."""
        if cell.generator is None:
            return self.cohorts(run, cell, dataset)
        return join_cohorts(run, cell, dataset, contigs)

    def amend(self, described: dict[str, Any], facts: Mapping[str, PrepareFacts]) -> None:
        """Mark datasets whose floor can't be as large as their cohorts."""
        for label, told in facts.items():
            people = self._people(told) or told.n_holdout_haplotypes // told.ploidy
            if note := unmarked(people, told.n_train_haplotypes // told.ploidy):
                described["datasets"][label]["marks"] = {"cohort": "", "note": note}

    def _people(self, facts: PrepareFacts) -> int | None:
        """How many people the suite's cohorts have; None for as many as are held out."""
        n = self.suite.sample.haplotypes
        return None if n == "holdout" else -(-n // facts.ploidy)
