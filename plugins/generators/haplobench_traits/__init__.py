"""Traits of people, generated jointly with the haplotypes of another generator."""

from __future__ import annotations

from haplobench import GeneratorSpec, hookimpl
from haplobench_traits.specs import SPEC


@hookimpl
def haplobench_generators() -> list[GeneratorSpec]:
    """The one generator: another's haplotypes, and traits of their people."""
    return [SPEC]
