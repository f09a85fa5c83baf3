"""Coalescent simulators: people of a demography, at sites of their own."""

from __future__ import annotations

from haplobench import GeneratorSpec, hookimpl
from haplobench_coalescent.specs import SPECS


@hookimpl
def haplobench_generators() -> list[GeneratorSpec]:
    """The coalescent generators."""
    return list(SPECS)
