"""Privacy metrics: how much of its training people a synthetic cohort gives away."""

from __future__ import annotations

from haplobench import MetricSpec, hookimpl
from haplobench_privacy import specs_attacks, specs_distances


@hookimpl
def haplobench_metrics() -> list[MetricSpec]:
    """All privacy metrics, in the order of the report."""
    return [*specs_distances.SPECS, *specs_attacks.SPECS, *specs_distances.CRITERIA]
