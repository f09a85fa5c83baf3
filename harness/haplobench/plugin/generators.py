"""Generators: the protocols to fill, and the description that is read without importing them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from haplobench.plugin.context import RunContext, SampleRequest
from haplobench.plugin.needs import Need, Params

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from haplobench.panel import Panel


class Fitted(Protocol):
    """A generator after fitting: can sample and be saved.

    Two methods are optional: `reference_sequence() -> ReferenceSequence | None`, the bases it lays
    under its haplotypes, and `privacy_statement() -> PrivacyStatement | None`, the differential
    privacy it claims. Both are asked of what `Generator.load` returns.
    """

    def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[NDArray[np.int8] | Panel]:
        """Yield haplotypes in order.

        Site-matched generators yield `(batch, n_sites) int8` arrays of 0 and 1, together
        `request.n_haplotypes` rows. Others yield exactly one `Panel` with sites of their own.
        A conditional generator honours `request.populations`.
        """

    def save(self, directory: Path) -> None:
        """Write everything `Generator.load` needs into an existing empty folder; no pickle."""


class Generator(Protocol):
    """A class that a `GeneratorSpec.target` names; instantiated without arguments."""

    def fit(self, train: Panel, params: Any, ctx: RunContext) -> Fitted:
        """Learn from the training panel. Never sees held-out people."""

    def load(self, directory: Path, ctx: RunContext) -> Fitted:
        """Read what `Fitted.save` wrote."""


@dataclass(frozen=True)
class GeneratorSpec:
    """What a generator is, without importing it.

    Attributes
    ----------
    name, version : str
        Raise the version whenever the same parameters give other haplotypes.
    target : str
        `package.module:Class` of a `Generator`.
    summary : str
        One sentence.
    params : type[Params]
    needs : tuple[Need, ...]
    site_matched : bool
        Whether it samples at the training panel's own sites.
    conditional : bool
        Whether it honours `SampleRequest.populations`.
    distributed : bool
        Whether it uses `ctx.group` with more than one rank.
    control : str
        Why the harness should add it to every suite unasked, or empty.
    programs : bool
        Whether its saved models hold command lines, which sampling runs: `bench generate` does
        so only where it is asked to, since a run's folder may be somebody else's.
    citations : tuple[str, ...]
    """

    name: str
    version: str
    target: str
    summary: str
    params: type[Params] = Params
    needs: tuple[Need, ...] = ()
    site_matched: bool = True
    conditional: bool = False
    distributed: bool = False
    control: str = ""
    programs: bool = False
    citations: tuple[str, ...] = ()
