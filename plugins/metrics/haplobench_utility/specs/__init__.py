"""Descriptions of the utility metrics, light to import."""

from __future__ import annotations

from haplobench_utility.specs import structure, studies

# In the order of the report.
SPECS = (*studies.SPECS, *structure.SPECS)
