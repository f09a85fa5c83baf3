"""Rule-based generators: sequencing reads of people drawn by site frequency; random sequence."""

from __future__ import annotations

from haplobench import GeneratorSpec, hookimpl
from haplobench_reads.specs import SPECS


@hookimpl
def haplobench_generators() -> list[GeneratorSpec]:
    """All rule-based generators."""
    return list(SPECS)
