"""Privacy metrics: how much of its training people a synthetic cohort gives away."""

from __future__ import annotations

from haplobench import MetricSpec, hookimpl
from haplobench_privacy import specs


@hookimpl
def haplobench_metrics() -> list[MetricSpec]:
    """All privacy metrics, in the order of the report."""
    return list(specs.SPECS)
