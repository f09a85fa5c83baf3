"""What a history is made of: points in time of one number, on one kind of machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


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
