"""Reading a history: many runs' records, folded as they are read, so that memory stays small."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import astuple

from haplobench.errors import BenchError, FormatError
from haplobench.files import parse_json, read_regular
from haplobench.history.model import Change, History, Point, Series, SeriesKey
from haplobench.results.records import SCHEMA, check_schema, current_name
from haplobench.results.run_folder import DESCRIPTION, RECORDS, RunFolder

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
# Of `_Line`: the columns that tell one value of a run from another, but for the labels.
KEYS = 10
_LARGEST = 256 << 20


class _Line(msgspec.Struct, gc=False):
    """The columns of a record that a history needs; the others are passed over unparsed.

    The first ten are the key of a run's value, in this order: taken as one slice, since the time
    that a history takes is the time of this loop.
    """

    suite: str = ""
    dataset: str = ""
    generator: str = ""
    metric: str = ""
    submetric: str = ""
    world_size: int = 1
    hardware: str = ""
    metric_version: str = ""
    dataset_digest: str = ""
    run_id: str = ""
    schema: int = 0
    labels: dict[str, str] | None = None
    family: str = ""
    git_sha: str = ""
    git_dirty: bool = False
    status: str = ""
    started: str = ""
    value: float | None = None
    unit: str = ""
    direction: str = "info"


@dataclass
class _Run:
    git_sha: str
    dirty: bool
    started: str


@dataclass
class Collector:
    """Values by series and run.

    Feed it with `add_records` and `add_benchmarks`, then take `history()`.
    """

    keys: dict[tuple[Any, ...], int] = field(default_factory=dict)
    which: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))
    families: dict[str, str] = field(default_factory=dict)
    runs: dict[str, _Run] = field(default_factory=dict)
    definitions: dict[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    units: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    machines: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)

    def add_records(self, path: Path) -> None:
        """Take a file of records, of one run or of many.

        Raises FormatError if a whole line is JSON but no record, or of a newer schema.
        """
        decode, keys = msgspec.json.Decoder(_Line).decode, self.keys
        note, keep = self.which.append, self.values.append
        with path.open("rb") as stream:
            for number, text in enumerate(stream, 1):
                try:
                    line = decode(text)
                except msgspec.ValidationError as error:
                    raise FormatError(f"{path}, line {number}: not a record: {error}") from None
                except msgspec.DecodeError:
                    if text.strip():
                        self._skip("torn lines")
                    continue
                if not 1 <= line.schema <= SCHEMA:
                    check_schema(line.schema, f"{path}, line {number}")
                value = line.value
                if value is None:
                    fine = line.status in ("ok", "not-applicable")
                    self._skip("values not applicable" if fine else "failed")
                    continue
                labels = tuple(sorted(line.labels.items())) if line.labels else ()
                key = (*astuple(line)[:KEYS], labels)
                found = keys.get(key)
                if found is None:
                    found = keys[key] = len(keys)
                    self._meet(line)
                note(found)
                keep(value)

    def _meet(self, line: _Line) -> None:
        """Note what is the same for all values of a metric, and of a run."""
        name = current_name(line.metric, line.submetric)
        self.units[line.metric, name] = (line.unit, line.direction)
        self.families[line.metric] = line.family
        run = self.runs.setdefault(line.run_id, _Run(line.git_sha, line.git_dirty, line.started))
        run.started = min(run.started, line.started)

    def add_description(self, path: Path) -> None:
        """Take from a run.json what its metrics' numbers mean, and the machine in words."""
        try:
            info = RunFolder(path.parent).info()
        except FormatError:
            return  # its numbers stand without titles
        for name, metric in (info.get("metrics") or {}).items():
            for submetric in metric.get("submetrics") or ():
                self.definitions[name, submetric.get("name", "")] = submetric
        hardware = info.get("hardware") or {}
        if hardware.get("fingerprint") and hardware.get("cpu"):
            gpus = "".join(f", {gpu.get('name')}" for gpu in hardware.get("gpus") or ())
            self.machines[hardware["fingerprint"]] = (
                f"{hardware['cpu']}, {hardware.get('cores')} cores{gpus}"
            )

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
        self.runs[run] = _Run(str(commit.get("id") or ""), bool(commit.get("dirty")), started)
        self.machines[words] = words
        for item in benchmarks:
            test = str(item["fullname"]).rpartition("/")[2]
            self.units["benchmark", test] = ("s", "lower")
            self.families["benchmark"] = MACHINE_FAMILIES[0]
            key = ("", "", "", "benchmark", test, 1, words, "", "", run, ())
            self.which.append(self.keys.setdefault(key, len(self.keys)))
            self.values.append(float(item["stats"]["median"]))

    def history(self, *, last: int | None = None) -> History:
        """Everything taken so far, with its change points; of the newest `last` runs only."""
        order = sorted(self.runs, key=lambda run: (self.runs[run].started, run))
        if last is not None:
            order = order[-last:]
        place = {run: index for index, run in enumerate(order)}
        n, means, deviations = self._moments()
        # Keyed by plain tuples: building and hashing 100,000 objects takes a second.
        lines: dict[tuple[Any, ...], list[tuple[int, Point]]] = {}
        for key, index in self.keys.items():
            run = key[KEYS - 1]
            if run in place:
                known = self.runs[run]
                point = Point(
                    run, known.git_sha, known.dirty, known.started,
                    means[index], deviations[index], n[index],
                )  # fmt: skip
                lines.setdefault((*key[: KEYS - 1], key[KEYS]), []).append((place[run], point))
        series: dict[SeriesKey, list[tuple[int, Point]]] = {}
        for raw, line in lines.items():
            series.setdefault(self._key(raw), []).extend(line)
        return History(
            tuple(
                self._series(key, [point for _, point in sorted(line, key=itemgetter(0))])
                for key, line in sorted(series.items())
            ),
            dict(self.machines),
            dict(self.skipped),
        )

    def _key(self, raw: tuple[Any, ...]) -> SeriesKey:
        """A series' key; of the same numbers on several machines, where that doesn't matter."""
        suite, dataset, generator, metric, submetric, world, hardware, version, digest, labels = raw
        if self.families[metric] not in MACHINE_FAMILIES:
            hardware = ""
        what = " ".join(part for part in (version, digest[:DIGEST_SHOWN]) if part)
        submetric = current_name(metric, submetric)
        return SeriesKey(
            suite, dataset, generator, metric, submetric, labels, world, hardware, what
        )

    def _moments(self) -> tuple[list[int], list[float], list[float]]:
        """How many values each key has, their mean and standard deviation."""
        which, values = np.asarray(self.which), np.asarray(self.values)
        n = np.bincount(which)
        means = np.bincount(which, values) / n
        squares = np.bincount(which, (values - means[which]) ** 2)
        return n.tolist(), means.tolist(), np.sqrt(squares / np.maximum(n - 1, 1)).tolist()

    def _series(self, key: SeriesKey, points: Sequence[Point]) -> Series:
        unit, direction = self.units[key.metric, key.submetric]
        known = self.definitions.get((key.metric, key.submetric), {})
        ideal, least = known.get("ideal"), float(known.get("min_effect") or 0.0)
        direction = str(known.get("direction") or direction)
        return Series(
            key=key,
            points=tuple(points),
            unit=unit,
            direction=direction,
            ideal=ideal,
            min_effect=least,
            headline=bool(known.get("headline", key.metric == "benchmark" or not self.definitions)),
            title=str(known.get("title") or key.submetric),
            changes=find_changes(
                [point.value for point in points],
                direction=direction,
                ideal=ideal,
                min_effect=least,
            ),
        )

    def _skip(self, why: str) -> None:
        self.skipped[why] = self.skipped.get(why, 0) + 1


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
    for path in records:
        collector.add_records(path)
        collector.add_description(path.parent / DESCRIPTION)
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
