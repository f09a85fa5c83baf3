"""A genome: what its contigs' cells have left, joined to cohorts of whole people and to records.

Contigs are fitted, sampled and measured as datasets of their own are; their records, logs and
costs lie in the run's folder `contigs`, which is read as a run. Of the genome itself, metrics
of whole people (`MetricSpec.contigs`) are measured on joined panels; other numbers are means over
contigs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haplobench.data.prepared import PrepareFacts
from haplobench.data.relatives import noteworthy
from haplobench.errors import FormatError
from haplobench.files import digest_of, replacing
from haplobench.plugin import Telemetry
from haplobench.results.records import FAILED, Record
from haplobench.results.run_folder import RunFolder
from haplobench.results.table import Labels, labels_of, latest
from haplobench.runner.cell import Cohorts, DatasetStage
from haplobench.runner.describe import ClaimLog
from haplobench.runner.executors.local import UserError
from haplobench.runner.plan import Cell, Keys
from haplobench.runner.record_log import Failure, Recorder, RecordLog
from haplobench.runner.stage import RunState, StageFailedError, StageWork
from haplobench.runner.worker.job import JoinFacts
from haplobench.suite.schema import DatasetEntry

FOLDER = "contigs"
"""In a run's folder: records, description, logs and costs of its genomes' contigs."""


def contigs_run(run: RunState) -> RunState:
    """The run as the cells of contigs see it: contigs for its datasets, and a folder of its own."""
    folder = RunFolder(run.folder.path / FOLDER)
    folder.path.mkdir(exist_ok=True)
    parts = tuple(part for dataset in run.suite.datasets for part in dataset.parts)
    return replace(
        run,
        suite=run.suite.model_copy(update={"datasets": parts}),
        folder=folder,
        log=RecordLog(folder, run.reporter.message),
        claims=ClaimLog(),
    )


def genome_stage(
    entry: DatasetEntry, stages: Mapping[str, DatasetStage], keys: Keys
) -> DatasetStage:
    """A dataset's stage; a genome's with those of its contigs, each but the first on the first."""
    if not entry.contigs:
        return stages[entry.label]
    parts: list[DatasetStage] = []
    for part in entry.parts:
        stage, first = stages[part.label], parts[0] if parts else None
        key = keys.contig(stage.key, first.key if first else "", part.contig)
        parts.append(replace(stage, key=key, first=first))
    files = dict.fromkeys(path for part in parts for path in part.files)
    return DatasetStage(
        entry, keys.join([part.key for part in parts]), files=tuple(files), parts=tuple(parts)
    )


def join_dataset(run: RunState, dataset: DatasetStage) -> None:
    """Have a genome's prepared dataset, of its contigs', which are there; or why there is none.

    Raises UserError for contigs that don't belong together.
    """
    for part in dataset.parts:
        if part.failure is not None:
            error = f"contig {part.entry.contig}: {part.failure.error}"
            dataset.failure = replace(part.failure, error=error)
            return
    folders = [str(part.folder.resolve()) for part in dataset.parts]
    settings = {"contigs": folders, "relatives": dataset.entry.split.relatives}
    label = dataset.entry.label
    try:
        dataset.told = _join(run, label, dataset.key, settings, PrepareFacts)
    except StageFailedError as error:
        if error.user:
            raise UserError(f"dataset {label}: {error.failure.error}") from None
        dataset.failure = error.failure
        return
    tell_relatives(run, dataset)


def tell_relatives(run: RunState, dataset: DatasetStage) -> None:
    """Tell the user of relatives in a prepared dataset, where there is anything to tell."""
    told = dataset.told
    if told and told.relatives and (text := noteworthy(told.relatives)):
        run.reporter.message(f"{dataset.entry.label}: {text}")


def _join(run: RunState, name: str, key: str, settings: Mapping[str, Any], facts: type[Any]) -> Any:
    job = {"plugins": (), "settings": settings}
    return StageWork(run, name, "join", key, run.suite.limits, job, facts).get()


def join_cohorts(
    run: RunState, cell: Cell, dataset: DatasetStage, contigs: Sequence[Cohorts]
) -> Cohorts:
    """The cohorts of a genome's cell, of those of its contigs' cells: person i's of all contigs.

    Shadow cohorts, too, where every contig has as many. Raises StageFailedError.
    """

    def joined(keys: Sequence[str], panels: Sequence[str]) -> tuple[str, dict[str, str]]:
        key = run.keys.join(keys)
        folders = [str(run.store.folder("sample", one).resolve()) for one in keys]
        names = list(dataset.facts.contigs or ())
        settings = {"contigs": folders, "panels": list(panels), "names": names}
        return key, dict(_join(run, cell.name, key, settings, JoinFacts).digests)

    first = contigs[0]
    key, digests = joined([one.key for one in contigs], list(first.digests))
    no_shadows = next((one.no_shadows for one in contigs if one.no_shadows is not None), None)
    shadows: list[str] = []
    if no_shadows is None:
        of_contigs = zip(*(one.shadows for one in contigs), strict=True)
        shadows = [joined(keys, ["train"])[0] for keys in of_contigs]
    folders = [run.store.folder("join", one).resolve() for one in (key, *shadows)]
    run.claims.add(cell, folders[0], folders[1:])
    return replace(
        first,
        key=key,
        source={"kind": "sample", "folder": str(folders[0])}
        | ({"shadows": [str(folder) for folder in folders[1:]]} if shadows else {}),
        site_matched=all(one.site_matched for one in contigs),
        phased=all(one.phased for one in contigs),
        telemetry=[
            whole_cost(draws) for draws in zip(*(one.telemetry for one in contigs), strict=True)
        ],
        shadows=shadows,
        no_shadows=no_shadows,
        digests=digests,
    )


def whole_cost(costs: Sequence[Telemetry]) -> Telemetry:
    """What a genome cost, of what its contigs did: times add up, memory counts at its peak."""
    gpu = [cost.peak_gpu_memory for cost in costs if cost.peak_gpu_memory is not None]
    added = ("fit_wall", "fit_cpu", "sample_wall", "sample_cpu", "n_sites", "span")
    most = ("fit_peak_rss", "sample_peak_rss", "fit_base_rss", "sample_base_rss")
    changes: dict[str, Any] = {name: sum(getattr(cost, name) for cost in costs) for name in added}
    changes |= {name: max(getattr(cost, name) for cost in costs) for name in most}
    for name in ("fit_ranks", "sample_ranks"):
        ranks = zip(*(getattr(cost, name) for cost in costs), strict=True)
        changes[name] = [_whole_rank(several) for several in ranks]
    return replace(costs[0], **changes, peak_gpu_memory=max(gpu, default=None))


def _whole_rank(several: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One rank's work on all contigs: seconds, bytes and counts add up."""
    whole: dict[str, Any] = dict(several[0])
    for name in whole:
        values = [of[name] for of in several if of.get(name) is not None]
        if name in ("rank", "gpu_note") or not values:
            continue
        if isinstance(values[0], Mapping):
            keys = dict.fromkeys(key for value in values for key in value)
            whole[name] = _whole_rank([{key: of.get(key) for key in keys} for of in values])
        elif name.endswith(("rss", "memory")):
            whole[name] = max(values)
        elif name == "gpu_utilisation":
            whole[name] = sum(values) / len(values)
        else:
            whole[name] = sum(values)
    return whole


# --- records --------------------------------------------------------------------------------


class ContigRecords:
    """The records of all cells of contigs that count, found by what they are of."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self._cells: dict[tuple[str, str, int, int], list[Record]] = {}
        for record in latest(folder.records()):
            cell = (record.dataset, record.generator, record.seed, record.world_size)
            self._cells.setdefault(cell, []).append(record)

    def of(self, cell: Cell) -> dict[str, list[Record]]:
        """Records of the cells of a genome's contigs, by contig, as the genome's cell has them."""
        ranks = cell.generator.ranks if cell.generator else 1
        return {
            part.contig: self._cells.get((part.label, cell.label, cell.seed, ranks), [])
            for part in cell.dataset.parts
        }


def refuse_failed(records: Mapping[str, Sequence[Record]]) -> None:
    """Raise StageFailedError, naming the contig, where a contig's cell gave nothing."""
    for contig, several in records.items():
        for record in several:
            if not record.metric and record.status in FAILED:
                error = f"contig {contig}: {record.error}"
                failure = Failure(record.status, record.error_type, error, record.wall_s or 0.0)
                raise StageFailedError(record.phase, failure, record.run_key)


def merge_records(
    run: RunState, cell: Cell, recorder: Recorder, records: Mapping[str, Sequence[Record]]
) -> list[Record]:
    """A genome's records of the metrics that are measured on each contig: means over contigs.

    Evidence of a leak has the least p-value times the number of contigs, the widest interval, and
    the most that any contig's people could show: an attack on one contig finds what it finds there.
    """
    groups: dict[tuple[str, int], dict[str, list[Record]]] = {}
    for contig, several in records.items():
        for record in several:
            if record.metric and run.registry.metric(record.metric).input != "telemetry":
                group = groups.setdefault((record.metric, record.replicate), {})
                group.setdefault(contig, []).append(record)
    merged: list[Record] = []
    for (metric, replicate), group in groups.items():
        key = digest_of({name: [record.run_key for record in of] for name, of in group.items()})
        common = recorder.common | {"run_key": key[:16], "metric": metric, "replicate": replicate}
        failed = [(name, one) for name, of in group.items() for one in of if one.status in FAILED]
        if failed:
            name, record = failed[0]
            error = f"contig {name}: {record.error}"
            merged.append(
                replace(record, **common, submetric="", labels={}, series="", error=error)
            )
            continue
        tables = _tables(run, group)
        series = ""
        if tables:
            path = run.folder.series_path(cell.cell_id, replicate, metric)
            with replacing(path) as scratch, scratch.open("wb") as handle:
                np.savez_compressed(handle, **tables)  # type: ignore[arg-type]
            series = str(path.relative_to(run.folder.path))
        evidence = {one.name for one in run.registry.metric(metric).submetrics if one.evidence}
        numbers: dict[tuple[str, Labels], list[Record]] = {}
        for of in group.values():
            for record in of:
                numbers.setdefault((record.submetric, labels_of(record)), []).append(record)
        if len(numbers) > 1:
            # That it doesn't apply to a contig as a whole says nothing of the others.
            numbers.pop(("", ()), None)
        merged += [
            replace(
                _mean(of, len(records), evidence=submetric in evidence), **common, series=series
            )
            for (submetric, _), of in numbers.items()
        ]
    return merged


def _mean(records: Sequence[Record], n_contigs: int, *, evidence: bool) -> Record:
    """One number of all contigs; of those that have it, which its note then says."""
    given = [record for record in records if record.value is not None]
    if not given:
        return replace(records[0], wall_s=_total(records))

    def known(name: str) -> list[float]:
        values = [getattr(record, name) for record in given]
        return [value for value in values if value is not None]

    whole = len(given) == n_contigs
    notes = dict.fromkeys(record.note for record in records if record.note)
    errors, p = known("standard_error"), known("p")
    count = f"mean of {len(given)} of {n_contigs} contigs"
    return replace(
        given[0],
        value=math.fsum(record.value or 0.0 for record in given) / len(given),
        standard_error=math.hypot(*errors) / len(given) if len(errors) == len(given) else None,
        n=sum(int(n) for n in known("n")) or None,
        low=min(known("low"), default=None) if evidence else None,
        high=max(known("high"), default=None) if evidence else None,
        p=min(1.0, n_contigs * min(p)) if evidence and p else None,
        detectable=max(known("detectable"), default=None) if evidence else None,
        note="; ".join([*([] if whole else [count]), *list(notes)[:1]]),
        wall_s=_total(records),
    )


def _total(records: Iterable[Record]) -> float:
    return math.fsum(record.wall_s or 0.0 for record in records)


def _tables(run: RunState, group: Mapping[str, Sequence[Record]]) -> dict[str, NDArray[Any]]:
    """Means of the contigs' series, where all have the same tables of the same rows; else none.

    Texts and integers must be equal: they say what a row is of.
    """
    folder = run.folder.path / FOLDER
    paths = [next((one.series for one in of if one.series), "") for of in group.values()]
    if not all(paths):
        return {}
    loaded: list[dict[str, NDArray[Any]]] = []
    for path in paths:
        loaded.append(_read(folder / path))
        if loaded[-1].keys() != loaded[0].keys():
            return {}
    tables = {}
    for name, first in loaded[0].items():
        several = [table[name] for table in loaded]
        if any(one.shape != first.shape for one in several):
            return {}
        if all(np.array_equal(one, first) for one in several):
            tables[name] = first
        elif first.dtype.kind == "f":
            tables[name] = np.mean(several, axis=0)
        else:
            return {}
    return tables


def _read(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path) as stored:
            return dict(stored)
    except (OSError, ValueError) as error:
        raise FormatError(f"{path}: can't be read as series: {error}") from None
