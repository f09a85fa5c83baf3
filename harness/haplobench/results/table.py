"""The table of results: records of a run, the latest of each, as all that show them read them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from haplobench.errors import BenchError
from haplobench.files import has_controls, near_names, parse_json, printable_values
from haplobench.results.description import CohortInfo, MetricInfo, SubmetricInfo, metrics_of
from haplobench.results.records import FLOOR, SUBSAMPLE, Record, parse_line
from haplobench.results.run_folder import RECORDS, RunFolder

Labels = tuple[tuple[str, str], ...]
"""A record's labels (key, value), sorted, so that equal labels are equal."""


def labels_of(record: Record) -> Labels:
    """A record's labels, sorted."""
    return tuple(sorted(record.labels.items())) if record.labels else ()


def role_order(role: str) -> int:
    """Where rows of a role stand in a table: the floor first, then controls, then others."""
    return {FLOOR: 0, "control": 1}.get(role, 2)


def row_label(generator: str, world_size: int) -> str:
    """A generator as a row of the tables: with its ranks where it ran on several."""
    return f"{generator} ({world_size} ranks)" if world_size > 1 else generator


def why(error_type: str, error: str, width: int = 160) -> str:
    """What an error says, as one line: its type and the first line that isn't a traceback's."""
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    if lines and lines[0].startswith("Traceback"):
        lines = lines[-1:]
    message = lines[0] if lines else ""
    if message.endswith(":") and len(lines) > 1:
        message += f" {lines[1]}"
    if error_type and not message.startswith(error_type):
        message = f"{error_type}: {message}" if message else error_type
    return message if len(message) <= width else message[: width - 1] + "…"


@dataclass(frozen=True)
class RunTable:
    """The records of a run that count.

    Attributes
    ----------
    records : list of Record
        The latest of each measurement, see `latest`; their texts can't command a terminal.
    first : Record or None
        The first that was written.
    n_records : int
        How many were, those that later ones replace included.
    torn : int
        Lines that a killed writer left behind.
    """

    records: list[Record]
    first: Record | None = None
    n_records: int = 0
    torn: int = 0

    @classmethod
    def of(cls, records: Sequence[Record], torn: int = 0) -> RunTable:
        """The table of records in the order in which they were written."""
        return cls(latest(records), records[0] if records else None, len(records), torn)


def latest(records: Iterable[Record]) -> list[Record]:
    """Records without those that a later one replaces, in the order in which they were written.

    A measurement made again replaces the one before it. A metric of a cohort that was measured
    again by other code, or that failed or doesn't apply as a whole, loses all of its older
    numbers. A value is proof that its cell no longer fails, a number that its metric doesn't.
    """
    cells: dict[tuple[str, str, int, int], dict[int, tuple[int, Record]]] = {}
    metrics: dict[tuple[Any, ...], dict[tuple[str, Labels], tuple[int, Record]]] = {}
    newest_key: dict[tuple[Any, ...], str] = {}
    for at, record in enumerate(records):
        cell = (record.dataset, record.generator, record.world_size, record.seed)
        if not record.metric:
            cells.setdefault(cell, {})[record.replicate] = (at, record)
            continue
        if record.status == "ok":
            cells.pop(cell, None)
        metric = (*cell, record.replicate, record.metric)
        numbers = metrics.setdefault(metric, {})
        whole = not record.submetric
        if newest_key.get(metric) != record.run_key or (whole and record.status != "ok"):
            numbers.clear()
            newest_key[metric] = record.run_key
        elif not whole:
            numbers.pop(("", ()), None)
        numbers[record.submetric, labels_of(record)] = (at, record)
    rows = [row for group in cells.values() for row in group.values()]
    rows += [row for group in metrics.values() for row in group.values()]
    return [record for _, record in sorted(rows, key=itemgetter(0))]


# --- files of records -----------------------------------------------------------------------

_RUN = re.compile(rb'"run_id": ?"((?:[^"\\]|\\.)*)"')
_Lines = Iterable[tuple[int, bytes]]


@dataclass
class _Span:
    """Neighbouring lines of one run: bytes, and the number of the first line."""

    start: int
    end: int
    line: int


def read(path: Path) -> RunTable:
    """All records of a file as those of one run.

    Raises FormatError, naming file and line, on a line that is JSON but no record, or of a newer
    program's.
    """
    with path.open("rb") as stream:
        return _table(enumerate(stream, 1), path)


def read_run(path: Path, run: str = "") -> RunTable:
    """One run of a file of records.

    Parameters
    ----------
    path : Path
    run : str
        A run's id or its beginning, `-2` for the last but one, or empty for the newest.

    Raises
    ------
    BenchError
        If the file holds no such run.
    FormatError
        As `read`.
    """
    with path.open("rb") as stream:
        spans = _runs_in(stream)
        return _table(_lines(stream, spans[_choose(list(spans), run, path)]), path)


def read_runs(paths: Sequence[Path]) -> Iterator[RunTable]:
    """The runs of files of records one by one, so that no more of them than need be are held.

    A run that lies in several files is one run. Raises FormatError as `read`.
    """
    last: dict[str, tuple[int, int]] = {}
    for at, path in enumerate(paths):
        with path.open("rb") as stream:
            last |= {run: (at, spans[-1].end) for run, spans in _runs_in(stream).items()}
    ends = {place: run for run, place in last.items()}
    held: dict[str, list[Record]] = {}
    torn = 0
    for at, path in enumerate(paths):
        end = 0
        with path.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                end += len(line)
                record = _record(line, path, number)
                if record is not None:
                    held.setdefault(record.run_id, []).append(record)
                elif line.strip():
                    torn += 1
                if (run := ends.get((at, end))) is not None:
                    yield RunTable.of(held.pop(run, []), torn)
                    torn = 0
    yield RunTable.of([record for records in held.values() for record in records], torn)


def _table(lines: _Lines, path: Path) -> RunTable:
    records, torn = [], 0
    for number, line in lines:
        record = _record(line, path, number)
        if record is not None:
            records.append(record)
        elif line.strip():
            torn += 1
    return RunTable.of(records, torn)


def _record(line: bytes, path: Path, number: int) -> Record | None:
    record = parse_line(line, path, number)
    # Only an escape, or what isn't ASCII, can be a control character.
    if record is None or (b"\\" not in line and b"\x7f" not in line and line.isascii()):
        return record
    if not has_controls(line):
        return record
    return replace(record, **printable_values(vars(record)))


def _lines(stream: BinaryIO, spans: Iterable[_Span]) -> _Lines:
    for span in spans:
        stream.seek(span.start)
        number = span.line
        while stream.tell() < span.end:
            yield number, stream.readline()
            number += 1


def _runs_in(stream: BinaryIO) -> dict[str, list[_Span]]:
    """Ids of the runs in a file of records, in their order, and where they lie.

    Looks for the key alone and parses nothing: some hundreds of MB a second.
    """
    runs: dict[bytes, list[_Span]] = {}
    spans: list[_Span] = []
    start = 0
    marker = b""
    for number, line in enumerate(stream, 1):
        end = start + len(line)
        # Neighbouring lines nearly always belong to the same run: then one look is enough.
        if not (marker and line.startswith(marker)):
            match = _RUN.search(line)
            if match is None:
                start = end
                continue
            # Only at a line's beginning is the text sure to be the key and not part of a value.
            marker = line[: match.end()] if match.start() == 1 else b""
            spans = runs.setdefault(match[1], [])
        if spans and spans[-1].end == start:
            spans[-1].end = end
        else:
            spans.append(_Span(start, end, number))
        start = end
    named = {}
    for name, where in runs.items():
        with contextlib.suppress(ValueError):  # torn, or no text at all
            named[str(parse_json(b'"' + name + b'"'))] = where
    return named


def _choose(names: list[str], run: str, path: Path) -> str:
    if not names:
        raise BenchError(f"{path}: no records")
    # Ids begin with the time of their start.
    names = sorted(names)
    if not run:
        return names[-1]
    if re.fullmatch(r"-\d+", run) and 1 <= -int(run) <= len(names):
        return names[int(run)]
    fitting = [name for name in names if name == run] or [n for n in names if n.startswith(run)]
    if len(fitting) != 1:
        listed = ", ".join(fitting[:5] or names[-5:])
        raise BenchError(
            f"{path}: {run!r} fits {len(fitting)} of {len(names)} runs", hint=f"runs: {listed}"
        )
    return fitting[0]


# --- a run: its records and what run.json says of them ---------------------------------------


@dataclass(frozen=True)
class Run:
    """A run as its report needs it.

    Attributes
    ----------
    folder : Path
    info : dict
        run.json as it is.
    datasets : dict
        Label to description, in the order of the suite.
    cohorts : dict
        Label to `CohortInfo`: the floor first, then controls, then generators. Subsamples have
        no row of their own: they decide the marks of the cohort that they were drawn from.
    metrics : dict
        Name to `MetricInfo`: those of run.json, then any that only records name.
    records : list of Record
        See `RunTable`.
    """

    folder: Path
    info: Mapping[str, Any]
    datasets: Mapping[str, Mapping[str, Any]]
    cohorts: Mapping[str, CohortInfo]
    metrics: Mapping[str, MetricInfo]
    records: Sequence[Record]

    def doubt(self, dataset: str, cohort: str) -> str:
        """Why no attack that finds nothing clears a cohort; empty where one may."""
        doubts: Mapping[str, str] = self.datasets.get(dataset, {}).get("cohort_doubts") or {}
        return doubts.get(cohort, "")

    def marks(self, dataset: str, cohort: str) -> Mapping[str, str]:
        """Whose numbers are held against a floor of training people in a cohort's stead.

        Empty for its own; else `cohort`, empty for nobody's, and a `note` that says why.
        """
        info = self.datasets.get(dataset, {})
        marks: Mapping[str, str] | None = (info.get("cohort_marks") or {}).get(cohort)
        return marks or info.get("marks") or {}

    def require(self, generator: str = "", dataset: str = "") -> None:
        """BenchError, with near names, for a row of the tables or a dataset that isn't there."""
        rows = [label for label, cohort in self.cohorts.items() if cohort.role != FLOOR]
        named = (("generator", generator, rows), ("dataset", dataset, list(self.datasets)))
        for what, text, known in named:
            if text and text not in known:
                near = near_names(text, known, lead="") or f"there are {', '.join(known) or 'none'}"
                raise BenchError(f"{self.folder}: no {what} is called {text!r}", hint=near)


def load_run(folder: Path) -> Run:
    """Read a run folder.

    Raises
    ------
    BenchError
        If there is no records.jsonl.
    FormatError
        If it or run.json can't be read, naming file and line.
    """
    path = folder / RECORDS
    if not path.is_file():
        raise BenchError(f"{folder}: no records.jsonl, so no run to report", hint="see `bench run`")
    info = RunFolder(folder).info()
    records = read(path).records
    datasets = dict(info.get("datasets") or {})
    for record in records:
        datasets.setdefault(record.dataset, {})
    return Run(folder, info, datasets, _cohorts(info, records), _metrics(info, records), records)


def _cohorts(info: Mapping[str, Any], records: Sequence[Record]) -> dict[str, CohortInfo]:
    described: dict[str, Mapping[str, Any]] = dict(info.get("generators") or {})
    roles: dict[tuple[str, int], str] = {}
    for record in records:
        roles.setdefault((record.generator, record.world_size), record.role)
    place = {generator: at for at, generator in enumerate(described)}
    rows = sorted(roles, key=lambda row: (place.get(row[0], len(place)), row[1]))
    rows = [row for row in rows if roles[row] != SUBSAMPLE]
    measured = {generator for generator, _ in rows}
    rows += [(generator, 1) for generator in described if generator not in measured]
    cohorts = []
    for generator, world_size in rows:
        entry = described.get(generator) or {}
        told = {key: value for key, value in entry.items() if value is not None}
        told["label"] = row_label(generator, world_size)
        told["role"] = roles.get((generator, world_size)) or told.get("role") or "generator"
        cohorts.append(msgspec.convert(told, CohortInfo))
    cohorts.sort(key=lambda cohort: role_order(cohort.role))
    return {cohort.label: cohort for cohort in cohorts}


def _metrics(info: Mapping[str, Any], records: Sequence[Record]) -> dict[str, MetricInfo]:
    metrics = metrics_of(info)
    known = {(metric.name, item.name) for metric in metrics.values() for item in metric.submetrics}
    for record in records:
        name = (record.metric, record.submetric)
        if not all(name) or name in known:
            continue
        known.add(name)
        metric = metrics.get(record.metric) or MetricInfo(
            name=record.metric,
            family=record.family or "other",
            version=record.metric_version,
            distribution=record.metric_distribution,
        )
        added = SubmetricInfo(
            record.submetric, record.submetric, unit=record.unit, direction=record.direction,
            family=metric.family,
        )  # fmt: skip
        metrics[record.metric] = replace(metric, submetrics=(*metric.submetrics, added))
    return metrics
