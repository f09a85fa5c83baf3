"""What one side of a comparison measured: values by number, seed and draw; and what failed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from haplobench.compare.model import Side

BAD = ("failed", "timeout", "memory")
FLOOR = "floor"


@dataclass(frozen=True)
class Key:
    """One number of one generator on one dataset; `labels` are sorted pairs."""

    dataset: str
    generator: str
    metric: str
    submetric: str
    labels: tuple[tuple[str, str], ...] = ()


@dataclass
class Number:
    """The values of a number: by seed, then by draw; `note` says why there are none."""

    version: str = ""
    family: str = ""
    unit: str = ""
    direction: str = "info"
    values: dict[int, dict[int, float]] = field(default_factory=dict)
    note: str = ""


@dataclass
class Cohort:
    """A generator on a dataset: what was asked, by seed, and on which machine it ran.

    `generator` names the plugin's generator and its version, `params` digests its parameters;
    `hardware` holds the fingerprints of all machines that its cells ran on. `unrepeatable` says
    why a second fit with the same seed gives another generator, or is empty.
    """

    role: str = "generator"
    generator: str = ""
    params: str = ""
    world_size: int = 1
    cells: dict[int, str] = field(default_factory=dict)
    hardware: set[str] = field(default_factory=set)
    unrepeatable: str = ""


@dataclass(frozen=True)
class Definition:
    """What a comparison needs to know of a number (see `SubmetricSpec`)."""

    title: str = ""
    unit: str = ""
    direction: str = "info"
    ideal: float | None = None
    min_effect: float = 0.0
    headline: bool = False
    family: str = ""


@dataclass
class Measured:
    """One side, read.

    Attributes
    ----------
    side : Side
    datasets : dict
        Label to digest.
    cohorts : dict
        (dataset, generator) to `Cohort`, in the order of the records. A generator that ran on
        several ranks is called `vae (4 ranks)`.
    numbers : dict
        `Key` to `Number`.
    failures : dict
        (dataset, generator, metric or empty) to why, by seed.
    definitions : dict
        (metric, submetric) to `Definition`.
    settings : dict or None
        The section `compare` of its suite, where it has one.
    """

    side: Side
    datasets: dict[str, str] = field(default_factory=dict)
    cohorts: dict[tuple[str, str], Cohort] = field(default_factory=dict)
    numbers: dict[Key, Number] = field(default_factory=dict)
    failures: dict[tuple[str, str, str], dict[int, str]] = field(default_factory=dict)
    definitions: dict[tuple[str, str], Definition] = field(default_factory=dict)
    settings: Mapping[str, Any] | None = None

    def unmeasured(self) -> list[str]:
        """Generators (`dataset/label`) without any value, nor a reason why there is none."""
        with_values = {(k.dataset, k.generator) for k, n in self.numbers.items() if n.values}
        explained = {(dataset, generator) for dataset, generator, _ in self.failures}
        return ["/".join(place) for place in self.cohorts if place not in with_values | explained]


def gather(rows: Iterable[Mapping[str, Any]], side: Side) -> Measured:
    """Take records in the order in which they were written; a later one replaces an earlier.

    A metric of a cohort that was measured again by other code loses all of its older numbers;
    a value replaces the failure before it, and the other way round.
    """
    measured = Measured(side)
    keys: dict[tuple[Any, ...], str] = {}
    by_metric: dict[tuple[Any, ...], set[Key]] = {}
    seeds: set[int] = set()
    first: Mapping[str, Any] | None = None
    n_records = 0
    for row in rows:
        n_records += 1
        first = first if first is not None else row
        world_size = row.get("world_size") or 1
        generator = row["generator"]
        if world_size > 1:
            generator = f"{generator} ({world_size} ranks)"
        dataset, metric, seed = row["dataset"], row.get("metric") or "", row["seed"]
        place = (dataset, generator)
        measured.datasets[dataset] = row.get("dataset_digest") or measured.datasets.get(dataset, "")
        cohort = measured.cohorts.get(place)
        if cohort is None:
            cohort = measured.cohorts[place] = Cohort(row.get("role") or "generator")
        cohort.world_size = world_size
        cohort.generator = f"{row.get('generator_name', '')} {row.get('generator_version', '')}"
        cohort.params = row.get("params_digest") or ""
        cohort.cells[seed] = row.get("cell_id") or ""
        cohort.hardware.add(row.get("hardware") or "")
        if cohort.role != FLOOR:
            seeds.add(seed)
        status = row.get("status") or "ok"
        where = (*place, metric)
        if not metric:
            if status in BAD:
                measured.failures.setdefault(where, {})[seed] = why(row)
            elif status == "not-applicable":
                measured.failures.setdefault(where, {})[seed] = row.get("note") or status
            continue
        draw = (*where, seed, row.get("replicate") or 0)
        replaces = keys.get(draw, row.get("run_key")) != row.get("run_key")
        keys[draw] = row.get("run_key") or ""
        submetric = row.get("submetric") or ""
        if replaces or not submetric:
            for old in by_metric.pop(draw, ()):
                measured.numbers[old].values.get(seed, {}).pop(draw[-1], None)
        if not submetric and status in BAD:
            measured.failures.setdefault(where, {})[seed] = why(row)
            continue
        labels = tuple(sorted((row.get("labels") or {}).items()))
        key = Key(dataset, generator, metric, submetric, labels)
        number = measured.numbers.get(key)
        if number is None:
            number = measured.numbers[key] = Number()
        number.version = row.get("metric_version") or ""
        number.family = row.get("family") or ""
        number.unit = row.get("unit") or ""
        number.direction = row.get("direction") or "info"
        value = row.get("value")
        if status in BAD:
            measured.failures.setdefault(where, {})[seed] = why(row)
        elif value is None:
            number.note = row.get("note") or "not applicable"
        else:
            number.values.setdefault(seed, {})[draw[-1]] = float(value)
            by_metric.setdefault(draw, set()).add(key)
            _mended(measured, place, metric, seed)
    for number in measured.numbers.values():
        number.values = {seed: draws for seed, draws in number.values.items() if draws}
    measured.side = _described(side, first or {}, seeds, n_records)
    return measured


def _mended(measured: Measured, place: tuple[str, str], metric: str, seed: int) -> None:
    """A value is proof that neither the cell nor the metric fails any more."""
    for where in ((*place, ""), (*place, metric)):
        failed = measured.failures.get(where)
        if failed is not None:
            failed.pop(seed, None)
            if not failed:
                del measured.failures[where]


def _described(side: Side, row: Mapping[str, Any], seeds: set[int], n_records: int) -> Side:
    given = {name: getattr(side, name) for name in Side.__dataclass_fields__}
    for name in ("suite", "run_id", "git_sha", "hardware", "started"):
        given[name] = given[name] or row.get(name) or ""
    given["git_dirty"] = given["git_dirty"] or bool(row.get("git_dirty"))
    given["seeds"] = given["seeds"] or tuple(sorted(seeds))
    given["n_records"] = n_records
    return Side(**given)


def why(row: Mapping[str, Any], width: int = 160) -> str:
    """Why a record has no value, as one line."""
    kind, status = row.get("error_type") or "", row.get("status") or ""
    lines = [line.strip() for line in (row.get("error") or "").splitlines() if line.strip()]
    if lines and lines[0].startswith("Traceback"):
        lines = lines[-1:]
    message = lines[0] if lines else row.get("note") or ""
    if kind and not message.startswith(kind):
        message = f"{kind}: {message}" if message else kind
    text = f"{status} in {row.get('phase')}" if row.get("phase") else status
    text = f"{text}: {message}" if message else text
    return text if len(text) <= width else text[: width - 1] + "…"


def define(entries: Mapping[str, Any]) -> dict[tuple[str, str], Definition]:
    """Definitions of the numbers of all metrics, from the section `metrics` of a run.json."""
    names = Definition.__dataclass_fields__
    return {
        (metric, item["name"]): Definition(
            **{name: item[name] for name in names if item.get(name) is not None},
            family=entry.get("family") or "",
        )
        for metric, entry in entries.items()
        for item in entry.get("submetrics") or ()
    }
