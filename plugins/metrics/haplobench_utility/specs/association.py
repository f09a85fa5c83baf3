"""Metrics of association studies and polygenic scores."""

from __future__ import annotations

from haplobench import MetricSpec

SPECS: tuple[MetricSpec, ...] = ()
