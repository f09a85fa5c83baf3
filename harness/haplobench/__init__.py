"""haplobench: the harness in which synthetic human genomes are compared.

Everything a plugin author needs is re-exported here.
"""

from haplobench.errors import BenchError, FormatError, PanelError, PluginError, SuiteError
from haplobench.hookspecs import StageEvent, hookimpl
from haplobench.panel import Panel
from haplobench.plugin import (
    GPU,
    Binary,
    CohortSeries,
    DatasetSpec,
    FigureSpec,
    Fitted,
    Generator,
    GeneratorSpec,
    LoadedDataset,
    Measurement,
    Metric,
    MetricResult,
    MetricSpec,
    Module,
    Params,
    Reference,
    RunContext,
    SampleRequest,
    StreamingMetric,
    SubmetricSpec,
    Telemetry,
)
from haplobench.recombination import RecombinationMap
from haplobench.sequence import ReferenceSequence

__version__ = "0.1.0"

__all__ = [
    "GPU",
    "BenchError",
    "Binary",
    "CohortSeries",
    "DatasetSpec",
    "FigureSpec",
    "Fitted",
    "FormatError",
    "Generator",
    "GeneratorSpec",
    "LoadedDataset",
    "Measurement",
    "Metric",
    "MetricResult",
    "MetricSpec",
    "Module",
    "Panel",
    "PanelError",
    "Params",
    "PluginError",
    "RecombinationMap",
    "Reference",
    "ReferenceSequence",
    "RunContext",
    "SampleRequest",
    "StageEvent",
    "StreamingMetric",
    "SubmetricSpec",
    "SuiteError",
    "Telemetry",
    "__version__",
    "hookimpl",
]
