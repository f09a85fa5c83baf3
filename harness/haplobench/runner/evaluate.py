"""Score a cohort that lies in a file: no generator, a run folder like any other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from haplobench.data.genome import RecombinationMap, ReferenceSequence
from haplobench.data.panel import Panel
from haplobench.data.prepared import PrepareFacts
from haplobench.errors import BenchError, SuiteError
from haplobench.files import file_digest, printable, shortened, write_json
from haplobench.plugin import RunContext
from haplobench.registry import Registry, missing_needs
from haplobench.results.records import FLOOR
from haplobench.runner.cell import Cohorts, DatasetStage, floor_cohorts
from haplobench.runner.executors.local import LocalExecutor
from haplobench.runner.floor import most_people
from haplobench.runner.given_panels import Panels, SiteSettings, fit_together
from haplobench.runner.plan import Cell, Keys
from haplobench.runner.progress import ProgressReporter
from haplobench.runner.run import RunOutcome, drive
from haplobench.runner.stage import RunState
from haplobench.runner.worker.facts import STAGE_FILE
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
FLOOR_OF_UNSEEN = "its floor is unseen people's, whatever the cohort's size"
_SUBSAMPLES = 5


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What is scored against whom.

    Attributes
    ----------
    real : Panel
        Held-out people: not those that the generator was trained on.
    synthetic : Panel
        The cohort to score.
    train : Panel or None
        The people that the generator was trained on.
    metrics : tuple of str
        Names; `all` stands for every installed one.
    label, dataset : str
        What the tables call the cohort and the real people.
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
    synthetic: Panel
    train: Panel | None = None
    metrics: tuple[str, ...] = ("all",)
    label: str = "synthetic"
    dataset: str = "real"
    sites: SiteSettings = field(default_factory=SiteSettings)
    floor_draws: int = 10
    seed: int = 1
    recombination_map: RecombinationMap | None = None
    sequence: ReferenceSequence | None = None
    origin: Mapping[str, str] = field(default_factory=dict)
    withdrawn: Mapping[str, int] | None = None


def evaluate(
    evaluation: Evaluation,
    registry: Registry,
    out: Path | str = Path("results"),
    *,
    jobs: int = 1,
    fresh: bool = False,
    reporter: ProgressReporter | None = None,
) -> RunOutcome:
    """Score a synthetic cohort against real people, into `out/evaluate/<run_id>/`.

    Where most of the real sites of the synthetic panel's region are in it too (by position and
    alleles, or by column where a panel has no positions), both are cut down to those; otherwise
    only metrics that need no common sites apply, a cohort whose sites all lie outside the real
    region is moved to its start, and both are cut to the region that they share.
    Without training people, metrics that need them don't apply, and the floor is made of the
    real people alone (see `runner.floor`). `jobs`, `fresh` and `reporter` as for `run_suite`.

    Raises
    ------
    BenchError
        If the panels don't fit together: ploidy, too few people, training people among the
        real ones, too few sites in common; unknown metrics.
    """
    out = Path(out)
    reporter = reporter or ProgressReporter()
    suite = _suite(evaluation, registry)
    panels = fit_together(
        evaluation.real,
        evaluation.synthetic,
        evaluation.train,
        evaluation.sites,
        RunContext(seed=evaluation.seed, artifacts=out, scratch=out),
        evaluation.recombination_map,
        evaluation.sequence,
    )
    for remark in panels.remarks:
        reporter.message(remark)
    files = {name: Path(text) for name, text in evaluation.origin.items()}
    digests = {
        f"{name} SHA-256": file_digest(path) for name, path in files.items() if path.is_file()
    }
    origin = {**evaluation.origin, **digests, "sites": "; ".join(panels.remarks)}
    told = replace(panels.prepared.facts, provenance=origin, withdrawn=evaluation.withdrawn)
    panels = replace(panels, prepared=replace(panels.prepared, facts=told))
    source = GivenPanels(suite, registry, panels)
    return drive(source, registry, out, fresh, reporter, LocalExecutor(jobs))


def _suite(evaluation: Evaluation, registry: Registry) -> Suite:
    """The evaluation in the form of a suite, as run.json and records want it."""
    label, dataset, seed = evaluation.label, evaluation.dataset, evaluation.seed
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
    sites, split = evaluation.sites, SplitSettings(seed=seed)
    filters = Filters(min_maf=sites.min_maf, max_missing=sites.max_missing)
    return Suite(
        name=NAME,
        title=f"{label} against {dataset}",
        seeds=(seed,),
        datasets=(DatasetEntry(name="", label=dataset, filters=filters, split=split),),
        generators=(GeneratorEntry(name=label, label=label, seeds=(seed,)),),
        metrics=tuple(entries),
        sample=SampleSettings(),
        floor=FloorSettings(draws=evaluation.floor_draws),
        limits=Limits(),
    )


class GivenPanels:
    """Panels that somebody hands in: three cells at most, and nothing is fitted.

    The floor, the cohort, and where the floor can't be as large as the cohort some of its people
    at a time.
    """

    def __init__(self, suite: Suite, registry: Registry, panels: Panels) -> None:
        self.suite = suite
        self.panels = panels
        self.unseen = [spec.name for spec in registry.metrics.values() if spec.floor == "holdout"]

    def datasets(self, keys: Keys) -> list[DatasetStage]:
        """The one dataset, under the digest of all panels."""
        facts = self.panels.prepared.facts
        return [DatasetStage(self.suite.datasets[0], self.panels.key, told=facts)]

    def cells(self, expected: Mapping[str, float]) -> list[Cell]:
        """The floor first."""
        suite, dataset = self.suite, self.suite.datasets[0]
        entries: list[GeneratorEntry | None] = [None, suite.generators[0]]
        if self.marks:
            entries.append(
                suite.generators[0].model_copy(
                    update={"label": self.marks["cohort"], "role": "subsample"}
                )
            )
        seeds = [0] + [suite.seeds[0]] * 2
        return [
            Cell(dataset, entry, seed, suite.sample)
            for entry, seed in zip(entries, seeds, strict=False)
        ]

    def prepare(self, run: RunState, dataset: DatasetStage) -> None:
        """Store the panels and the cohort as stages."""
        key, cohort = dataset.key, self.panels.cohort
        _store(run, "prepare", key, self.panels.prepared.save)
        _store(run, "sample", key, lambda folder: cohort.save(folder / "draw0"))

    def cohorts(self, run: RunState, cell: Cell, dataset: DatasetStage) -> Cohorts:
        """The floor's draws, the cohort, or some of its people at a time."""
        pool = "all" if self.panels.has_train else "holdout"
        refused = {} if self.panels.has_train else dict.fromkeys(self.unseen, NEEDS_TRAIN)
        draws, people = self.suite.floor.draws, self.floor_people
        if cell.generator is None:
            return replace(floor_cohorts(dataset.facts, draws, people, pool), refused=refused)
        key = self.panels.key
        whole = Cohorts(
            key=key,
            replicates=1,
            source={"kind": "sample", "folder": str(run.store.folder("sample", key).resolve())},
            site_matched=self.panels.site_matched,
            phased=self.panels.cohort.phased,
            refused=refused,
            digests={"draw0": self.panels.cohort.digest},
        )
        if cell.role != "subsample":
            return whole
        return replace(
            whole,
            key=f"{key} {people} {pool}",
            replicates=min(_SUBSAMPLES, draws),
            digests={},
            source={**whole.source, "people": people, "pool": pool},
            refused=dict.fromkeys(self.unseen, FLOOR_OF_UNSEEN) | refused,
        )

    def amend(self, described: dict[str, Any], facts: Mapping[str, PrepareFacts]) -> None:
        """Say whether the sites are common, and how the marks were made."""
        dataset, generator = self.suite.datasets[0].label, self.suite.generators[0].label
        described["generators"][generator]["site_matched"] = self.panels.site_matched
        if self.marks and dataset in described["datasets"]:
            described["datasets"][dataset]["marks"] = self.marks

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
        label = self.suite.generators[0].label
        against = real if self.panels.has_train else real - people
        note = (
            f"marks: {people:,} of the cohort's {cohort:,} people at a time, against {against:,} "
            f"of the {real:,} real ones, as the floor's draws are"
        )
        return {"cohort": f"{label}, {people:,} people at a time", "note": note}


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
