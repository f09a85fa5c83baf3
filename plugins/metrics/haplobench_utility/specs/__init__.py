"""Descriptions of the utility metrics, light to import."""

from __future__ import annotations

from haplobench_utility.specs import association, imputation, structure

# In the order of the report.
SPECS = (*imputation.SPECS, *association.SPECS, *structure.SPECS)
