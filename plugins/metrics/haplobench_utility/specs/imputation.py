"""Metrics of imputation of sites that weren't typed."""

from __future__ import annotations

from haplobench import MetricSpec

SPECS: tuple[MetricSpec, ...] = ()
