"""Descriptions of the privacy metrics, light to import."""

from __future__ import annotations

from haplobench_privacy.specs import attacks, candidates, criteria, distances

# In the order of the report.
SPECS = (*distances.SPECS, *attacks.SPECS, *candidates.SPECS, *criteria.SPECS)
