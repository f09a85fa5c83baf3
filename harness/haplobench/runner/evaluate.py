"""Score a cohort that lies in a file: no generator, a run folder like any other."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from haplobench.data.genome import RecombinationMap, ReferenceSequence
from haplobench.data.panel import Panel
from haplobench.errors import BenchError, SuiteError
from haplobench.files import printable, shortened, write_json, write_whole
from haplobench.plugin import RunContext
from haplobench.registry import Registry, missing_needs
from haplobench.results.provenance import Provenance, provenance
from haplobench.runner import fingerprints
from haplobench.runner.cell import Cohorts, Session, StageFailedError, floor_cohorts, measure_cell
from haplobench.runner.describe import describe_run, run_lines
from haplobench.runner.executors.local import Executor, LocalExecutor, run_all
from haplobench.runner.floor import most_people
from haplobench.runner.given_panels import AbsentSites, Panels, SiteSettings, fit_together
from haplobench.runner.plan import Cell, Keys
from haplobench.runner.progress import ProgressReporter, SilentReporter
from haplobench.runner.recording import Ledger, Recorder
from haplobench.runner.run import RunOutcome, observer, plugin_modules, writing
from haplobench.runner.store import STAGE_FILE, open_run, open_store
from haplobench.suite.model import DatasetEntry, GeneratorEntry, MetricEntry, Suite, digest_of
from haplobench.suite.schema import (
    FLOOR,
    Filters,
    FloorSettings,
    Limits,
    SampleSettings,
    SplitSettings,
)

NAME = "evaluate"
_LABEL = 200
NEEDS_TRAIN = "needs the training panel (--train)"
FLOOR_OF_UNSEEN = "its floor is unseen people's, whatever the cohort's size"
_SUBSAMPLES = 5


def evaluate(
    real: Panel,
    synthetic: Panel,
    train: Panel | None = None,
    metrics: Sequence[str] = ("all",),
    *,
    registry: Registry,
    out: Path | str = Path("results"),
    label: str = "synthetic",
    dataset: str = "real",
    min_maf: float = 0.01,
    max_missing: float = 0.0,
    absent_sites: AbsentSites = "fixed",
    unread: int = 0,
    floor_draws: int = 10,
    seed: int = 1,
    recombination_map: RecombinationMap | None = None,
    sequence: ReferenceSequence | None = None,
    provenance_of: Mapping[str, str] | None = None,
    withdrawn: Mapping[str, int] | None = None,
    limits: Limits | None = None,
    jobs: int = 1,
    fresh: bool = False,
    reporter: ProgressReporter | None = None,
    executor: Executor | None = None,
) -> RunOutcome:
    """Score a synthetic cohort against real people.

    Where most of the real sites of the synthetic panel's region are in it too (by position and
    alleles, or by column where a panel has no positions), both are cut down to those; otherwise
    only metrics that need no common sites apply, a cohort whose sites all lie outside the real
    region is moved to its start, and both are cut to the region that they share.
    Without `train`, metrics that need it don't apply, and the floor is made of the real people
    alone (see `runner.floor`).

    Parameters
    ----------
    real : Panel
        Held-out people: not those that the generator was trained on.
    synthetic : Panel
        The cohort to score.
    train : Panel or None
        The people that the generator was trained on.
    metrics : sequence of str
        Names; `all` stands for every installed one.
    registry : Registry
    out : Path
        Folder of results; the run's is `out/evaluate/<run_id>/`.
    label, dataset : str
        What the tables call the cohort and the real people.
    min_maf : float
        Sites with a smaller MAF among `train` (else `real`) are left out.
    max_missing, absent_sites, unread
        See `SiteSettings`.
    floor_draws, seed : int
    recombination_map, sequence : optional
        Of the region.
    provenance_of : mapping, optional
        Where the panels came from, for run.json.
    withdrawn : mapping, optional
        How many people were left out of the panels, see `PeopleList.leave_out`.
    limits, jobs, fresh, reporter, executor
        As for `run_suite`.

    Raises
    ------
    BenchError
        If the panels don't fit together: ploidy, too few people, training people among the
        real ones, too few sites in common; unknown metrics.
    """
    out = Path(out)
    reporter = reporter or SilentReporter()
    fingerprints.forget()
    with writing(out / NAME, reporter):
        origin = provenance()
        filters = Filters(min_maf=min_maf, max_missing=max_missing)
        suite = _suite(registry, metrics, label, dataset, filters, floor_draws, seed, limits)
        ctx = RunContext(seed=seed, artifacts=out, scratch=out)
        settings = SiteSettings(min_maf, max_missing, absent_sites, unread)
        panels = fit_together(real, synthetic, train, settings, ctx, recombination_map, sequence)
        for remark in panels.remarks:
            reporter.message(remark)
        remarks = "; ".join(panels.remarks)
        panels.prepared.facts["provenance"] = {**(provenance_of or {}), "sites": remarks}
        if withdrawn is not None:
            panels.prepared.facts["withdrawn"] = dict(withdrawn)
        keys = Keys(plugin_modules(registry), origin.fingerprint)
        state = digest_of(
            {
                "evaluate": suite.as_dict(),
                "panels": panels.key,
                "hardware": keys.hardware,
                "code": _code(suite, registry, keys),
            }
        )
        with open_run(out / NAME, suite, state, fresh=fresh, reporter=reporter) as (folder, info):
            store = open_store(out / NAME, info)
            session = Session(
                suite=suite,
                registry=registry,
                folder=folder,
                store=store,
                executor=executor or LocalExecutor(jobs),
                reporter=reporter,
                keys=keys,
                ledger=Ledger(folder),
                observe=observer(registry),
            )
            write_whole(folder.path / "suite.yaml", suite.to_yaml())
            return _Evaluation(session, panels, origin, info).go()


def _suite(
    registry: Registry,
    metrics: Sequence[str],
    label: str,
    dataset: str,
    filters: Filters,
    floor_draws: int,
    seed: int,
    limits: Limits | None,
) -> Suite:
    """The evaluation in the form of a suite, as run.json and records want it."""
    names: dict[str, None] = {}
    problems = []
    if label == FLOOR:
        problems.append(f"label {label!r}: it is the harness's own, of real people")
    problems += [
        f"label {shortened(printable(text), 60)!r}: expected at most {_LABEL} characters, none of "
        "them a control character"
        for text in (label, dataset)
        if not text or printable(text) != text or "\n" in text or len(text) > _LABEL
    ]
    for name in metrics:
        if name == "all":
            names |= dict.fromkeys(registry.metrics)
            continue
        try:
            names[registry.metric(name).name] = None
        except BenchError as error:
            problems.append(str(error))
    if problems:
        raise SuiteError(problems)
    entries = []
    for name in names:
        spec = registry.metric(name)
        params = spec.params().model_dump(mode="json", round_trip=True)
        missing = tuple(missing_needs(spec.needs))
        entries.append(MetricEntry(name, params, missing, optional=True))
    limits = limits or Limits()
    split = SplitSettings(seed=seed)
    return Suite(
        name=NAME,
        title=f"{label} against {dataset}",
        seeds=(seed,),
        datasets=(DatasetEntry(dataset, "", {}, {}, filters, split),),
        generators=(GeneratorEntry(label, label, "generator", {}, (seed,), limits=limits),),
        metrics=tuple(entries),
        sample=SampleSettings(),
        floor=FloorSettings(draws=floor_draws),
        limits=limits,
    )


def _code(suite: Suite, registry: Registry, keys: Keys) -> list[str]:
    specs = [registry.metric(entry.name) for entry in suite.metrics]
    return [fingerprints.plugin_code(spec.target, keys.plugins).digest for spec in specs]


class _Evaluation:
    """One evaluation in progress: the floor's cell and the cohort's."""

    def __init__(
        self, session: Session, panels: Panels, origin: Provenance, info: dict[str, Any]
    ) -> None:
        self.session = session
        self.panels = panels
        self.origin = origin
        self.info = info
        self.failed: list[str] = []

    def go(self) -> RunOutcome:
        """Store the panels, measure, describe."""
        session = self.session
        suite = session.suite
        dataset = suite.datasets[0]
        prepared = self._stored("prepare", self.panels.key, self.panels.prepared.save)
        sampled = self._stored(
            "sample", self.panels.key, lambda folder: self.panels.cohort.save(folder / "draw0")
        )
        floor = Cell(dataset, None, 0, suite.sample)
        cell = Cell(dataset, suite.generators[0], suite.seeds[0], suite.sample)
        facts = self.panels.prepared.facts
        unseen = [
            name for name, spec in session.registry.metrics.items() if spec.floor == "holdout"
        ]
        refused = {} if self.panels.has_train else dict.fromkeys(unseen, NEEDS_TRAIN)
        pool = "all" if self.panels.has_train else "holdout"
        whole = Cohorts(
            key=self.panels.key,
            replicates=1,
            source={"kind": "sample", "folder": str(sampled.resolve())},
            site_matched=self.panels.site_matched,
            phased=self.panels.cohort.phased,
            refused=refused,
        )
        people = self.floor_people
        floors = floor_cohorts(facts, suite.floor.draws, people, pool)
        cohorts = [(floor, replace(floors, refused=refused)), (cell, whole)]
        if self.marks:
            entry = replace(suite.generators[0], label=self.marks["cohort"], role="subsample")
            subsamples = replace(
                whole,
                key=f"{whole.key} {people} {pool}",
                replicates=min(_SUBSAMPLES, suite.floor.draws),
                source={**whole.source, "people": people, "pool": pool},
                refused=dict.fromkeys(unseen, FLOOR_OF_UNSEEN) | refused,
            )
            cohorts.append((Cell(dataset, entry, cell.seed, suite.sample), subsamples))
        session.reporter.start(
            NAME, session.folder.path, dict.fromkeys(at.name for at, _ in cohorts)
        )
        try:
            self._describe("running")
            work = [partial(self._measure, at, scored, prepared) for at, scored in cohorts]
            run_all(work, session.executor.slots, session.stop)
        except BaseException:
            with contextlib.suppress(OSError):
                self._describe("incomplete")
            raise
        session.ledger.check()
        self._describe("complete")
        return RunOutcome(session.folder.path, tuple(self.failed), bool(self.info["resumed"]))

    @property
    def floor_people(self) -> int:
        """How many people a floor's draws have: the cohort's number, or as many as there can be."""
        prepared = self.panels.prepared
        pool = prepared.train if self.panels.has_train else prepared.holdout
        return min(self.panels.cohort.n_samples, most_people(pool.n_samples))

    @property
    def marks(self) -> dict[str, str]:
        """What run.json says of marks that are not those of the whole cohort; or nothing.

        Without training people, the floor's draws are held against those real people who
        aren't in them: so is the cohort, for the marks, and not against all.
        """
        cohort, real = self.panels.cohort.n_samples, self.panels.prepared.holdout.n_samples
        people = self.floor_people
        if self.panels.has_train and people == cohort:
            return {}
        label = self.session.suite.generators[0].label
        against = real if self.panels.has_train else real - people
        note = (
            f"marks: {people:,} of the cohort's {cohort:,} people at a time, against {against:,} "
            f"of the {real:,} real ones, as the floor's draws are"
        )
        return {"cohort": f"{label}, {people:,} people at a time", "note": note}

    def _stored(self, stage: str, key: str, save: Callable[[Path], None]) -> Path:
        """The folder of a stage whose content we have: written once."""
        store = self.session.store
        if store.finished(stage, key) is None:
            with store.workspace(stage, key) as work:
                output = work / "output"
                output.mkdir()
                save(output)
                stamp = {"stage": stage, "generation": store.generation}
                write_json(output / STAGE_FILE, stamp)
                store.publish(output, stage, key)
        return store.folder(stage, key)

    def _measure(self, cell: Cell, cohorts: Cohorts, prepared: Path) -> None:
        session = self.session
        facts = self.panels.prepared.facts
        recorder = Recorder(
            cell,
            suite=session.suite,
            run_id=session.folder.run_id,
            registry=session.registry,
            provenance=self.origin,
            dataset_digest=facts["digest"],
        )
        try:
            measure_cell(
                session,
                cell,
                recorder,
                cohorts,
                prepared=prepared,
                facts=facts,
                limits=session.suite.limits,
            )
        except StageFailedError as error:
            session.ledger.append([recorder.cell_failure(error.stage, error.failure, error.key)])
        failures = session.ledger.failures(cell)
        if failures:
            self.failed.append(cell.name)
        session.reporter.cell_finished(cell.name, failures)

    def _describe(self, status: str) -> None:
        session = self.session
        suite = session.suite
        facts = {suite.datasets[0].label: self.panels.prepared.facts}
        described = describe_run(suite, session.registry, session.folder.run_id, self.origin, facts)
        generator = described["generators"][suite.generators[0].label]
        generator["site_matched"] = self.panels.site_matched
        if self.marks:
            described["datasets"][suite.datasets[0].label]["marks"] = self.marks
        described |= run_lines(self.info, status, self.failed, session)
        write_json(session.folder.path / "run.json", described)
