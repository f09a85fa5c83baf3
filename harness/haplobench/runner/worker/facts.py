"""Facts: what the processes of the fit, sample and measure stages hand back to the harness.

Each is a dataclass, written as JSON by the process and read again by `haplobench.files.read_as`;
the prepare stage's are `haplobench.data.prepared.PrepareFacts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

STAGE_FILE = "stage.json"
"""In a stage's output: its facts, with the stage, the store's generation and its threads."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a piece of work cost.

    `wall` and `cpu` seconds; `base_rss`, `peak_rss` bytes resident before it and at most;
    `peak_gpu_memory` bytes, None where no GPU was used.
    """

    wall: float
    cpu: float
    base_rss: int
    peak_rss: int
    peak_gpu_memory: int | None


@dataclass(frozen=True, kw_only=True)
class RankWork(Work):
    """One rank's work; `gpu_*` as `GPUWatch.facts`, `communication` as `Counters.facts`."""

    rank: int
    gpu_utilisation: float | None
    gpu_energy: float | None
    gpu_note: str
    communication: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class FitFacts(Work):
    """All ranks' work together, and each one's; `profile` as `Profile.facts`, None if unasked."""

    ranks: tuple[RankWork, ...]
    profile: Mapping[str, Any] | None = None

    def plain(self) -> dict[str, Any]:
        """As plain values; without a profile where none was asked for."""
        values = asdict(self)
        if self.profile is None:
            del values["profile"]
        return values


@dataclass(frozen=True, kw_only=True)
class DrawFacts(FitFacts):
    """What drawing a cohort cost, and the cohort: `span` in bp, `digest` of its panel."""

    n_haplotypes: int
    n_sites: int
    span: int
    phased: bool
    digest: str


@dataclass(frozen=True)
class SampleFacts:
    """The cohorts that were drawn; none of them in a shadow."""

    draws: tuple[DrawFacts, ...]


@dataclass(frozen=True)
class JoinFacts:
    """The digests of joined cohorts, by their names: `draw0`, … and `train`."""

    digests: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class MeasurementFacts:
    """One number as it goes into a record; `problem` says why its value isn't one."""

    submetric: str
    value: float | None
    n: int | None
    standard_error: float | None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    detectable: float | None = None
    labels: Mapping[str, str]
    note: str
    problem: str


@dataclass(frozen=True, kw_only=True)
class MeasureFacts:
    """One metric of one cohort: `started` ISO 8601, `wall` seconds, `series` whether there are any.

    `generation`: of the store, see `StageStore`.
    """

    generation: int = 0
    metric: str
    started: str
    wall: float
    series: bool
    measurements: tuple[MeasurementFacts, ...]


@dataclass(frozen=True)
class MetricError:
    """Why a metric of one cohort gave nothing, after `wall` seconds."""

    error_type: str
    error: str
    wall: float
