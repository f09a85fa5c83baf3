"""haplobench: the harness in which synthetic human genomes are compared.

Everything a plugin author needs is re-exported here, and what a notebook calls: `read_panel`,
`evaluate` and `load_run`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from haplobench.api import evaluate, load_run, read_panel
    from haplobench.data.genome import RecombinationMap, ReferenceSequence
    from haplobench.data.panel import Panel
    from haplobench.data.populations import Populations
    from haplobench.errors import BenchError, FormatError, PanelError, PluginError, SuiteError
    from haplobench.plugin import (
        GPU,
        Binary,
        CohortSeries,
        DatasetSpec,
        Explorable,
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
        PrivacyCharge,
        PrivacyStatement,
        PrivacyTotal,
        Reference,
        RunContext,
        SampleRequest,
        Shadow,
        SitesStreamed,
        StageEvent,
        SubmetricSpec,
        Telemetry,
        compose_claims,
        hookimpl,
    )
    from haplobench.report.notebook import Result

__version__ = "0.1.0"

# Loaded when asked for, so that a program that only prints its help loads no numpy. What is named
# nowhere here is of `haplobench.plugin`.
_HOMES = {
    "haplobench.api": ("evaluate", "load_run", "read_panel"),
    "haplobench.report.notebook": ("Result",),
    "haplobench.errors": ("BenchError", "FormatError", "PanelError", "PluginError", "SuiteError"),
    "haplobench.data.panel": ("Panel",),
    "haplobench.data.populations": ("Populations",),
    "haplobench.data.genome": ("RecombinationMap", "ReferenceSequence"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "GPU",
    "BenchError",
    "Binary",
    "CohortSeries",
    "DatasetSpec",
    "Explorable",
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
    "Populations",
    "PrivacyCharge",
    "PrivacyStatement",
    "PrivacyTotal",
    "RecombinationMap",
    "Reference",
    "ReferenceSequence",
    "Result",
    "RunContext",
    "SampleRequest",
    "Shadow",
    "SitesStreamed",
    "StageEvent",
    "SubmetricSpec",
    "SuiteError",
    "Telemetry",
    "__version__",
    "compose_claims",
    "evaluate",
    "hookimpl",
    "load_run",
    "read_panel",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOME_OF.get(name, "haplobench.plugin")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
