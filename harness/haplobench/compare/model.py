"""What a comparison of two runs holds: its sides, and a row per number that either side has.

Everything that shows a comparison (terminal, Markdown, HTML, exchange formats) reads these and
nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, get_args

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


Status = Literal[
    "failed", "regressed", "missing", "can't tell", "incomparable", "new", "improved", "unchanged"
]  # fmt: skip
TOLD: tuple[Status, ...] = ("regressed", "improved", "unchanged")
"""Statuses that say how the two values compare."""
STATUSES: tuple[Status, ...] = get_args(Status)
"""All statuses, in the order in which they are shown: what needs attention first."""

Test = Literal["", "identical", "paired", "two-sample", "borrowed", "ranks"]
"""How a difference was tested, see `Tested.test`."""


@dataclass(frozen=True, kw_only=True)
class Tested:
    """The two values of a number, and what a test says of their difference.

    Attributes
    ----------
    base, head : float or None
        Mean over seeds of the means over each seed's draws; for times and rates the median.
    base_n, head_n : int
        Seeds that gave a value; for times and rates, repeats.
    difference : float or None
        `head` less `base`; for `closer`, head's distance from the ideal less base's. Over the
        pairs of seeds where they are paired.
    relative : float or None
        `difference` over |base| (over base's distance from the ideal, for `closer`); None
        where that is 0.
    low, high : float or None
        Interval of `difference` at the confidence of `Comparison.confidence`; None where there
        is no estimate of its noise.
    p_value : float or None
        Two-sided.
    n_pairs : int
        Pairs of seeds; 0 where the sides share no seed.
    test : str
        `identical` (every value the same), `paired` (by seed), `two-sample` (other seeds),
        `borrowed` (fewer than five seeds on a side: see `haplobench.compare.statistics`), `ranks`
        (times: Mann-Whitney), or empty: not tested.
    standard_error : float or None
        Of `difference`; for times, of the logarithm of their ratio.
    freedom : float
        Its degrees of freedom.
    """

    base: float | None = None
    head: float | None = None
    base_n: int = 0
    head_n: int = 0
    difference: float | None = None
    relative: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    n_pairs: int = 0
    test: Test = ""
    standard_error: float | None = None
    freedom: float = 0.0


@dataclass(frozen=True)
class Row(Tested):
    """One number of one generator on one dataset, on both sides.

    A generator, or a metric of it, that failed or is on one side only is one row, with the
    fields that it has no number for left empty.

    Attributes
    ----------
    dataset, generator : str
        Labels in the suite; `generator` says `vae (4 ranks)` where it ran on several ranks.
    role : str
        `generator`, `control` or `floor`.
    metric, submetric : str
        Both empty in a row about a whole generator, `submetric` in one about a whole metric.
    family : str
    labels : dict
        Tells apart several values of one submetric, for example by superpopulation.
    title : str
        Title of the number for tables, with its label values: `r² by distance, RMSE (EUR)`.
    unit : str
    direction : str
        `lower`, `higher`, `closer` (to `ideal`) or `info`.
    ideal : float or None
    q_value : float or None
        `p_value` adjusted for the number of rows tested beside it (gated and others apart, times
        and other numbers apart); None where the row wasn't tested.
    detectable : float or None
        The difference that four in five such comparisons would call changed, as `min_effect` is
        given; None where the row wasn't tested.
    min_effect : float
        Differences up to this are never called anything but unchanged; in the number's unit,
        or, where `relative_threshold`, a ratio (0.15: 15 %).
    relative_threshold : bool
    gated : bool
        Whether a regression here fails the comparison.
    status : str
    reason : str
        One line: why it failed, is missing, can't be told or compared; what weakens the test.
    headline : bool
        Shown in a run's main table.
    """

    dataset: str
    generator: str
    status: Status
    role: str = "generator"
    metric: str = ""
    submetric: str = ""
    family: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    title: str = ""
    unit: str = ""
    direction: str = "info"
    ideal: float | None = None
    q_value: float | None = None
    detectable: float | None = None
    min_effect: float = 0.0
    relative_threshold: bool = False
    gated: bool = False
    reason: str = ""
    headline: bool = False

    @property
    def worsening(self) -> float | None:
        """How much worse head is, in the number's unit: positive is worse; None for `info`."""
        if self.difference is None or self.direction == "info":
            return None
        return -self.difference if self.direction == "higher" else self.difference

    @property
    def key(self) -> str:
        """Stable name of the row for exchange formats: `chr20/vae/ld-decay/rmse/maf=0.05-0.1`."""
        labels = [f"{name}={value}" for name, value in sorted(self.labels.items())]
        parts = [self.dataset, self.generator, self.metric, self.submetric, *labels]
        return "/".join(part for part in parts if part)

    @property
    def fails(self) -> bool:
        """Whether this row alone makes the comparison fail: gated, and worse, failed or gone."""
        return self.gated and self.status in ("regressed", "failed", "missing")


@dataclass(frozen=True)
class Comparison:
    """Two runs, compared.

    Attributes
    ----------
    base, head : Side
    rows : tuple of Row
        In the order datasets, generators, metrics; floor and controls before generators.
    confidence : float
        Of the intervals of the rows, for example 0.95.
    alpha : float
        Level of the multiple-testing control: a row counts as changed if its `q_value` is no
        greater.
    correction : str
        Its name for readers, for example `Holm over 84 gated numbers`.
    warnings : tuple of str
        One line each: what a reader should know of the sides (other suites, a dirty tree, …).
    allow_missing : bool
        Whether it is fine that head lacks what base has, or was interrupted.
    """

    base: Side
    head: Side
    rows: tuple[Row, ...]
    confidence: float = 0.95
    alpha: float = 0.02
    correction: str = ""
    warnings: tuple[str, ...] = ()
    allow_missing: bool = False

    @cached_property
    def counts(self) -> Mapping[Status, int]:
        """How many rows have each status, all statuses named."""
        found = dict.fromkeys(STATUSES, 0)
        for row in self.rows:
            found[row.status] += 1
        return found

    @cached_property
    def failing(self) -> tuple[Row, ...]:
        """The rows that make the comparison fail."""
        return tuple(row for row in self.rows if row.fails)

    @property
    def interrupted(self) -> bool:
        """Whether head is an unfinished run, and that isn't allowed."""
        return not (self.head.complete or self.allow_missing)

    @property
    def changed(self) -> tuple[Row, ...]:
        """All rows but the unchanged, those that need attention first."""
        rows = [row for row in self.rows if row.status != "unchanged"]
        return tuple(sorted(rows, key=lambda row: (not row.fails, STATUSES.index(row.status))))

    @cached_property
    def powerless(self) -> tuple[tuple[str, str, str], ...]:
        """Datasets, generators and families of whose gated numbers not one could be told.

        Identical values don't count: that nobody is a copy on either side is no test of anything.
        Nor do times, which want more repeats than numbers want seeds.
        """
        places: dict[tuple[str, str, str], set[Status]] = {}
        for row in self.rows:
            if row.gated and not row.relative_threshold and row.test != "identical":
                place = (row.dataset, row.generator, row.family)
                places.setdefault(place, set()).add(row.status)
        return tuple(
            place
            for place, found in places.items()
            if "can't tell" in found and not found.intersection(TOLD)
        )

    @property
    def exit_code(self) -> int:
        """0 fine; 1 where a gated number regressed, failed or is gone, or head isn't complete; 3
        where nothing could be compared, or nothing of a generator's family could have been found.
        """
        if self.failing or self.interrupted:
            return 1
        if self.powerless:
            return 3
        return 0 if any(row.status in TOLD for row in self.rows) else 3
