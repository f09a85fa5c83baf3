"""Federated, differentially private generators."""

from __future__ import annotations

from haplobench import GeneratorSpec, hookimpl


@hookimpl
def haplobench_generators() -> list[GeneratorSpec]:
    """All federated generators."""
    return []
