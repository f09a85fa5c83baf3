"""Utility metrics: whether an analysis of a synthetic cohort gives what one of real people does."""

from __future__ import annotations

from haplobench import MetricSpec, hookimpl
from haplobench_utility import specs_structure, specs_studies


@hookimpl
def haplobench_metrics() -> list[MetricSpec]:
    """All utility metrics, in the order of the report."""
    return [*specs_studies.SPECS, *specs_structure.SPECS]
