"""Performance metrics: what fitting and sampling cost."""

from __future__ import annotations

from haplobench import MetricSpec, hookimpl
from haplobench_performance import specs


@hookimpl
def haplobench_metrics() -> list[MetricSpec]:
    """All performance metrics, in the order of the report."""
    return list(specs.SPECS)
