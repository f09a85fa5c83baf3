"""The measure stage: metrics of cohorts, each result stored as soon as it is there."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haplobench.data.panel import Panel
from haplobench.data.prepared import (
    PATH_STEPS,
    PATHS,
    PRIVACY_FILE,
    TRAIN_COHORT,
    Prepared,
    load_sequence,
)
from haplobench.errors import PluginError, shortened
from haplobench.files import replacing, write_json
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
from haplobench.plugin.metrics import apply_metric
from haplobench.registry import Registry, resolve
from haplobench.runner.floor import dealt_cohort, floor_cohort, subsample
from haplobench.runner.worker.cost import Heartbeat
from haplobench.runner.worker.job import (
    Job,
    MeasureFacts,
    MeasurementFacts,
    MetricError,
    describe_error,
)
from haplobench.runner.worker.prepare import shadow_members

# Characters.
_NOTE = 2_000


def measure(
    job: Job, registry: Registry, ctx: RunContext, prepared: Prepared, heartbeat: Heartbeat
) -> None:
    """Measure the items of the job's settings.

    Settings: `cohort` and `items`. A cohort is `{"kind": "floor"}` or `{"kind": "sample",
    "folder": …}`, whose draws lie in `draw0/` …. Of a floor, `people` says how many (None: as
    many as are held out) and `pool` of whom metrics with `floor="train"` draw them: empty for
    the training people, `all` or `holdout` for everybody or the held-out ones dealt anew. A
    sample with `people` is that many of `draw0/` at a time; with `pool` `holdout` it is held
    against as many as a floor of that pool is. An item has `id`, `metric`, `params`,
    `replicate`, `result` (path of the JSON to write; tables go beside it as npz) and for
    performance metrics `telemetry`.

    A metric that raises costs its own item: why is written to `<id>.error.json` in the output,
    and the others go on.
    """
    items = sorted(
        job.settings["items"],
        key=lambda item: (registry.metric(item["metric"]).sites, item["replicate"]),
    )
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
            wall = time.perf_counter() - started
            problem = MetricError(failure.error_type, failure.error, wall)
            write_json(Path(job.output) / f"{item['id']}.error.json", asdict(problem))


def _measure_item(
    item: Mapping[str, Any],
    spec: MetricSpec,
    cohorts: _Cohorts,
    ctx: RunContext,
    generation: int,
) -> None:
    started = datetime.now(UTC)
    reference, cohort = cohorts.of(item["replicate"], spec)
    target = resolve(spec.target)
    params = spec.params.model_validate(item["params"])
    shown = Telemetry(**item["telemetry"]) if spec.input == "telemetry" else cohort
    begin = time.perf_counter()
    result = apply_metric(spec, target, reference, shown, params, ctx)
    wall = time.perf_counter() - begin
    path = Path(item["result"])
    rows = checked_measurements(spec, result)
    tables = checked_tables(spec, result)
    if tables:
        with replacing(path.with_suffix(".npz")) as scratch, scratch.open("wb") as handle:
            np.savez_compressed(handle, **tables)  # type: ignore[arg-type]
    facts = MeasureFacts(
        generation=generation,
        metric=spec.name,
        started=started.isoformat(timespec="seconds"),
        wall=wall,
        series=bool(tables),
        measurements=tuple(rows),
    )
    write_json(path, asdict(facts))


@dataclass
class _Cohorts:
    """Cohorts by replicate, with the real people each is measured against."""

    source: Mapping[str, Any]
    prepared: Prepared
    ctx: RunContext
    _key: tuple[str, str, int | None, bool] | None = None
    _held: tuple[Reference, Panel] | None = None
    _loaded: tuple[tuple[str, bool], Panel] | None = None

    def of(self, replicate: int, spec: MetricSpec) -> tuple[Reference, Panel]:
        """Reference and cohort; the last one is kept, since metrics of one cohort follow."""
        kind = spec.floor if self.source["kind"] == "floor" else ""
        people = self.source.get("people")
        name = f"draw{replicate}"
        if spec.cohort == "train" and not self.source.get("pool"):
            # Shown cohorts as large as train, whatever the size of a draw.
            people = None
            if not kind and self._has_train_cohort:
                name = TRAIN_COHORT
        everywhere = spec.sites == "all" or bool(self.prepared.common.all())
        key = (name, kind, people, everywhere)
        if self._key != key or self._held is None:
            self._held = None
            self._held = self._make(*key, replicate)
            self._key = key
        return self._held

    @cached_property
    def _common(self) -> tuple[Panel, Panel]:
        """Training and held-out people at the sites of the MAF filter."""
        common = self.prepared.common
        return self.prepared.train.select_sites(common), self.prepared.holdout.select_sites(common)

    def _load(self, name: str, everywhere: bool) -> Panel:
        """A cohort's draw; one that has sites of its own comes with those that are compared.

        The last one is kept, of which some people at a time are taken.
        """
        if self._loaded is None or self._loaded[0] != (name, everywhere):
            cohort = Panel.load(Path(self.source["folder"]) / name)
            if not everywhere and cohort.same_sites(self.prepared.train):
                cohort = cohort.select_sites(self.prepared.common)
            self._loaded = (name, everywhere), cohort
        return self._loaded[1]

    @property
    def _has_train_cohort(self) -> bool:
        """False for a cohort that was handed in: there is no more of it."""
        return (Path(self.source["folder"]) / TRAIN_COHORT).is_dir()

    def _make(
        self, name: str, kind: str, people: int | None, everywhere: bool, replicate: int
    ) -> tuple[Reference, Panel]:
        everybody = (self.prepared.train, self.prepared.holdout)
        train, holdout = everybody if everywhere else self._common
        pool, seed = self.source.get("pool", ""), self.ctx.seed
        if kind == "train" and pool and people is not None:
            trained = train if pool == "all" else None
            return dealt_cohort(trained, holdout, people, replicate, seed)
        if kind:
            return floor_cohort(train, holdout, kind, replicate, seed, people)
        if people is None:
            return Reference(train, holdout), self._load(name, everywhere)
        cohort = self._load("draw0", everywhere)
        reference = Reference(train, holdout)
        if pool == "holdout":
            reference, _ = dealt_cohort(None, holdout, people, replicate, seed)
        return reference, subsample(cohort, people, replicate, seed)


def metric_context(ctx: RunContext, prepared: Prepared, cohort: Mapping[str, Any]) -> RunContext:
    """The context with what belongs to a generator: bases, claim of privacy, shadows, paths."""
    if cohort["kind"] != "sample":
        return ctx
    folder = Path(cohort["folder"])
    statement = folder / PRIVACY_FILE
    paths: tuple[Panel, ...] = ()
    if (folder / PATHS).is_dir():
        steps = Panel.load(folder / PATHS)
        each = np.arange(steps.n_samples).reshape(-1, PATH_STEPS)
        paths = tuple(steps.select_samples(path) for path in each)
    return replace(
        ctx,
        paths=paths,
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


def checked_measurements(spec: MetricSpec, result: object) -> list[MeasurementFacts]:
    """A result's measurements, in the order of the spec.

    A value that isn't finite becomes None with a `problem`; a submetric that the metric
    doesn't report becomes a row without a value, and says so.

    Raises PluginError if the result isn't a MetricResult or has numbers the spec doesn't know.
    """
    if not isinstance(result, MetricResult):
        raise PluginError(
            f"metric {spec.name}: gave {type(result).__name__}, expected MetricResult"
        )
    known = [submetric.name for submetric in spec.submetrics]
    unknown = [name for name in result.measurements if name not in known]
    if unknown:
        raise PluginError(
            f"metric {spec.name}: the result has {', '.join(unknown)}, which its spec doesn't "
            f"declare (declared: {', '.join(known)})"
        )
    rows: list[MeasurementFacts] = []
    for name in known:
        reported = result.measurements.get(name, ())
        given = [reported] if isinstance(reported, Measurement) else list(reported)
        if not given:
            given = [Measurement(None, note="the metric did not report it")]
        rows += [_row(spec, name, measurement) for measurement in given]
    return rows


def _row(spec: MetricSpec, submetric: str, measurement: object) -> MeasurementFacts:
    if not isinstance(measurement, Measurement):
        raise PluginError(
            f"metric {spec.name}: {submetric} is {type(measurement).__name__}, expected Measurement"
        )
    value, problem = _number(measurement.value), ""
    if value is not None and not math.isfinite(value):
        value, problem = None, f"metric {spec.name}: {submetric} is {value}, expected a number"
    return MeasurementFacts(
        submetric=submetric,
        value=value,
        n=None if measurement.n is None else int(measurement.n),
        standard_error=_finite(measurement.standard_error),
        low=_finite(measurement.low),
        high=_finite(measurement.high),
        p=_finite(measurement.p),
        detectable=_finite(measurement.detectable),
        labels={str(key): str(label) for key, label in measurement.labels.items()},
        note=shortened(str(measurement.note), _NOTE),
        problem=problem,
    )


def _finite(value: object) -> float | None:
    number = _number(value)
    return number if number is not None and math.isfinite(number) else None


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
