"""What a plugin author meets: frozen descriptions, parameters, and the protocols to fill."""

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
