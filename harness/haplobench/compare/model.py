"""What a comparison of two runs holds: its sides, and a row per number that either side has.

Everything that shows a comparison (terminal, Markdown, HTML, exchange formats) reads these and
nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, get_args

from haplobench.compare.side import Side

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
        `borrowed` (fewer than five seeds on a side: see `haplobench.compare.noise`), `ranks`
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
