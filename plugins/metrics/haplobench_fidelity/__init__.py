"""Fidelity metrics: how like real haplotypes a synthetic cohort is."""

from __future__ import annotations

from haplobench import MetricSpec, hookimpl
from haplobench_fidelity import specs_haplotypes, specs_sites


@hookimpl
def haplobench_metrics() -> list[MetricSpec]:
    """All fidelity metrics, in the order of the report."""
    return [*specs_sites.SPECS, *specs_haplotypes.SPECS]
