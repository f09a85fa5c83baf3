"""Descriptions of the privacy metrics, light to import."""

from __future__ import annotations

from haplobench_privacy.specs import auditing, distances, inference, membership, people, tracts

SPECS = (
    *distances.SPECS,
    *tracts.SPECS,
    *membership.SPECS,
    *inference.SPECS,
    *people.SPECS,
    *auditing.SPECS,
)
