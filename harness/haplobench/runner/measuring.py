"""Measure a cell: run the metrics that have no stored result, and go on after one that dies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from haplobench.files import read_json
from haplobench.plugin import GPU, MetricSpec
from haplobench.resolved_suite import MetricEntry, digest_of
from haplobench.results.records import Status
from haplobench.runner.cell import Sampled, Session, StageFailedError, explain_failure, run_job
from haplobench.runner.code import plugin_code
from haplobench.runner.plan import Cell
from haplobench.runner.recording import Failure, Recorder
from haplobench.runner.store import link_or_copy
from haplobench.runner.telemetry import Beat
from haplobench.suite_schema import Limits

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
