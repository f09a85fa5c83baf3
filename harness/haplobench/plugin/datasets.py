"""Datasets: what loading gives, the protocol to fill, and the description."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from haplobench.plugin.context import RunContext
from haplobench.plugin.needs import Need, Params

if TYPE_CHECKING:
    from haplobench.panel import Panel
    from haplobench.recombination import RecombinationMap
    from haplobench.sequence import ReferenceSequence


@dataclass(frozen=True)
class LoadedDataset:
    """A dataset as loaded: its panel before split and MAF filter, and what came with it.

    `skipped` counts what the reader left out, by reason (`multi-allelic`, `indel`, …);
    `provenance` says where it came from (path, URL, checksum, licence, citation).
    """

    panel: Panel
    recombination_map: RecombinationMap | None = None
    sequence: ReferenceSequence | None = None
    skipped: Mapping[str, int] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)


class Dataset(Protocol):
    """A class that a `DatasetSpec.target` names; instantiated without arguments."""

    def load(self, params: Any, ctx: RunContext) -> LoadedDataset:
        """Read, download or simulate the panel. Random draws come from `ctx.rng`."""

    def fingerprint(self, params: Any) -> str:
        """What identifies the content cheaply (path, size and time; or the parameters)."""


@dataclass(frozen=True)
class DatasetSpec:
    """What a dataset is, without importing it. `target` names a `Dataset` class."""

    name: str
    version: str
    target: str
    summary: str
    params: type[Params] = Params
    needs: tuple[Need, ...] = ()
    citations: tuple[str, ...] = ()
