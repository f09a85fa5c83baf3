"""Fidelity metrics: how like real haplotypes a synthetic cohort is."""

from __future__ import annotations

from haplobench import MetricSpec, hookimpl
from haplobench_fidelity.specs import alleles, ld, sequence, structure


@hookimpl
def haplobench_metrics() -> list[MetricSpec]:
    """All fidelity metrics, in the order of the report."""
    return [*alleles.SPECS, *ld.SPECS, *sequence.SPECS, *structure.SPECS]
