"""Descriptions of the privacy metrics, light to import."""

from __future__ import annotations

from haplobench_privacy.specs import attacks, distances

# In the order of the report.
SPECS = (*distances.SPECS, *attacks.SPECS, *distances.CRITERIA)
