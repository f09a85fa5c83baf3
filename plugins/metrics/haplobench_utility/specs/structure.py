"""Metrics of ancestry, demography, selection, rare variants and tables of a user's own."""

from __future__ import annotations

from haplobench import MetricSpec

SPECS: tuple[MetricSpec, ...] = ()
