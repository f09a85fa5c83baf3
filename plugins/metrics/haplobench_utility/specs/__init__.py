"""Descriptions of the utility metrics, light to import."""

from __future__ import annotations

from haplobench_utility.specs import association, imputation, structure, tables

# In the order of the report.
SPECS = (*imputation.SPECS, *association.SPECS, *structure.SPECS, *tables.SPECS)
