"""Generators declared in a suite: any program's command lines, no Python written."""

from __future__ import annotations

from haplobench import GeneratorSpec, hookimpl
from haplobench_command.params import (
    CommandParams,
    ConditionalCommandParams,
    OwnSitesCommandParams,
)

_TARGET = "haplobench_command.generator:"

COMMAND = GeneratorSpec(
    name="command",
    version="1",
    target=f"{_TARGET}CommandGenerator",
    summary="A program of yours, in any language: its command lines stand in the suite.",
    params=CommandParams,
    programs=True,
)

COMMAND_POPULATIONS = GeneratorSpec(
    name="command-populations",
    version="1",
    target=f"{_TARGET}CommandGenerator",
    summary="A program that is told the population of everybody it samples, see `command`.",
    params=ConditionalCommandParams,
    programs=True,
    conditional=True,
)

COMMAND_OWN_SITES = GeneratorSpec(
    name="command-own-sites",
    version="1",
    target=f"{_TARGET}OwnSitesCommandGenerator",
    summary="A program whose sites are its own (a coalescent simulator), see `command`.",
    params=OwnSitesCommandParams,
    programs=True,
    site_matched=False,
)


@hookimpl
def haplobench_generators() -> list[GeneratorSpec]:
    """One specification for each thing that a program may promise about sites and populations."""
    return [COMMAND, COMMAND_POPULATIONS, COMMAND_OWN_SITES]
