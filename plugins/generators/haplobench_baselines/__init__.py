"""Baseline generators: what a model must beat, and what it must not become."""

from __future__ import annotations

from haplobench import GeneratorSpec, hookimpl
from haplobench_baselines.specs import SPECS


@hookimpl
def haplobench_generators() -> list[GeneratorSpec]:
    """All baselines: the two controls, then the two models."""
    return list(SPECS)
