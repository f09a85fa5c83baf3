"""Score cohorts that lie in files: a run folder like any other, with the controls beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from haplobench.data.formats.sources import settings_of
from haplobench.data.genome import RecombinationMap, ReferenceSequence
from haplobench.data.panel import Panel
from haplobench.data.prepared import PrepareFacts
from haplobench.errors import BenchError, SuiteError, shortened
from haplobench.files import file_digest, printable, write_json
from haplobench.plugin import RunContext
from haplobench.registry import Registry, missing_needs
from haplobench.results.records import FLOOR
from haplobench.runner.cell import (
    Cohorts,
    DatasetStage,
    fit_and_sample,
    floor_cohorts,
    sampled_cohorts,
)
from haplobench.runner.executors.local import LocalExecutor
from haplobench.runner.floor import most_people
from haplobench.runner.genome import join_cohorts
from haplobench.runner.given_panels import Panels, PlacedCohort, fit_together, join_together
from haplobench.runner.given_sites import GivenCohort, SiteSettings
from haplobench.runner.plan import Cell, Keys
from haplobench.runner.progress import ProgressReporter
from haplobench.runner.run import RunOutcome, drive
from haplobench.runner.stage import RunState
from haplobench.runner.worker.job import STAGE_FILE
from haplobench.suite.load import control_entry
from haplobench.suite.schema import (
    DatasetEntry,
    Filters,
    FloorSettings,
    GeneratorEntry,
    Limits,
    MetricEntry,
    SampleSettings,
    SplitSettings,
    Suite,
)

NAME = "evaluate"
_LABEL = 200
NEEDS_TRAIN = "needs the training panel (--train)"
NOBODY_HELD_OUT = (
    "nobody is held out: the generator was trained on all of --real, so that what it gives away "
    "can't be told from what people share (--split keeps some back from another training)"
)
FLOOR_OF_UNSEEN = "its floor is unseen people's, whatever the cohort's size"
_SUBSAMPLES = 5


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What is scored against whom.

    Attributes
    ----------
    real : Panel
        Held-out people: not those that the generator was trained on.
    cohorts : tuple of GivenCohort
        To score, each under a label of its own.
    train : Panel or None
        The people that the generator was trained on.
    trained_on_all : bool
        Without `train`: whether the generator was trained on the real people, all of them.
        Nothing can then be said of privacy.
    metrics : tuple of str
        Names; `all` stands for every installed one.
    dataset : str
        What the tables call the real people.
    sites : SiteSettings
    floor_draws, seed : int
    recombination_map, sequence : optional
        Of the region.
    origin : mapping
        Where the panels came from, for run.json.
    withdrawn : mapping or None
        How many people were left out of the panels, see `PeopleList.leave_out`.
    """

    real: Panel
    cohorts: tuple[GivenCohort, ...]
    train: Panel | None = None
    trained_on_all: bool = False
    metrics: tuple[str, ...] = ("all",)
    dataset: str = "real"
    sites: SiteSettings = field(default_factory=SiteSettings)
    floor_draws: int = 10
    seed: int = 1
    recombination_map: RecombinationMap | None = None
    sequence: ReferenceSequence | None = None
    origin: Mapping[str, str] = field(default_factory=dict)
    withdrawn: Mapping[str, int] | None = None

    def without_sites(self) -> Evaluation:
        """The same without its genotypes: its people and settings."""

        def bare(panel: Panel) -> Panel:
            return panel.select_sites(np.empty(0, np.int64))

        return replace(
            self,
            real=bare(self.real),
            train=None if self.train is None else bare(self.train),
            cohorts=tuple(replace(one, panel=bare(one.panel)) for one in self.cohorts),
            recombination_map=None,
            sequence=None,
        )


def evaluate(
    evaluation: Evaluation,
    registry: Registry,
    out: Path | str = Path("results"),
    *,
    jobs: int = 1,
    fresh: bool = False,
    reporter: ProgressReporter | None = None,
) -> RunOutcome:
    """Score synthetic cohorts against real people, into `out/evaluate/<run_id>/`.

    Where most of the real sites of a synthetic panel's region are in it too (by position and
    alleles, or by column where a panel has no positions), all are cut down to those; a cohort of
    other sites is refused unless it may have its own (`SiteSettings.own`): then only metrics that
    need no common sites apply, a cohort whose sites all lie outside the real region is moved to
    its start, and all are cut to the region that they share.
    Without training people, metrics that need them don't apply, the floor is made of the real
    people alone (see `runner.floor`), and so are controls, without those that leak. `jobs`, `fresh`
    and `reporter` as for `run_suite`.

    Raises
    ------
    BenchError
        If the panels don't fit together: ploidy, too few people, training people among the
        real ones, too few sites in common; unknown metrics.
    """
    reporter = reporter or ProgressReporter()
    suite = _suite(evaluation, registry)
    panels = _fit(evaluation, Path(out), reporter.message, {})
    for text in panels.warnings:
        reporter.message(f"warning: {text}")
    source = GivenPanels(suite, registry, {"": panels}, trained_on_all=evaluation.trained_on_all)
    del panels
    return drive(source, registry, Path(out), fresh, reporter, LocalExecutor(jobs))


def evaluate_contigs(
    contigs: Sequence[str],
    read: Callable[[str], Evaluation],
    registry: Registry,
    out: Path,
    scratch: Path,
    *,
    jobs: int = 1,
    fresh: bool = False,
    reporter: ProgressReporter,
) -> RunOutcome:
    """Score cohorts of several contigs as one genome: as `evaluate`, and as runs of genomes do.

    `read` gives the evaluation of one contig after another: the same people in the same order,
    and the same cohorts. Of each contig's panels, what is compared lies in `scratch` until the end.

    Raises BenchError as `evaluate`, and for contigs that don't belong together.
    """
    parts: dict[str, Panels] = {}
    known: dict[Path, str] = {}
    for contig in contigs:
        evaluation = read(contig)
        suite = _suite(evaluation, registry, contigs)

        def tell(text: str, contig: str = contig) -> None:
            reporter.message(f"contig {contig}: {text}")

        try:
            panels = _fit(evaluation, out, tell, known)
        except BenchError as error:
            raise BenchError(f"contig {contig}: {error.args[0]}", hint=error.hint) from None
        parts[contig] = panels.moved(scratch / f"contig {contig}")
        trained_on_all, seed = evaluation.trained_on_all, evaluation.seed
        del panels, evaluation
    (scratch / "joined").mkdir()
    given = join_together(parts, scratch / "joined", seed)
    for text in given[""].warnings:
        reporter.message(f"warning: {text}")
    origin: dict[str, str] = {}
    for contig, part in parts.items():
        for name, text in part.prepared.facts.provenance.items():
            if all(one.prepared.facts.provenance.get(name) == text for one in parts.values()):
                origin[name] = text
            elif name != "sites":
                origin[f"contig {contig}: {name}"] = text
    whole = given[""].prepared
    whole = replace(whole, facts=replace(whole.facts, provenance=origin))
    given[""] = replace(given[""], prepared=whole)
    source = GivenPanels(suite, registry, given, trained_on_all=trained_on_all)
    del parts, given, whole
    return drive(source, registry, out, fresh, reporter, LocalExecutor(jobs))


def _fit(
    evaluation: Evaluation, out: Path, tell: Callable[[str], None], known: dict[Path, str]
) -> Panels:
    """Panels of one contig that fit together, with what run.json says of where they came from.

    `known`: digests of files so far.
    """
    panels = fit_together(
        evaluation.real,
        evaluation.cohorts,
        evaluation.train,
        evaluation.sites,
        RunContext(seed=evaluation.seed, artifacts=out, scratch=out),
        evaluation.recombination_map,
        evaluation.sequence,
    )
    warnings = panels.warnings
    if evaluation.trained_on_all:
        warnings = (*warnings, f"no verdict on privacy: {NOBODY_HELD_OUT}")
    for remark in panels.remarks:
        tell(remark)
    digests = {}
    for name, path in ((name, Path(text)) for name, text in evaluation.origin.items()):
        if path.is_file():
            known[path] = known.get(path) or file_digest(path)
            digests[f"{name} SHA-256"] = known[path]
    origin = {**evaluation.origin, **digests, "sites": "; ".join(panels.remarks)}
    told = replace(panels.prepared.facts, provenance=origin, withdrawn=evaluation.withdrawn)
    prepared = replace(panels.prepared, facts=told)
    return replace(panels, prepared=prepared, warnings=warnings)


def _suite(evaluation: Evaluation, registry: Registry, contigs: Sequence[str] = ()) -> Suite:
    """The evaluation in the form of a suite, as run.json and records want it."""
    dataset, seed = evaluation.dataset, evaluation.seed
    labels = [cohort.label for cohort in evaluation.cohorts]
    controls = [spec for spec in registry.generators.values() if spec.control]
    reserved = {FLOOR: "of real people", **{spec.name: "a control" for spec in controls}}
    names: dict[str, None] = {}
    problems = [
        f"label {label!r}: it is the harness's own, {reserved[label]}"
        for label in labels
        if label in reserved
    ]
    problems += [
        f"label {shortened(printable(text), 60)!r}: expected at most {_LABEL} characters, none of "
        "them a control character"
        for text in (*labels, dataset)
        if not text or printable(text) != text or "\n" in text or len(text) > _LABEL
    ]
    problems += [
        f"label {label!r}: {labels.count(label)} cohorts have it; expected one each (--label)"
        for label in dict.fromkeys(labels)
        if labels.count(label) > 1
    ]
    for name in evaluation.metrics:
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
        entries.append(MetricEntry(name=name, params=params, missing=missing, optional=True))
    sites, split = evaluation.sites, settings_of(SplitSettings, {"seed": seed})
    shares = {"min_maf": sites.min_maf, "max_missing": sites.max_missing}
    filters = settings_of(Filters, shares)
    generators = [GeneratorEntry(name=label, label=label, seeds=(seed,)) for label in labels]
    generators[:0] = [
        control_entry(spec, (seed,), Limits())
        for spec in controls
        if evaluation.train is not None or not spec.leaks
    ]
    return Suite(
        name=NAME,
        title=f"{', '.join(labels)} against {dataset}",
        seeds=(seed,),
        datasets=(
            DatasetEntry(
                name="",
                label=dataset,
                contigs=tuple(contigs),
                by_contig={contig: ({}, {}) for contig in contigs},
                filters=filters,
                split=split,
            ),
        ),
        generators=tuple(generators),
        metrics=tuple(entries),
        sample=SampleSettings(),
        floor=settings_of(FloorSettings, {"draws": evaluation.floor_draws}),
        limits=Limits(),
    )


class GivenPanels:
    """Panels that somebody hands in: nothing but the controls is fitted.

    The floor, the controls, the cohorts, and where the floor can't be as large as a cohort some
    of its people at a time.
    """

    def __init__(
        self,
        suite: Suite,
        registry: Registry,
        panels: Mapping[str, Panels],
        *,
        trained_on_all: bool = False,
    ) -> None:
        self.suite = suite
        (entry,) = suite.datasets
        self.panels = {one.label: panels[one.contig] for one in (*entry.parts, entry)}
        self.unseen = [
            spec.name
            for spec in registry.metrics.values()
            if spec.floor == "holdout" or spec.family == "privacy"
        ]
        reason = NOBODY_HELD_OUT if trained_on_all else NEEDS_TRAIN
        self.refused = {} if self.whole.has_train else dict.fromkeys(self.unseen, reason)

    @property
    def whole(self) -> Panels:
        """The panels of everything: of a genome, those of whole people."""
        return self.panels[self.suite.datasets[0].label]

    def datasets(self, keys: Keys) -> list[DatasetStage]:
        """The one dataset, under the digest of all panels; of a genome, of those of its contigs."""
        (entry,) = self.suite.datasets

        def stage(one: DatasetEntry, **more: Any) -> DatasetStage:
            panels = self.panels[one.label]
            return DatasetStage(one, panels.key, told=panels.prepared.facts, **more)

        return [stage(entry, parts=tuple(map(stage, entry.parts)))]

    def cells(self, expected: Mapping[str, float]) -> list[Cell]:
        """The floor first, then controls as large as its draws; a genome's after its contigs'."""
        suite = self.suite
        haplotypes = self.floor_people * self.whole.prepared.train.ploidy
        as_floor = suite.sample.model_copy(update={"haplotypes": haplotypes})
        cells = []
        for dataset in (*suite.datasets[0].parts, suite.datasets[0]):
            cells.append(Cell(dataset, None, 0, suite.sample))
            for entry in suite.generators:
                if entry.missing:
                    continue
                sample = as_floor if entry.role == "control" else suite.sample
                cells.append(Cell(dataset, entry, suite.seeds[0], sample))
                if some := self._some_people(entry.label):
                    part = entry.model_copy(update={"label": some, "role": "subsample"})
                    cells.append(Cell(dataset, part, suite.seeds[0], sample))
        return cells

    def n_cohorts(self, cell: Cell) -> int:
        """The floor's draws, some of a cohort's people at a time, or one."""
        if cell.generator is None:
            return self.suite.floor.draws
        return min(_SUBSAMPLES, self.suite.floor.draws) if cell.role == "subsample" else 1

    def prepare(self, run: RunState, dataset: DatasetStage) -> None:
        """Store the panels and the cohorts as stages."""
        panels = self.panels[dataset.entry.label]
        _store(run, "join" if dataset.parts else "prepare", dataset.key, panels.prepared.save)
        for cohort in panels.cohorts:
            _store(run, "sample", panels.key_of(cohort), partial(_save_draw, cohort.panel))
        if run.isolation.sandbox is None:
            return  # what is stored may be changed, and is then stored again
        draws = [
            run.store.folder("sample", panels.key_of(cohort)) / "draw0" for cohort in panels.cohorts
        ]
        self.panels[dataset.entry.label] = panels.mapped(dataset.folder, draws)

    def cohorts(self, run: RunState, cell: Cell, dataset: DatasetStage) -> Cohorts:
        """The floor's draws, what a control samples, a cohort, or some of its people at a time."""
        panels = self.panels[cell.dataset.label]
        pool = "all" if panels.has_train else "holdout"
        draws, people = self.suite.floor.draws, self.floor_people
        if cell.generator is None:
            floor = floor_cohorts(dataset.facts, draws, people, pool)
            return replace(floor, refused=self.refused)
        if cell.role == "control":
            spec = run.registry.generator(cell.generator.name)
            sampled = fit_and_sample(run, cell, dataset)
            drawn = sampled_cohorts(run, cell, sampled, spec.site_matched)
            return replace(drawn, refused=self.refused)
        cohort = next(one for one in panels.cohorts if one.label == cell.generator.name)
        key = panels.key_of(cohort)
        refused = dict.fromkeys(self.unseen, cohort.doubt) if cohort.doubt else {}
        whole = Cohorts(
            key=key,
            replicates=1,
            source={"kind": "sample", "folder": str(run.store.folder("sample", key).resolve())},
            site_matched=cohort.site_matched,
            phased=cohort.panel.phased,
            refused=refused | self.refused,
            digests={"draw0": cohort.panel.digest},
        )
        if cell.role != "subsample":
            return whole
        return replace(
            whole,
            key=f"{key} {people} {pool}",
            replicates=min(_SUBSAMPLES, draws),
            digests={},
            source={**whole.source, "people": people, "pool": pool},
            refused=dict.fromkeys(self.unseen, FLOOR_OF_UNSEEN) | refused | self.refused,
        )

    def joined(
        self, run: RunState, cell: Cell, dataset: DatasetStage, contigs: Sequence[Cohorts]
    ) -> Cohorts:
        """What was handed in is joined already, as the floor is; what controls sample isn't."""
        if cell.role == "control":
            return join_cohorts(run, cell, dataset, contigs)
        return self.cohorts(run, cell, dataset)

    def amend(self, described: dict[str, Any], facts: Mapping[str, PrepareFacts]) -> None:
        """Say whether the sites are common, what is amiss, and how the marks were made."""
        for cohort in self.whole.cohorts:
            described["generators"][cohort.label]["site_matched"] = cohort.site_matched
        marks = {cohort.label: self._marks(cohort) for cohort in self.whole.cohorts}
        marks = {label: mark for label, mark in marks.items() if mark}
        doubts = {one.label: one.exposed for one in self.whole.cohorts if one.exposed}
        for label in facts:
            dataset = described["datasets"][label]
            if not self.whole.has_train:  # the real people, whom metrics are given in their place
                dataset["n_train_haplotypes"] = None
            if warnings := self.panels[label].warnings:
                dataset["warnings"] = list(warnings)
            if marks:
                dataset["cohort_marks"] = marks
            if doubts:
                dataset["cohort_doubts"] = doubts

    @property
    def floor_people(self) -> int:
        """How many people a floor's draws have: the smallest cohort's, or as many as can be."""
        prepared = self.whole.prepared
        pool = prepared.train if self.whole.has_train else prepared.holdout
        fewest = min(cohort.panel.n_samples for cohort in self.whole.cohorts)
        return min(fewest, most_people(pool.n_samples))

    def _some_people(self, label: str) -> str:
        """The label of a cohort's subsamples; empty where the floor is as large as it.

        Without training people, the floor's draws are held against those real people who
        aren't in them: so is the cohort, for the marks, and not against all.
        """
        cohort = next((one for one in self.whole.cohorts if one.label == label), None)
        people = self.floor_people
        if cohort is None or cohort.doubt:
            return ""
        if self.whole.has_train and people == cohort.panel.n_samples:
            return ""
        return f"{label}, {people:,} people at a time"

    def _marks(self, cohort: PlacedCohort) -> dict[str, str]:
        """What run.json says of marks that are not those of the whole cohort; or nothing."""
        if cohort.doubt:
            return {"cohort": "", "note": f"no mark: {cohort.doubt}"}
        if not (some := self._some_people(cohort.label)):
            return {}
        real, people = self.whole.prepared.holdout.n_samples, self.floor_people
        against = real if self.whole.has_train else real - people
        note = (
            f"marks: {people:,} of the cohort's {cohort.panel.n_samples:,} people at a time, "
            f"against {against:,} of the {real:,} real ones, as the floor's draws are"
        )
        return {"cohort": some, "note": note}


def _save_draw(panel: Panel, folder: Path) -> None:
    panel.save(folder / "draw0")


def _store(run: RunState, stage: str, key: str, save: Callable[[Path], None]) -> None:
    """Store a stage whose content is at hand, once."""
    store = run.store
    if store.finished(stage, key) is None:
        with store.workspace(stage, key) as work:
            output = work / "output"
            output.mkdir()
            save(output)
            write_json(output / STAGE_FILE, {"stage": stage, "generation": store.generation})
            store.publish(output, stage, key)
