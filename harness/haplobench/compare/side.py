"""One side of a comparison: which run it is, its values by number, seed and draw, its failures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from haplobench.results.description import SubmetricInfo, machine_text, submetrics_of
from haplobench.results.records import FAILED, FLOOR, Record
from haplobench.results.table import RunTable, labels_of, row_label, why


@dataclass(frozen=True)
class Side:
    """One side of a comparison.

    Attributes
    ----------
    name : str
        As the user named it: a folder, a file, a suite's run, a git reference, a baseline.
    source : str
        Where that was found: a path, or `main:results/baselines/smoke.jsonl`.
    suite, run_id : str
    git_sha : str
        Commit of the code that ran; empty where unknown.
    git_dirty : bool
    hardware : str
        Fingerprint of the machine (16 hex digits).
    started : str
        ISO 8601, UTC; of the earliest record.
    seeds : tuple of int
        Seeds of its generators and controls.
    n_records : int
    machine : str
        The machine in words (`AMD EPYC 7B13, 8 cores`); empty where unknown.
    complete : bool
        False for a run that was interrupted or killed, or is still running.
    """

    name: str
    source: str = ""
    suite: str = ""
    run_id: str = ""
    git_sha: str = ""
    git_dirty: bool = False
    hardware: str = ""
    started: str = ""
    seeds: tuple[int, ...] = ()
    n_records: int = 0
    machine: str = ""
    complete: bool = True


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


@dataclass
class SideData:
    """What one side measured: values by number, seed and draw; and what failed.

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
        (metric, submetric) to `SubmetricInfo`.
    settings : dict or None
        The section `compare` of its suite, where it has one.
    """

    side: Side
    datasets: dict[str, str] = field(default_factory=dict)
    cohorts: dict[tuple[str, str], Cohort] = field(default_factory=dict)
    numbers: dict[Key, Number] = field(default_factory=dict)
    failures: dict[tuple[str, str, str], dict[int, str]] = field(default_factory=dict)
    definitions: dict[tuple[str, str], SubmetricInfo] = field(default_factory=dict)
    settings: Mapping[str, Any] | None = None

    def unmeasured(self) -> list[str]:
        """Generators (`dataset/label`) without any value, nor a reason why there is none."""
        with_values = {(k.dataset, k.generator) for k, n in self.numbers.items() if n.values}
        explained = {(dataset, generator) for dataset, generator, _ in self.failures}
        return ["/".join(place) for place in self.cohorts if place not in with_values | explained]

    def submetric(self, key: Key) -> SubmetricInfo | None:
        """What a number means, as far as this side knows: of its metric, or of its records."""
        known = self.definitions.get((key.metric, key.submetric))
        number = self.numbers.get(key)
        if known is not None or number is None:
            return known
        return SubmetricInfo(
            key.submetric, key.submetric, unit=number.unit, direction=number.direction,
            family=number.family,
        )  # fmt: skip

    def describe(self, info: Mapping[str, Any]) -> None:
        """Add what a run.json says: definitions of the metrics, what can't repeat, the machine."""
        self.definitions = submetrics_of(info)
        generators = info.get("generators") or {}
        for (_, label), cohort in self.cohorts.items():
            plain = label.removesuffix(f" ({cohort.world_size} ranks)")
            cohort.unrepeatable = str((generators.get(plain) or {}).get("unrepeatable") or "")
        self.side = replace(
            self.side,
            complete=(info.get("status") or "complete") == "complete",
            machine=self.side.machine or machine_text(info.get("hardware") or {}),
        )


def gather(table: RunTable, side: Side) -> SideData:
    """One side of a run's records."""
    data = SideData(side)
    seeds: set[int] = set()
    for row in table.records:
        generator = row_label(row.generator, row.world_size)
        place = (row.dataset, generator)
        digest = row.dataset_digest or data.datasets.get(row.dataset, "")
        data.datasets[row.dataset] = digest
        cohort = data.cohorts.setdefault(place, Cohort(row.role))
        cohort.world_size = row.world_size
        cohort.generator = f"{row.generator_name} {row.generator_version}"
        cohort.params = row.params_digest
        cohort.cells[row.seed] = row.cell_id
        cohort.hardware.add(row.hardware)
        if cohort.role != FLOOR:
            seeds.add(row.seed)
        if row.status in FAILED or (not row.metric and row.status == "not-applicable"):
            failed = data.failures.setdefault((*place, row.metric), {})
            failed[row.seed] = _reason(row)
        if not row.metric or (not row.submetric and row.status in FAILED):
            continue
        key = Key(row.dataset, generator, row.metric, row.submetric, labels_of(row))
        number = data.numbers.setdefault(key, Number())
        number.version = row.metric_version
        number.family = row.family
        number.unit = row.unit
        number.direction = row.direction
        if row.status in FAILED:
            continue
        if row.value is None:
            number.note = row.note or "not applicable"
        else:
            number.values.setdefault(row.seed, {})[row.replicate] = float(row.value)
            _mend(data, place, row.metric, row.seed)
    first = table.first
    data.side = replace(
        side,
        suite=side.suite or (first.suite if first else ""),
        run_id=side.run_id or (first.run_id if first else ""),
        git_sha=side.git_sha or (first.git_sha if first else ""),
        git_dirty=side.git_dirty or bool(first and first.git_dirty),
        hardware=side.hardware or (first.hardware if first else ""),
        started=side.started or (first.started if first else ""),
        seeds=side.seeds or tuple(sorted(seeds)),
        n_records=table.n_records,
    )
    return data


def _mend(data: SideData, place: tuple[str, str], metric: str, seed: int) -> None:
    """Another draw's value is proof that a metric doesn't fail for a seed as a whole."""
    failed = data.failures.get((*place, metric))
    if failed is not None:
        failed.pop(seed, None)
        if not failed:
            del data.failures[(*place, metric)]


def _reason(row: Record) -> str:
    """Why a record has no value, as one line."""
    if row.status not in FAILED:
        return row.note or row.status
    where = f"{row.status} in {row.phase}" if row.phase else row.status
    text = ": ".join(part for part in (where, why(row.error_type, row.error) or row.note) if part)
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"


_WIDTH = 160
