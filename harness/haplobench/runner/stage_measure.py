"""The measure stage: metrics of cohorts, each result stored as soon as it is there."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haplobench.errors import PluginError
from haplobench.files import replacing, shortened, write_json
from haplobench.panel import Panel
from haplobench.plugin import (
    Measurement,
    MetricResult,
    MetricSpec,
    PrivacyStatement,
    Reference,
    RunContext,
    Shadow,
    Telemetry,
)
from haplobench.registry import Registry, resolve
from haplobench.runner.failures import describe_error
from haplobench.runner.jobs import Job
from haplobench.runner.prepared import PRIVACY_FILE, TRAIN_COHORT, Prepared, load_sequence
from haplobench.runner.shadowing import shadow_members
from haplobench.runner.telemetry import Heartbeat
from haplobench.split import stratified_sample

_BATCH = 1024
# Characters.
_NOTE = 2_000


def measure(
    job: Job, registry: Registry, ctx: RunContext, prepared: Prepared, heartbeat: Heartbeat
) -> dict[str, Any]:
    """Measure the items of the job's settings.

    Settings: `cohort` and `items`. A cohort is `{"kind": "floor"}`, with `"floor": "holdout"`
    if that is to stand for every metric, or `{"kind": "sample", "folder": …}`, whose draws lie
    in `draw0/` …. An item has `id`, `metric`, `params`, `replicate`, `result` (path of the JSON
    to write; tables go beside it as npz) and for performance metrics `telemetry`.

    A metric that raises costs its own item: why is written to `<id>.error.json` in the output,
    and the others go on.
    """
    items = sorted(job.settings["items"], key=lambda item: item["replicate"])
    cohorts = _Cohorts(job.settings["cohort"], prepared, ctx)
    for i, item in enumerate(items):
        heartbeat.begin(item["id"], i / len(items))
        ctx = replace(ctx, deadline=time.monotonic() + job.time_limit)
        spec = registry.metric(item["metric"])
        started = time.perf_counter()
        try:
            _measure_item(item, spec, cohorts, ctx, job.generation)
        except Exception as error:  # a plugin is someone else's code: it costs its own item only
            failure = describe_error(error)
            problem = {
                "error_type": failure.error_type,
                "error": failure.error,
                "wall": time.perf_counter() - started,
            }
            write_json(Path(job.output) / f"{item['id']}.error.json", problem)
    return {}


def _measure_item(
    item: Mapping[str, Any],
    spec: MetricSpec,
    cohorts: _Cohorts,
    ctx: RunContext,
    generation: int,
) -> None:
    started = datetime.now(UTC)
    reference, cohort = cohorts.of(item["replicate"], spec)
    factory = resolve(spec.target)
    begin = time.perf_counter()
    metric = factory(reference, spec.params.model_validate(item["params"]), ctx)
    if spec.input == "telemetry":
        metric.update(Telemetry(**item["telemetry"]))
    elif spec.input == "panel":
        metric.update(cohort)
    else:
        for batch in _batches(cohort):
            metric.update(batch)
    result = metric.result()
    wall = time.perf_counter() - begin
    path = Path(item["result"])
    rows = checked_measurements(spec, result)
    tables = checked_tables(spec, result)
    if tables:
        with replacing(path.with_suffix(".npz")) as scratch, scratch.open("wb") as handle:
            np.savez_compressed(handle, **tables)  # type: ignore[arg-type]
    write_json(
        path,
        {
            "generation": generation,
            "metric": spec.name,
            "started": started.isoformat(timespec="seconds"),
            "wall": wall,
            "series": bool(tables),
            "measurements": rows,
        },
    )


@dataclass
class _Cohorts:
    """Cohorts by replicate, with the real people each is measured against."""

    source: Mapping[str, Any]
    prepared: Prepared
    ctx: RunContext
    _key: tuple[str, str] | None = None
    _held: tuple[Reference, Panel] | None = None

    def of(self, replicate: int, spec: MetricSpec) -> tuple[Reference, Panel]:
        """Reference and cohort; the last one is kept, since metrics of one cohort follow."""
        kind = self.source.get("floor") or spec.floor if self.source["kind"] == "floor" else ""
        name = f"draw{replicate}"
        if not kind and spec.cohort == "train" and self._has_train_cohort:
            name = TRAIN_COHORT
        if self._key != (name, kind) or self._held is None:
            self._held = None
            self._held = self._make(name, kind, replicate)
            self._key = (name, kind)
        return self._held

    @property
    def _has_train_cohort(self) -> bool:
        """False for a cohort that was handed in: there is no more of it."""
        return (Path(self.source["folder"]) / TRAIN_COHORT).is_dir()

    def _make(self, name: str, kind: str, replicate: int) -> tuple[Reference, Panel]:
        train, holdout = self.prepared.train, self.prepared.holdout
        if not kind:
            return Reference(train, holdout), Panel.load(Path(self.source["folder"]) / name)
        return floor_cohort(train, holdout, kind, replicate, self.ctx.seed)


def floor_cohort(
    train: Panel, holdout: Panel, kind: str, draw: int, seed: int
) -> tuple[Reference, Panel]:
    """Real people as if synthetic, and what they are measured against.

    `train`: training people, as many as are held out (three quarters of them where they are
    few, so that draws differ) and of the same populations, against the held-out ones.
    `holdout`: one half of the held-out people against the other half.
    Halves and samples are drawn anew for each `draw`, stratified by population.
    """
    if kind == "train":
        everyone = np.arange(train.n_samples, dtype=np.int64)
        n = max(1, min(holdout.n_samples, train.n_samples * 3 // 4))
        key = f"floor train {seed} {draw}"
        chosen = stratified_sample(train, everyone, n, key, like=holdout.population)
        return Reference(train, holdout), _unnamed(train.select_samples(chosen))
    everyone = np.arange(holdout.n_samples, dtype=np.int64)
    key = f"floor holdout {seed} {draw}"
    chosen = stratified_sample(holdout, everyone, holdout.n_samples // 2, key)
    others = np.setdiff1d(everyone, chosen)
    reference = Reference(train, holdout.select_samples(others))
    return reference, _unnamed(holdout.select_samples(chosen))


def _unnamed(panel: Panel) -> Panel:
    """The people without their names, as a generator's would come."""
    return panel.with_haplotypes(
        panel.haplotypes, population=panel.population, superpopulation=panel.superpopulation
    )


def _batches(cohort: Panel) -> Iterator[Panel]:
    step = max(1, _BATCH // cohort.ploidy)
    for start in range(0, cohort.n_samples, step):
        yield cohort.select_samples(np.arange(start, min(start + step, cohort.n_samples)))


def metric_context(ctx: RunContext, prepared: Prepared, cohort: Mapping[str, Any]) -> RunContext:
    """The context with what belongs to a generator: bases, claim of privacy, shadows."""
    if cohort["kind"] != "sample":
        return ctx
    folder = Path(cohort["folder"])
    statement = folder / PRIVACY_FILE
    return replace(
        ctx,
        synthetic_sequence=load_sequence(folder / "sequence.npz"),
        privacy_statement=(
            PrivacyStatement.from_json(statement.read_text(encoding="utf-8"))
            if statement.is_file()
            else None
        ),
        shadows=tuple(
            Shadow(*shadow_members(prepared.train, prepared.holdout, i), Path(at) / TRAIN_COHORT)
            for i, at in enumerate(cohort.get("shadows", ()))
        ),
    )


def checked_measurements(spec: MetricSpec, result: object) -> list[dict[str, Any]]:
    """A result's measurements as plain rows, in the order of the spec.

    A value that isn't finite becomes None with a `problem`; a submetric that the metric
    doesn't report becomes a row without a value, and says so.

    Raises PluginError if the result isn't a MetricResult or has numbers the spec doesn't know.
    """
    if not isinstance(result, MetricResult):
        raise PluginError(
            f"metric {spec.name}: result() gave {type(result).__name__}, expected MetricResult"
        )
    known = [submetric.name for submetric in spec.submetrics]
    unknown = [name for name in result.measurements if name not in known]
    if unknown:
        raise PluginError(
            f"metric {spec.name}: result() has {', '.join(unknown)}, which its spec doesn't "
            f"declare (declared: {', '.join(known)})"
        )
    rows: list[dict[str, Any]] = []
    for name in known:
        found = result.measurements.get(name, ())
        given: Sequence[Measurement] = [found] if isinstance(found, Measurement) else list(found)
        if not given:
            given = [Measurement(None, note="the metric did not report it")]
        rows += [_row(spec, name, measurement) for measurement in given]
    return rows


def _row(spec: MetricSpec, submetric: str, measurement: object) -> dict[str, Any]:
    if not isinstance(measurement, Measurement):
        raise PluginError(
            f"metric {spec.name}: {submetric} is {type(measurement).__name__}, expected Measurement"
        )
    value, problem = _number(measurement.value), ""
    if value is not None and not math.isfinite(value):
        value, problem = None, f"metric {spec.name}: {submetric} is {value}, expected a number"
    error = _number(measurement.standard_error)
    return {
        "submetric": submetric,
        "value": value,
        "n": None if measurement.n is None else int(measurement.n),
        "standard_error": error if error is not None and math.isfinite(error) else None,
        "labels": {str(key): str(label) for key, label in measurement.labels.items()},
        "note": shortened(str(measurement.note), _NOTE),
        "problem": problem,
    }


def _number(value: object) -> float | None:
    if value is None:
        return None
    return float(np.asarray(value).item())


def checked_tables(spec: MetricSpec, result: MetricResult) -> dict[str, NDArray[Any]]:
    """A result's series as arrays by `table/column`; PluginError for arrays of objects."""
    tables = {}
    for table, columns in result.series.items():
        for column, values in columns.items():
            array = np.asarray(values)
            if array.dtype.kind not in "biufUS":
                raise PluginError(
                    f"metric {spec.name}: series {table}/{column} has dtype {array.dtype}, "
                    "expected numbers or text"
                )
            tables[f"{table}/{column}"] = array
    return tables
