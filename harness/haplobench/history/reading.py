"""Reading a history: many runs' records, folded as they are read, so that memory stays small.

Or all of them written into one Parquet file, for pandas, DuckDB and others.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import islice, pairwise
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from haplobench.errors import BenchError, FormatError
from haplobench.files import parse_json, read_regular
from haplobench.results.description import SubmetricInfo, machine_text, submetrics_of
from haplobench.results.records import FAILED, Record, current_name, read_records
from haplobench.results.run_folder import RECORDS, RunFolder
from haplobench.results.table import labels_of, read_runs

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, order=True)
class SeriesKey:
    """Which number it is, and where it was measured.

    Attributes
    ----------
    suite, dataset, generator, metric, submetric : str
        As in the records. A benchmark's `metric` is `benchmark`, its `submetric` its name, and
        the first three are empty.
    labels : tuple of (str, str)
        As in the records, sorted.
    world_size : int
    hardware : str
        Fingerprint: numbers of different machines are never put on one line. Empty for
        numbers that don't depend on the machine (all but times, throughput and memory).
    version : str
        Of the metric, with the beginning of the dataset's digest: a change of either is a new
        line.
    """

    suite: str
    dataset: str
    generator: str
    metric: str
    submetric: str
    labels: tuple[tuple[str, str], ...] = ()
    world_size: int = 1
    hardware: str = ""
    version: str = ""


class Point(NamedTuple):
    """One run's value: the mean over seeds and draws.

    Attributes
    ----------
    run_id, git_sha : str
    dirty : bool
        Whether the tree held changes that weren't committed.
    started : str
        ISO 8601, UTC: the order of a history.
    value : float
    deviation : float
        Standard deviation over seeds and draws; 0 with one.
    n : int
        Values behind the mean.
    """

    run_id: str
    git_sha: str
    dirty: bool
    started: str
    value: float
    deviation: float = 0.0
    n: int = 1

    @property
    def commit(self) -> str:
        """Nine digits of the commit, with `+` for a dirty tree; the run's id without one."""
        if not self.git_sha:
            return self.run_id
        return self.git_sha[:9] + ("+" if self.dirty else "")


@dataclass(frozen=True)
class Change:
    """From `index` on, the values lie around another level.

    Attributes
    ----------
    index : int
        First point of the new level.
    before, after : float
        Mean of the points between the change before (or the beginning) and this one, and
        between this one and the next (or the end).
    verdict : str
        `better`, `worse` or `changed` (no direction).
    """

    index: int
    before: float
    after: float
    verdict: str


@dataclass(frozen=True)
class Series:
    """One number over time, oldest first.

    Attributes
    ----------
    key : SeriesKey
    points : tuple of Point
    unit, direction : str
    ideal : float or None
        For `closer`.
    min_effect : float
        Changes smaller than this are not marked.
    headline : bool
        Stands in the main table.
    title : str
    changes : tuple of Change
    """

    key: SeriesKey
    points: tuple[Point, ...]
    unit: str = ""
    direction: str = "info"
    ideal: float | None = None
    min_effect: float = 0.0
    headline: bool = True
    title: str = ""
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True)
class History:
    """Series of one or more suites, in the order of their keys.

    Attributes
    ----------
    series : tuple of Series
    machines : dict of str to str
        Hardware fingerprints in words.
    skipped : dict of str to int
        What was left out and how often: torn lines, failed cells, values not applicable.
    """

    series: tuple[Series, ...]
    machines: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)

    @property
    def runs(self) -> list[str]:
        """Run ids, oldest first."""
        seen = {(p.started, p.run_id) for series in self.series for p in series.points}
        return list(dict.fromkeys(run for _, run in sorted(seen)))


# Rows held in memory at a time.
ROWS = 50_000


def write_parquet(records: Iterable[Path], to: Path) -> int:
    """Write the records of files into one Parquet file, whole or not at all; how many.

    Columns are a record's; `labels` is a map of text to text. Torn lines are passed over.

    Raises
    ------
    BenchError
        If pyarrow is missing.
    FormatError
        If a line is JSON but no record.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise BenchError("Parquet needs pyarrow", hint="pip install 'haplobench[report]'") from None
    schema = _schema()
    to.parent.mkdir(parents=True, exist_ok=True)
    scratch = to.with_name(f".{to.name}.{os.getpid()}")
    count = 0
    try:
        with parquet.ParquetWriter(scratch, schema) as writer:
            for rows in _batches(records):
                columns = {name: [getattr(row, name) for row in rows] for name in schema.names}
                columns["labels"] = [list(row.labels.items()) for row in rows]
                writer.write_table(pa.table(columns, schema=schema))
                count += len(rows)
        scratch.replace(to)
    finally:
        with contextlib.suppress(FileNotFoundError):
            scratch.unlink()
    return count


def _schema() -> pa.Schema:
    import pyarrow as pa

    kinds = {"int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}
    kinds["Mapping[str, str]"] = pa.map_(pa.string(), pa.string())
    return pa.schema(
        [
            (column.name, kinds.get(str(column.type).removesuffix(" | None"), pa.string()))
            for column in fields(Record)
        ]
    )


def _batches(records: Iterable[Path]) -> Iterator[list[Record]]:
    rows = (row for path in records for row in read_records(path))
    while batch := list(islice(rows, ROWS)):
        yield batch


# Fewer points hold no level to leave.
LEAST_POINTS = 5
# Of the variance, per logarithm of the number of points, and so for each change that is assumed.
# Yao's criterion (1988, Statistics & Probability Letters 6, 181-189) has 2; among thousands of
# series of pure noise that marks several in a hundred, 6 marks fewer than one (see the tests).
PENALTY = 6.0


def find_changes(
    values: Sequence[float],
    *,
    direction: str = "info",
    ideal: float | None = None,
    min_effect: float = 0.0,
) -> tuple[Change, ...]:
    """Change points of a series: optimal segmentation by least squares with a penalty.

    Exact (Killick, Fearnhead & Eckley 2012, PELT, doi:10.1080/01621459.2012.737745; the
    library is ruptures). The noise is measured on successive differences (median absolute
    deviation), which a change of level hardly moves.

    Parameters
    ----------
    values : sequence of float
        Oldest first.
    direction : str
        `lower`, `higher`, `closer` (to `ideal`) or `info`.
    min_effect : float
        Changes of level smaller than this are left out.
    """
    signal = np.asarray(values, np.float64)
    if len(signal) < LEAST_POINTS or not np.ptp(signal):
        return ()
    ends = _segments(signal)
    # A step back to within `min_effect` is no change: its segments are taken together.
    borders = [0]
    for start, end in pairwise(ends):
        level = signal[borders[-1] : start].mean()
        if abs(signal[start:end].mean() - level) > min_effect:
            borders.append(start)
    borders.append(len(signal))
    levels = [float(signal[a:b].mean()) for a, b in pairwise(borders)]
    return tuple(
        Change(index, before, after, _verdict(before, after, direction, ideal))
        for index, before, after in zip(borders[1:-1], levels[:-1], levels[1:], strict=True)
    )


def _segments(signal: np.ndarray) -> list[int]:
    """Ends of the segments, the last being the number of points."""
    from ruptures import KernelCPD

    steps = np.diff(signal)
    # Of a normal distribution: sigma = 1.4826 MAD, and a difference has twice the variance.
    deviation = 1.4826 * float(np.median(np.abs(steps))) / np.sqrt(2)
    if not deviation:
        # More than half of the steps are exactly 0: every change of the value is a change.
        deviation = 1e-12 * max(float(np.abs(signal).max()), np.finfo(np.float64).tiny)
    # In units of the noise, so that sums of squares neither underflow nor cancel.
    scaled = (signal - np.median(signal)) / deviation
    scaled = np.clip(scaled, -1e6, 1e6)
    search = KernelCPD(kernel="linear", min_size=2)
    return list(search.fit_predict(scaled.reshape(-1, 1), pen=PENALTY * np.log(len(signal))))


def _verdict(before: float, after: float, direction: str, ideal: float | None) -> str:
    if direction == "closer" and ideal is not None:
        before, after = abs(before - ideal), abs(after - ideal)
    elif direction == "higher":
        before, after = -before, -after
    elif direction != "lower":
        return "changed"
    if before == after:
        return "changed"
    return "better" if after < before else "worse"


# What the machine does to these is most of what they say.
MACHINE_FAMILIES = ("performance",)
DIGEST_SHOWN = 8
_LARGEST = 256 << 20


@dataclass
class Collector:
    """Points by series, run by run, so that no more than one run's records are held.

    Feed it with `add_records` and `add_benchmarks`, then take `history()`.
    """

    series: dict[SeriesKey, list[Point]] = field(default_factory=dict)
    started: dict[str, str] = field(default_factory=dict)
    definitions: dict[tuple[str, str], SubmetricInfo] = field(default_factory=dict)
    units: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    machines: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)

    def add_records(self, paths: Sequence[Path]) -> None:
        """Take files of records, each of one run or of many.

        Raises FormatError if a whole line is JSON but no record, or of a newer schema.
        """
        for table in read_runs(paths):
            if table.torn:
                self._skip("torn lines", table.torn)
            self._take(table.records)

    def _take(self, records: Sequence[Record]) -> None:
        """Take the records of a run that count."""
        # Keyed by plain tuples: a run has many more values than numbers.
        values: dict[tuple[Any, ...], dict[int, list[float]]] = {}
        for row in records:
            if row.value is None:
                self._skip("failed" if row.status in FAILED else "values not applicable")
                continue
            key = (
                row.suite, row.dataset, row.generator, row.metric, row.submetric, labels_of(row),
                row.world_size, row.hardware if row.family in MACHINE_FAMILIES else "",
                f"{row.metric_version} {row.dataset_digest[:DIGEST_SHOWN]}".strip(),
            )  # fmt: skip
            values.setdefault(key, {}).setdefault(row.seed, []).append(row.value)
            self.units[row.metric, row.submetric] = (row.unit, row.direction)
        if not values:
            return
        first = records[0]
        started = min(row.started for row in records)
        self.started[first.run_id] = min(started, self.started.get(first.run_id, started))
        for key, seeds in values.items():
            draws = [value for several in seeds.values() for value in several]
            point = Point(
                first.run_id, first.git_sha, first.git_dirty, started,
                fmean(map(fmean, seeds.values())), _deviation(draws), len(draws),
            )  # fmt: skip
            self.series.setdefault(SeriesKey(*key), []).append(point)

    def add_description(self, folder: RunFolder) -> None:
        """Take from a run.json what its metrics' numbers mean, and the machine in words."""
        try:
            info = folder.info()
        except FormatError:
            return  # its numbers stand without titles
        self.definitions |= submetrics_of(info)
        hardware = info.get("hardware") or {}
        machine = machine_text(hardware)
        if hardware.get("fingerprint") and machine:
            self.machines[hardware["fingerprint"]] = machine

    def add_benchmarks(self, path: Path) -> None:
        """Take a file of pytest-benchmark: the median seconds of each benchmark.

        Raises FormatError if it isn't one.
        """
        try:
            self._take_benchmarks(parse_json(read_regular(path, _LARGEST)), path.stem)
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise FormatError(
                f"{path}: not a file of pytest-benchmark ({error})",
                hint="`make benchmarks` writes one",
            ) from None

    def _take_benchmarks(self, content: Any, name: str) -> None:
        benchmarks = content["benchmarks"]
        commit = content.get("commit_info") or {}
        machine = content["machine_info"]
        started = str(content["datetime"])
        cpu = machine.get("cpu") or {}
        brand = cpu.get("brand_raw") or machine.get("machine", "unknown")
        words = f"{brand}, {cpu.get('count')} cores"
        run = f"benchmarks {name}"
        self.started[run] = started
        self.machines[words] = words
        for item in benchmarks:
            test = str(item["fullname"]).rpartition("/")[2]
            self.units["benchmark", test] = ("s", "lower")
            key = SeriesKey("", "", "", "benchmark", test, hardware=words)
            point = Point(
                run, str(commit.get("id") or ""), bool(commit.get("dirty")), started,
                float(item["stats"]["median"]),
            )  # fmt: skip
            self.series.setdefault(key, []).append(point)

    def history(self, *, last: int | None = None) -> History:
        """Everything taken so far, with its change points; of the newest `last` runs only."""
        order = sorted(self.started, key=lambda run: (self.started[run], run))
        if last is not None:
            order = order[-last:]
        place = {run: at for at, run in enumerate(order)}
        series = []
        for key, points in sorted(self.series.items()):
            shown = [point for point in points if point.run_id in place]
            if shown:
                shown.sort(key=lambda point: place[point.run_id])
                series.append(self._series(key, shown))
        return History(tuple(series), dict(self.machines), dict(self.skipped))

    def _series(self, key: SeriesKey, points: Sequence[Point]) -> Series:
        unit, direction = self.units[key.metric, key.submetric]
        known = self.definitions.get((key.metric, key.submetric)) or SubmetricInfo(
            key.submetric,
            key.submetric,
            direction=direction,
            headline=key.metric == "benchmark" or not self.definitions,
        )
        return Series(
            key=key,
            points=tuple(points),
            unit=unit,
            direction=known.direction,
            ideal=known.ideal,
            min_effect=known.min_effect,
            headline=known.headline,
            title=known.title,
            changes=find_changes(
                [point.value for point in points],
                direction=known.direction,
                ideal=known.ideal,
                min_effect=known.min_effect,
            ),
        )

    def _skip(self, reason: str, count: int = 1) -> None:
        self.skipped[reason] = self.skipped.get(reason, 0) + count


def _deviation(values: Sequence[float]) -> float:
    """Standard deviation of values, 0 of one."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def sources_of(texts: Iterable[str], out: Path) -> tuple[list[Path], list[Path]]:
    """Files of records, and of pytest-benchmark, that a user's words mean.

    A word is a suite's name, a folder with runs below it, a run's folder, a `.jsonl` file, or a
    `.json` file of pytest-benchmark (or a folder with such files). No word at all: every run
    under `out`.

    Raises
    ------
    BenchError
        If a word means nothing, or nothing was found.
    """
    words = list(texts)
    records: list[Path] = []
    benchmarks: list[Path] = []
    for word in words or [str(out)]:
        path = Path(word)
        if not path.exists() and (out / word).is_dir():
            path = out / word
        if path.is_file() and path.suffix == ".jsonl":
            records.append(path)
        elif path.is_file() and path.suffix == ".json":
            benchmarks.append(path)
        elif path.is_dir():
            found = _below(path)
            more = sorted(path.rglob("*.json")) if not found else []
            benchmarks += [item for item in more if _is_benchmark(item)]
            records += found
        else:
            raise BenchError(
                f"{word!r} is no suite with runs under {out}, no folder and no file",
                hint="see `bench run`",
            )
    if not records and not benchmarks:
        raise BenchError(
            f"no runs under {', '.join(words) or out}",
            hint="see `bench run`; --out names the folder of results",
        )
    return list(dict.fromkeys(records)), list(dict.fromkeys(benchmarks))


def _below(path: Path) -> list[Path]:
    """Files of records of a run folder, a suite's folder, or a folder of suites."""
    for pattern in (RECORDS, f"*/{RECORDS}", f"*/*/{RECORDS}"):
        if found := sorted(path.glob(pattern)):
            return found
    return sorted(path.glob("*.jsonl"))


def _is_benchmark(path: Path) -> bool:
    with path.open("rb") as stream:
        return b'"machine_info"' in stream.read(4096)


def read_history(
    records: Iterable[Path], benchmarks: Iterable[Path] = (), *, last: int | None = None
) -> History:
    """Read files of records and of pytest-benchmark into one history."""
    collector = Collector()
    paths = list(records)
    collector.add_records(paths)
    for path in paths:
        collector.add_description(RunFolder(path.parent))
    for path in benchmarks:
        collector.add_benchmarks(path)
    return collector.history(last=last)


def select(
    history: History,
    *,
    metrics: Sequence[str] = (),
    generators: Sequence[str] = (),
    datasets: Sequence[str] = (),
    everything: bool = False,
) -> History:
    """Some of the series: by metric (`ld-decay` or `ld-decay/rmse`), generator and dataset.

    Without metrics: those of the main table, of real generators and controls, without labels;
    `everything` keeps all.

    Raises
    ------
    BenchError
        If nothing is left, with the names there are.
    """
    parts = [name.partition("/") for name in metrics]
    wanted = {f"{metric}{slash}{current_name(metric, number)}" for metric, slash, number in parts}
    kept = []
    for series in history.series:
        key = series.key
        if generators and key.generator not in generators:
            continue
        if datasets and key.dataset not in datasets:
            continue
        if metrics and not {key.metric, f"{key.metric}/{key.submetric}"} & wanted:
            continue
        if not (metrics or everything) and (not series.headline or key.labels):
            continue
        kept.append(series)
    if not kept:
        asked = [*metrics, *generators, *datasets]
        names = sorted({f"{s.key.metric}/{s.key.submetric}" for s in history.series})
        raise BenchError(
            f"nothing in {len(history.series)} series fits {', '.join(asked) or 'the main table'}",
            hint=f"metrics: {', '.join(names[:8])}{' …' if len(names) > 8 else ''}",
        )
    return replace(history, series=tuple(kept))
