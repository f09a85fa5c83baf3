"""What a plugin author meets: frozen descriptions, parameters, and the protocols to fill."""

from haplobench.plugin.context import RunContext, SampleRequest, Shadow
from haplobench.plugin.datasets import Dataset, DatasetSpec, LoadedDataset
from haplobench.plugin.exploring import Explorable
from haplobench.plugin.generators import Fitted, Generator, GeneratorSpec
from haplobench.plugin.metrics import (
    CohortSeries,
    Direction,
    Family,
    FigureSpec,
    Measurement,
    Metric,
    MetricResult,
    MetricSpec,
    Reference,
    StreamingMetric,
    SubmetricSpec,
    Telemetry,
)
from haplobench.plugin.needs import GPU, Binary, Module, Need, Params
from haplobench.plugin.privacy import (
    PrivacyCharge,
    PrivacyStatement,
    PrivacyTotal,
    compose_claims,
)

__all__ = [
    "GPU", "Binary", "CohortSeries", "Dataset", "DatasetSpec", "Direction", "Explorable", "Family",
    "FigureSpec", "Fitted", "Generator", "GeneratorSpec", "LoadedDataset", "Measurement", "Metric",
    "MetricResult", "MetricSpec", "Module", "Need", "Params", "PrivacyCharge", "PrivacyStatement",
    "PrivacyTotal", "Reference", "RunContext", "SampleRequest", "Shadow", "StreamingMetric",
    "SubmetricSpec", "Telemetry", "compose_claims",
]  # fmt: skip
