"""Placeholder until its metrics land."""

from haplobench import MetricSpec

SPECS: tuple[MetricSpec, ...] = ()
