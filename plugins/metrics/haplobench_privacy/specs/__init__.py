"""Descriptions of the privacy metrics, light to import."""

from __future__ import annotations

from haplobench_privacy.specs import distances, membership, tracts

SPECS = (*distances.SPECS, *tracts.SPECS, *membership.SPECS)
