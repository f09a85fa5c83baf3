"""Peers: published generators of haplotypes, and a cheap strong baseline, to be held against."""

from __future__ import annotations

from haplobench import GeneratorSpec, hookimpl
from haplobench_peers.specs import SPECS


@hookimpl
def haplobench_generators() -> list[GeneratorSpec]:
    """All peers."""
    return list(SPECS)
