"""A cell: fit and sample its generator, then measure every metric on the cohorts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from haplobench.data.panel import Panel
from haplobench.data.prepared import PrepareFacts
from haplobench.errors import FormatError
from haplobench.files import digest_of, file_name, link_or_copy, read_as
from haplobench.plugin import GPU, MetricSpec, Telemetry
from haplobench.results.notes import note_cost, note_model
from haplobench.results.records import Phase, Status
from haplobench.runner.fingerprints import imported
from haplobench.runner.plan import Cell
from haplobench.runner.record_log import Failure, Recorder
from haplobench.runner.stage import (
    CHANGED,
    RunState,
    StageFailedError,
    StageWork,
    explain_failure,
    run_job,
    stage_lock,
)
from haplobench.runner.worker.cost import Beat, most_gpu_memory
from haplobench.runner.worker.job import DrawFacts, FitFacts, MetricError, SampleFacts
from haplobench.suite.schema import DatasetEntry, MetricEntry


@dataclass
class DatasetStage:
    """A dataset of a run, and where its prepare stage lies once it is done.

    `files` are what it comes from, as far as its plugin says; `failure` is why there is nothing:
    its plugin broke. `parts`: of a genome, the stages of its contigs, `first` of each but the first
    of them the one that it is split as.
    """

    entry: DatasetEntry
    key: str
    folder: Path = Path()
    told: PrepareFacts | None = None
    failure: Failure | None = None
    files: tuple[Path, ...] = ()
    parts: tuple[DatasetStage, ...] = ()
    first: DatasetStage | None = None

    @property
    def all_stages(self) -> tuple[DatasetStage, ...]:
        """Those of a genome's contigs, then its own."""
        return (*self.parts, self)

    @property
    def facts(self) -> PrepareFacts:
        """What the prepare stage handed back; StageFailedError where it gave nothing."""
        if self.failure is not None:
            raise StageFailedError("prepare", self.failure, self.key)
        assert self.told is not None, "not prepared yet"
        return self.told


@dataclass(frozen=True)
class Sampled:
    """What a generator cell has to show: the sample stage's key, and what both stages tell."""

    key: str
    fit: FitFacts
    draws: tuple[DrawFacts, ...]


def fit_and_sample(
    run: RunState,
    cell: Cell,
    dataset: DatasetStage,
    shadow: int | None = None,
) -> Sampled:
    """Fit and sample a generator's cell; or, with `shadow`, one of its shadows.

    Raises StageFailedError; also where this run has seen the same fail already.
    """
    entry = cell.generator
    if entry is None:
        raise ValueError("the floor is not fitted")
    spec = run.registry.generator(entry.name)
    torch = "torch" in imported(spec.target)
    job: dict[str, Any] = {
        "name": entry.name,
        "plugins": run.modules("generators", entry.name),
        "params": dict(entry.params),
        "seed": cell.own_seed,
        "world_size": entry.ranks,
        "backend": entry.backend,
        "torch": torch,
        "gpu": torch or any(isinstance(need, GPU) for need in spec.needs),
    }
    name = cell.name if shadow is None else f"{cell.name}/shadow{shadow}"
    fit_key = run.keys.fit(spec, entry, cell.own_seed, dataset.facts.content, shadow)
    _refuse_known(run, cell, "fit", fit_key)
    settings: dict[str, Any] = {
        "prepared": str(dataset.folder.resolve()),
        "train_share": entry.train_share,
        "torch_profile": entry.torch_profile and shadow is None,
    }
    job["settings"] = settings
    fit = StageWork(run, name, "fit", fit_key, entry.limits, job, FitFacts, shadow).get()
    cohorts = cell.sample.model_dump() | {"train_cohort": _train_cohort(run)}
    if shadow is not None:
        cohorts |= {"draws": 0, "train_cohort": True}
    sample_key = run.keys.sample(fit_key, cohorts)
    _refuse_known(run, cell, "sample", sample_key)
    model = run.store.folder("fit", fit_key) / "model"
    job["settings"] = {**settings, "model": str(model.resolve()), **cohorts}
    work = StageWork(run, name, "sample", sample_key, entry.limits, job, SampleFacts, shadow)
    draws = work.get().draws
    if shadow is None:
        noted = {
            "dataset": cell.dataset.label,
            "generator": cell.label,
            "name": entry.name,
            "seed": cell.seed,
            "world_size": entry.ranks,
        }
        note_model(run.home, cell.name, model, dataset.folder, noted)
        costs = {"draws": [draw.plain() for draw in draws]}
        note_cost(run.folder, cell, fit.plain(), costs, dataset.facts.n_train_haplotypes)
        _show_artifacts(run, cell, "fit", fit_key)
        _show_artifacts(run, cell, "sample", sample_key)
    return Sampled(sample_key, fit, draws)


def fit_shadows(run: RunState, cell: Cell, dataset: DatasetStage) -> tuple[str, ...]:
    """Sample stages' keys of a cell's shadow cohorts: none unless suite and a metric ask for them.

    Raises StageFailedError.
    """
    wanted = any(
        run.registry.metric(entry.name).shadows and not entry.missing for entry in run.suite.metrics
    )
    entry = cell.generator
    if not wanted or entry is None or not run.registry.generator(entry.name).site_matched:
        return ()
    return tuple(
        fit_and_sample(run, cell, dataset, shadow).key for shadow in range(run.suite.shadows)
    )


def _train_cohort(run: RunState) -> bool:
    """Whether a metric of the suite is to be shown a cohort as large as the training panel."""
    metrics = run.suite.metrics
    return any(
        run.registry.metric(entry.name).cohort == "train" and not entry.missing for entry in metrics
    )


def _refuse_known(run: RunState, cell: Cell, stage: Phase, key: str) -> None:
    """Don't repeat, in a resumed run, what has failed in it: the same would happen again."""
    record = run.log.failure(cell, key)
    if record is not None:
        failure = Failure(record.status, record.error_type, record.error, record.wall_s or 0.0)
        run.event(cell.name, stage, record.status, 0.0, f"as before: {record.error}")
        raise StageFailedError(stage, failure, key)


def _show_artifacts(run: RunState, cell: Cell, stage: str, key: str) -> None:
    """Have the files that a plugin left for the user in the run folder too."""
    source = run.store.folder(stage, key) / "artifacts"
    target = run.folder.path / "artifacts" / file_name(cell.name) / stage
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
    stages' keys of shadow cohorts; `no_shadows` says why fitting them failed. `digests` are the
    panels' by `draw0`, … and `train` (the one of the training panel's size); none of real people.
    """

    key: str
    replicates: int
    source: Mapping[str, Any]
    site_matched: bool
    phased: bool
    telemetry: Sequence[Telemetry] = ()
    refused: Mapping[str, str] | None = None
    shadows: Sequence[str] = ()
    no_shadows: Failure | None = None
    digests: Mapping[str, str] = field(default_factory=dict)

    @property
    def folders(self) -> list[Path]:
        """Where they lie; nowhere, where they are real people."""
        shadows = self.source.get("shadows", ())
        return [Path(folder) for folder in (self.source.get("folder"), *shadows) if folder]


@dataclass(frozen=True)
class Item:
    """One metric of one cohort."""

    spec: MetricSpec
    entry: MetricEntry
    replicate: int
    key: str
    telemetry: Telemetry | None

    @property
    def id(self) -> str:
        """For the heartbeat and file names."""
        return f"{self.spec.name}.{self.replicate}"


def floor_cohorts(
    facts: PrepareFacts, draws: int, people: int | None = None, pool: str = ""
) -> Cohorts:
    """The floor's cohorts: real people of a prepared dataset; `people` and `pool` as in `measure`.

    None for `people` draws as many as are held out.
    """
    return Cohorts(
        key=f"floor {people} {pool} {facts.content}",
        replicates=draws,
        source={"kind": "floor", "people": people, "pool": pool},
        site_matched=True,
        phased=facts.phased,
    )


def sampled_cohorts(run: RunState, cell: Cell, sampled: Sampled, site_matched: bool) -> Cohorts:
    """The cohorts that a generator has sampled."""
    folder = run.store.folder("sample", sampled.key).resolve()
    fit, world_size = sampled.fit, cell.generator.ranks if cell.generator else 1
    digests = {f"draw{i}": draw.digest for i, draw in enumerate(sampled.draws)}
    if (folder / "train").is_dir():
        digests["train"] = Panel.load(folder / "train").digest
    return Cohorts(
        key=sampled.key,
        replicates=len(sampled.draws),
        source={"kind": "sample", "folder": str(folder)},
        site_matched=site_matched,
        phased=all(draw.phased for draw in sampled.draws),
        digests=digests,
        telemetry=[
            Telemetry(
                fit_wall=fit.wall,
                fit_cpu=fit.cpu,
                sample_wall=draw.wall,
                sample_cpu=draw.cpu,
                fit_peak_rss=fit.peak_rss,
                sample_peak_rss=draw.peak_rss,
                fit_base_rss=fit.base_rss,
                sample_base_rss=draw.base_rss,
                n_haplotypes=draw.n_haplotypes,
                n_sites=draw.n_sites,
                span=draw.span,
                world_size=world_size,
                fit_ranks=[asdict(rank) for rank in fit.ranks],
                sample_ranks=[asdict(rank) for rank in draw.ranks],
                peak_gpu_memory=most_gpu_memory((fit, draw)),
            )
            for draw in sampled.draws
        ],
    )


def with_shadows(run: RunState, cohorts: Cohorts, shadows: Sequence[str]) -> Cohorts:
    """The cohorts with those of the shadows of the generator that sampled them."""
    folders = [str(run.store.folder("sample", key).resolve()) for key in shadows]
    return replace(cohorts, shadows=shadows, source={**cohorts.source, "shadows": folders})


def measure_cell(
    run: RunState, cell: Cell, dataset: DatasetStage, recorder: Recorder, cohorts: Cohorts
) -> None:
    """Measure every metric of the suite on every cohort of a cell, and write the records.

    A metric that raises, hangs or dies costs its own records only. Raises StageFailedError
    if the stage can't even begin.
    """
    todo = [
        item
        for item in _applicable(run, cell, dataset, recorder, cohorts)
        if not _record_stored(run, cell, recorder, item)
        and run.log.failure(cell, item.key, item.spec.name, item.replicate) is None
    ]
    if not todo:
        run.event(cell.name, "measure", "cached", 0.0)
        return
    # Another harness on the folder would put results of its own in the place of these.
    with stage_lock(run, cell.name, "measure", digest_of([cohorts.key])):
        todo = [item for item in todo if not _record_stored(run, cell, recorder, item)]
        wall = _measure_items(run, cell, dataset, recorder, cohorts, todo)
    failures = run.log.failures(cell)
    status = "failed" if failures else "ok"
    message = f"{failures} measurements failed" if failures else ""
    run.event(cell.name, "measure", status, wall, message)


def _measure_items(
    run: RunState,
    cell: Cell,
    dataset: DatasetStage,
    recorder: Recorder,
    cohorts: Cohorts,
    todo: Sequence[Item],
) -> float:
    """Measure until each item has its record: wall seconds. What hangs or dies isn't repeated."""
    limits = cell.generator.limits if cell.generator else run.suite.limits
    key = digest_of([item.key for item in todo])
    wall, alone = 0.0, False
    while todo:
        with run.store.workspace("measure", key) as work:
            job = _job(run, cell, dataset, cohorts, todo)
            outcome, error, log = run_job(run, cell.name, "measure", work, limits, job, alone=alone)
            wall += outcome.wall
            _vouch(run, dataset, cohorts, todo, outcome.wall)
            left = []
            for item in todo:
                if (raised := _raised(work, item)) is not None:
                    _record_failure(run, recorder, item, raised)
                elif not _record_stored(run, cell, recorder, item):
                    left.append(item)
            culprit = Beat.read(work / "status.json").item
        if not left:
            break
        failure = explain_failure(outcome, error, log, limits)
        if outcome.ending == "ok":
            failure = Failure("failed", "ProcessError", "ended without a result", outcome.wall)
        if not outcome.alone and outcome.ending != "timeout":
            # What the process did for other cells before may have been too much for it.
            todo, alone = left, True
            continue
        guilty = next((item for item in left if item.id == culprit), None)
        if guilty is None:
            run.event(cell.name, "measure", failure.status, wall, failure.error)
            raise StageFailedError("measure", failure, key)
        _record_failure(run, recorder, guilty, failure)
        # What hung or died once would do so again on the cell's other cohorts.
        text = f"not tried again after cohort {guilty.replicate + 1}: {failure.error}"
        again = replace(failure, error=text, wall=0.0)
        for item in left:
            if item.spec.name == guilty.spec.name and item is not guilty:
                _record_failure(run, recorder, item, again)
        todo = [item for item in left if item.spec.name != guilty.spec.name]
    return wall


def _vouch(
    run: RunState, dataset: DatasetStage, cohorts: Cohorts, items: Sequence[Item], wall: float
) -> None:
    """Vouch for results that were just measured.

    Raises StageFailedError, of the type CHANGED, where that of which they are has changed
    meanwhile: they are dropped.
    """
    paths = [run.store.measurement_path(item.key) for item in items]
    for folder in (dataset.folder, *cohorts.folders):
        if trouble := run.isolation.trouble(folder):
            for path in paths:
                path.unlink(missing_ok=True)
            run.executor.retire()
            failure = Failure("failed", CHANGED, f"{folder}: {trouble}", wall)
            raise StageFailedError("measure", failure, "")
    for path in paths:
        if path.is_file():
            run.isolation.seal(path)


def _raised(work: Path, item: Item) -> Failure | None:
    """Why a metric gave nothing, as the measure stage noted it; None if it raised nothing."""
    try:
        raised = read_as(MetricError, work / "output" / f"{item.id}.error.json")
    except (FileNotFoundError, FormatError):
        return None
    status: Status = "memory" if raised.error_type == "MemoryError" else "failed"
    return Failure(status, raised.error_type, raised.error, raised.wall)


def _applicable(
    run: RunState, cell: Cell, dataset: DatasetStage, recorder: Recorder, cohorts: Cohorts
) -> list[Item]:
    """Items to measure; what doesn't apply is recorded with its reason."""
    items = []
    refused = []
    for entry in run.suite.metrics:
        spec = run.registry.metric(entry.name)
        if not _is_of(spec, dataset.entry):
            continue
        why = _why_not(spec, entry, cohorts, phased=dataset.facts.phased)
        if spec.shadows and cohorts.no_shadows is not None and not why:
            failed = cohorts.no_shadows
            run.log.append([recorder.metric_failure(spec, 0, failed, cohorts.key)])
            continue
        for replicate in range(_replicates(spec, cohorts)):
            if why:
                refused.append(recorder.not_applicable(spec, replicate, why))
                continue
            telemetry = cohorts.telemetry[replicate] if spec.input == "telemetry" else None
            key = run.keys.measure(
                spec,
                entry,
                cohort=cohorts.key,
                replicate=replicate,
                seed=cell.seed,
                telemetry=telemetry,
                shadows=cohorts.shadows if spec.shadows else (),
            )
            items.append(Item(spec, entry, replicate, key, telemetry))
    run.log.append(refused)
    return items


def _is_of(spec: MetricSpec, dataset: DatasetEntry) -> bool:
    """Whether a metric is measured on a dataset: on whole genomes or on their contigs."""
    if spec.input == "telemetry" or not (dataset.contig or dataset.contigs):
        return True
    return bool(dataset.contigs) == (spec.contigs == "joined")


def _replicates(spec: MetricSpec, cohorts: Cohorts) -> int:
    """A generator samples one cohort of train's size, however many draws there are."""
    return (
        1 if spec.cohort == "train" and cohorts.source["kind"] == "sample" else cohorts.replicates
    )


def _why_not(spec: MetricSpec, entry: MetricEntry, cohorts: Cohorts, *, phased: bool) -> str:
    """Why a metric doesn't apply to some cohorts; empty where it does."""
    if entry.missing:
        return f"not available: needs {'; '.join(entry.missing)}"
    if spec.input == "telemetry":
        return "" if cohorts.telemetry else NO_TELEMETRY
    if cohorts.refused and spec.name in cohorts.refused:
        return cohorts.refused[spec.name]
    if spec.site_matched and not cohorts.site_matched:
        return SITES_DIFFER
    if spec.phased and not (cohorts.phased and phased):
        return UNPHASED
    if spec.shadows and not cohorts.shadows and cohorts.no_shadows is None:
        return NOT_FITTED if cohorts.source["kind"] == "floor" else NO_SHADOWS
    return ""


def _record_stored(run: RunState, cell: Cell, recorder: Recorder, item: Item) -> bool:
    """Record an item's stored result; False if there is none."""
    path = run.store.measurement_path(item.key)
    try:
        stored = run.store.measurement(item.key)
        if stored is None:
            return False
        if trouble := run.isolation.trouble(path):
            raise FormatError(f"{path}: {trouble}")
        series = ""
        if stored.series:
            target = run.folder.series_path(cell.cell_id, item.replicate, item.spec.name)
            link_or_copy(run.store.measurement_path(item.key).with_suffix(".npz"), target)
            series = str(target.relative_to(run.folder.path))
    except FileNotFoundError:
        return False
    except FormatError as error:
        run.reporter.message(f"{cell.name} measure: {error}; done again")
        return False
    run.log.append(recorder.measurements(item.spec, item.replicate, stored, item.key, series))
    return True


def _record_failure(run: RunState, recorder: Recorder, item: Item, failure: Failure) -> None:
    record = recorder.metric_failure(item.spec, item.replicate, failure, item.key)
    run.log.append([record])


def _job(
    run: RunState, cell: Cell, dataset: DatasetStage, cohorts: Cohorts, items: Sequence[Item]
) -> dict[str, Any]:
    names = dict.fromkeys(item.spec.name for item in items)
    torch = any("torch" in imported(item.spec.target) for item in items)
    return {
        "plugins": run.modules("metrics", *names),
        "seed": cell.seed,
        "torch": torch,
        "gpu": torch or any(isinstance(need, GPU) for item in items for need in item.spec.needs),
        "settings": {
            "prepared": str(dataset.folder.resolve()),
            "cohort": dict(cohorts.source),
            "items": [
                {
                    "id": item.id,
                    "metric": item.spec.name,
                    "params": dict(item.entry.params),
                    "replicate": item.replicate,
                    "result": str(run.store.measurement_path(item.key).resolve()),
                    "telemetry": item.telemetry and asdict(item.telemetry),
                }
                for item in items
            ],
        },
    }
