"""From results of stages to records, each written once however often a run is resumed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from haplobench.errors import BenchError
from haplobench.files import digest_of, write_whole
from haplobench.plugin import MetricSpec
from haplobench.registry import Registry
from haplobench.results.provenance import Provenance
from haplobench.results.records import FAILED, FLOOR, Phase, Record, Status
from haplobench.results.run_folder import RunFolder
from haplobench.runner.plan import Cell
from haplobench.runner.worker.job import MeasureFacts
from haplobench.suite.schema import Suite


@dataclass(frozen=True)
class Failure:
    """Why a stage or a metric gave nothing; `status` as in a record."""

    status: Status
    error_type: str
    error: str
    wall: float


def now() -> str:
    """ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def distribution_of(registry: Registry, kind: str, name: str) -> str:
    """Distribution and version that a plugin came from."""
    source = registry.sources.get((kind, name))
    return f"{source.distribution} {source.version}".strip() if source else ""


class Recorder:
    """Makes the records of one cell; what all of them share is given once."""

    def __init__(
        self,
        cell: Cell,
        *,
        suite: Suite,
        run_id: str,
        registry: Registry,
        provenance: Provenance,
        dataset_digest: str,
    ) -> None:
        self.registry = registry
        generator = cell.generator
        name = generator.name if generator else FLOOR
        spec = registry.generators.get(name)
        self.common: dict[str, Any] = {
            "run_id": run_id,
            "suite": suite.name,
            "suite_digest": suite.digest,
            "dataset": cell.dataset.label,
            "dataset_digest": dataset_digest,
            "generator": cell.label,
            "generator_name": name,
            "generator_version": spec.version if spec else "",
            "generator_distribution": distribution_of(registry, "generators", name),
            "role": cell.role,
            "params_digest": digest_of(generator.params if generator else {})[:16],
            "seed": cell.seed,
            "world_size": generator.ranks if generator else 1,
            "cell_id": cell.cell_id,
            "git_sha": provenance.git["sha"],
            "git_dirty": provenance.git["dirty"],
            "lock_digest": provenance.lock_digest,
            "hardware": provenance.fingerprint,
        }

    def cell_failure(self, phase: Phase, failure: Failure, key: str) -> Record:
        """The one record of a cell whose stage gave nothing."""
        cell = {**self.common, "replicate": 0, "run_key": key[:16], "phase": phase}
        return _failure(cell, failure)

    def cell_not_applicable(self, note: str) -> Record:
        """The one record of a cell that this machine can't run."""
        return Record(
            **self.common,
            replicate=0,
            run_key="",
            status="not-applicable",
            phase="fit",
            started=now(),
            note=note,
        )

    def _metric(self, spec: MetricSpec, replicate: int, key: str) -> dict[str, Any]:
        return {
            **self.common,
            "replicate": replicate,
            "run_key": key[:16],
            "phase": "measure",
            "metric": spec.name,
            "metric_version": spec.version,
            "metric_distribution": distribution_of(self.registry, "metrics", spec.name),
            "family": spec.family,
        }

    def not_applicable(self, spec: MetricSpec, replicate: int, note: str) -> Record:
        """A metric that doesn't apply to this cohort, and why."""
        common = self._metric(spec, replicate, "")
        return Record(**common, status="not-applicable", started=now(), note=note)

    def metric_failure(
        self, spec: MetricSpec, replicate: int, failure: Failure, key: str
    ) -> Record:
        """A metric that raised, hung or died."""
        return _failure(self._metric(spec, replicate, key), failure)

    def measurements(
        self, spec: MetricSpec, replicate: int, stored: MeasureFacts, key: str, series: str
    ) -> list[Record]:
        """A record for each measurement that a metric's stored result holds."""
        submetrics = {submetric.name: submetric for submetric in spec.submetrics}
        records = []
        for row in stored.measurements:
            submetric = submetrics[row.submetric]
            family = submetric.family or spec.family
            status: Status = "ok"
            if row.problem:
                status = "failed"
            elif row.value is None:
                status = "not-applicable"
            records.append(
                Record(
                    **self._metric(spec, replicate, key) | {"family": family},
                    status=status,
                    started=stored.started,
                    submetric=submetric.name,
                    labels=row.labels,
                    value=row.value,
                    standard_error=row.standard_error,
                    n=row.n,
                    low=row.low,
                    high=row.high,
                    p=row.p,
                    detectable=row.detectable,
                    unit=submetric.unit,
                    direction=submetric.direction,
                    wall_s=stored.wall,
                    error_type="ValueError" if row.problem else "",
                    error=row.problem,
                    note=row.note,
                    series=series,
                )
            )
        return records


def _failure(common: Mapping[str, Any], failure: Failure) -> Record:
    return Record(
        **common,
        status=failure.status,
        started=now(),
        wall_s=failure.wall,
        error_type=failure.error_type,
        error=failure.error,
    )


Identity = tuple[Any, ...]


class RecordLog:
    """The records of a run: appends what isn't there yet, and remembers failures.

    Nobody else has anything to write there: what somebody did is undone, and `tell` is told.
    """

    def __init__(self, folder: RunFolder, tell: Callable[[str], None] = lambda text: None) -> None:
        self.folder = folder
        self._tell = tell
        self._lock = threading.Lock()
        records = folder.records()
        self._known = {identity(record) for record in records}
        self._failures = {
            (record.cell_id, record.metric, record.replicate, record.run_key): record
            for record in records
            if record.status in FAILED and not record.submetric
        }
        self._bad: dict[str, int] = {}
        for record in records:
            self._count(record)
        path = folder.records_path
        self._content = bytearray(path.read_bytes() if path.is_file() else b"")

    def check(self, *, whole: bool = True) -> None:
        """Have the records as they were written; BenchError if their file has vanished.

        Unless `whole`, only their size is looked at.
        """
        if not self._content:
            return
        path = self.folder.records_path
        try:
            same = path.stat().st_size == len(self._content)
            same = same and (not whole or path.read_bytes() == self._content)
        except FileNotFoundError:
            raise BenchError(
                f"{path}: records that this run wrote are gone: somebody removed the run's folder "
                "meanwhile",
                hint="run the same command again; what is computed is kept",
            ) from None
        if not same:
            write_whole(path, bytes(self._content))
            self._tell(f"warning: {path}: changed by something else than this run; written again")

    def _count(self, record: Record) -> None:
        if record.status in FAILED:
            self._bad[record.cell_id] = self._bad.get(record.cell_id, 0) + 1

    def append(self, records: Iterable[Record]) -> None:
        """Append the records that aren't there yet, as one piece."""
        with self._lock:
            new = [record for record in records if identity(record) not in self._known]
            self.check(whole=False)
            self._content += self.folder.append(new)
            self._known.update(map(identity, new))
            for record in new:
                self._count(record)

    def failure(self, cell: Cell, key: str, metric: str = "", replicate: int = 0) -> Record | None:
        """What a stage or metric of exactly this key has failed with in this run."""
        return self._failures.get((cell.cell_id, metric, replicate, key[:16]))

    def failures(self, cell: Cell) -> int:
        """How many records of a cell say that something failed."""
        with self._lock:
            return self._bad.get(cell.cell_id, 0)


def identity(record: Record) -> Identity:
    """What two records of the same measurement share."""
    return (
        record.cell_id,
        record.replicate,
        record.metric,
        record.submetric,
        tuple(sorted(record.labels.items())),
        record.run_key,
        record.status,
    )
