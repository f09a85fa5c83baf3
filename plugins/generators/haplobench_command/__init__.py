"""Generators declared in a suite: any program's command lines, no Python written."""

from __future__ import annotations

from haplobench import GeneratorSpec, hookimpl
from haplobench_command.specs import SPECS


@hookimpl
def haplobench_generators() -> list[GeneratorSpec]:
    """One specification for each thing that a program may promise about sites and populations."""
    return list(SPECS)
