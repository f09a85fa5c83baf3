"""What a plugin author meets: frozen descriptions, parameters, hooks, and the protocols to fill."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pluggy

from haplobench.plugin.context import (
    GPU,
    Binary,
    MafEdges,
    Module,
    Need,
    Params,
    RunContext,
    SampleRequest,
    Shadow,
)
from haplobench.plugin.generators import (
    Dataset,
    DatasetSpec,
    Explorable,
    Fitted,
    Generator,
    GeneratorSpec,
    LoadedDataset,
    SitesStreamed,
)
from haplobench.plugin.metrics import (
    CohortSeries,
    Direction,
    FigureSpec,
    Measurement,
    Metric,
    MetricResult,
    MetricSpec,
    Reference,
    SubmetricSpec,
    Telemetry,
)
from haplobench.plugin.privacy import (
    PrivacyCharge,
    PrivacyStatement,
    PrivacyTotal,
    compose_claims,
)

__all__ = [
    "GPU", "Binary", "CohortSeries", "Dataset", "DatasetSpec", "Direction", "Explorable",
    "FigureSpec", "Fitted", "Generator", "GeneratorSpec", "LoadedDataset", "MafEdges",
    "Measurement", "Metric", "MetricResult", "MetricSpec", "Module", "Need", "Params",
    "PrivacyCharge", "PrivacyStatement", "PrivacyTotal", "Reference", "RunContext", "SampleRequest",
    "Shadow", "SitesStreamed", "SubmetricSpec", "Telemetry", "compose_claims",
]  # fmt: skip


# --- hooks ------------------------------------------------------------------------------------

PROJECT = "haplobench"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@dataclass(frozen=True)
class StageEvent:
    """A stage of a cell that ended: handed to observers.

    `cell` is the cell's readable name, `stage` prepare, fit, sample or measure, `status`
    ok, cached, failed, timeout, memory or skipped, `wall` seconds of its process. `own`, of fit and
    sample: seconds of these in which the generator was at work, as tables have it; the others go
    into starting Python, loading libraries and reading the panel.
    """

    cell: str
    stage: str
    status: str
    wall: float
    message: str = ""
    own: float | None = None


class Hooks:
    """The hook specifications, one method each."""

    @hookspec
    def haplobench_generators(self) -> Iterable[GeneratorSpec]:  # type: ignore[empty-body]
        """Describe generators."""

    @hookspec
    def haplobench_metrics(self) -> Iterable[MetricSpec]:  # type: ignore[empty-body]
        """Describe metrics."""

    @hookspec
    def haplobench_datasets(self) -> Iterable[DatasetSpec]:  # type: ignore[empty-body]
        """Describe datasets."""

    @hookspec
    def haplobench_stage_finished(self, event: StageEvent) -> None:
        """Observe a stage that ended, in the harness's process.

        One that raises is logged; after three times in a row it is called no more in this run.
        """
