"""Descriptions of the fidelity metrics, light to import."""

from __future__ import annotations

from haplobench_fidelity.specs import haplotypes, sites

# In the order of the report.
SPECS = (*sites.SPECS, *haplotypes.SPECS)
