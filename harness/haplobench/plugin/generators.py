"""Generators: the protocols to fill, and the description that is read without importing them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from haplobench.errors import PluginError
from haplobench.plugin.context import Need, Params, RunContext, SampleRequest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from haplobench.data.formats.sites import Variants
    from haplobench.data.genome import RecombinationMap, ReferenceSequence
    from haplobench.data.panel import Panel


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
    """A class that a `DatasetSpec.target` names; instantiated without arguments.

    A method is optional: `files(params) -> Iterable[Path]`, files and folders that hold its people:
    in a sandbox they are hidden from generators.
    """

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


@runtime_checkable
class Explorable(Protocol):
    """What `bench explore` asks of a fitted generator, beside `Fitted`.

    Panels handed in have the sites of the training panel. Nothing is drawn at random: the
    same haplotypes give the same answers.
    """

    def encode(self, panel: Panel, ctx: RunContext) -> NDArray[np.generic]:
        """Latents of real haplotypes: (n_haplotypes, n_latents)."""

    def interpolate(
        self, first: Panel, second: Panel, steps: int, ctx: RunContext
    ) -> NDArray[np.int8]:
        """Haplotypes on the path from each of `first` to its like in `second`, both ends included.

        (steps, n_haplotypes, n_sites) int8 of 0 and 1. Ends are the model's reconstructions.
        """

    def traverse(
        self, panel: Panel, dimension: int, steps: int, ctx: RunContext
    ) -> NDArray[np.int8]:
        """The haplotypes with one latent changed from end to end of its range, the others kept.

        (steps, n_haplotypes, n_sites) int8. Raises BenchError if there is no such latent.
        """


@runtime_checkable
class SitesStreamed(Protocol):
    """A `Fitted` that isn't site-matched, and whose cohort need not be in memory."""

    def variants(self, request: SampleRequest, ctx: RunContext) -> Variants:
        """The one panel that `sample` yields, its alleles read by blocks of sites, in order."""


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
    leaks : bool
        Of a control: whether it gives training people away. `bench evaluate` adds such a one only
        beside `--train`.
    programs : bool
        Whether its saved models hold command lines, which sampling runs: `bench generate` does
        so only where it is asked to, since a run's folder may be somebody else's.
    citations : tuple[str, ...]
        Sources: keys of haplobench's `references.bib`, or prose (best with `doi:10.…`).
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
    leaks: bool = False
    programs: bool = False
    citations: tuple[str, ...] = ()


# --- saved state, for plugins ------------------------------------------------------------------

_HEAD = "generator.json"


def save_state(
    directory: Path, name: str, arrays: Mapping[str, NDArray[Any]], **facts: Any
) -> None:
    """Write `arrays` and JSON-able `facts` of the generator `name` into an existing folder."""
    import numpy as np

    for key, values in arrays.items():
        np.save(directory / f"{key}.npy", values, allow_pickle=False)
    head = {"generator": name, "arrays": sorted(arrays), "facts": facts}
    (directory / _HEAD).write_text(json.dumps(head, indent=1) + "\n")


def load_state(directory: Path, name: str) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Arrays, mapped into memory read-only, and facts that `save_state` wrote.

    Raises PluginError if the folder doesn't hold a whole fitted generator of that name.
    """
    import numpy as np

    try:
        head = json.loads((directory / _HEAD).read_text())
        if head["generator"] != name:
            raise ValueError(f"it holds {head['generator']!r}")
        arrays = {
            key: np.load(directory / f"{key}.npy", mmap_mode="r", allow_pickle=False)
            for key in head["arrays"]
        }
        return arrays, dict(head["facts"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PluginError(f"{directory}: not a fitted {name!r}: {error}") from None
