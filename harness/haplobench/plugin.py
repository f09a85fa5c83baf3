"""What a plugin author meets: frozen descriptions, parameters, and the protocols to fill."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

from pydantic import BaseModel, ConfigDict

from haplobench.distributed.group import NullGroup, ProcessGroup

# Describing a plugin needs no arrays: `bench list` stays fast because numpy isn't loaded here.
if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from haplobench.panel import Panel
    from haplobench.recombination import RecombinationMap
    from haplobench.sequence import ReferenceSequence

Family = Literal["fidelity", "privacy", "utility", "performance"]
Direction = Literal["lower", "higher", "closer", "info"]


class Params(BaseModel):
    """Parameters of a plugin: frozen, unknown keys forbidden, checked before anything runs.

    A number is taken where a text is asked for: YAML reads `contig: 22` as a number.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)


# --- what a plugin needs of the machine -----------------------------------------------------


@dataclass(frozen=True)
class Module:
    """A Python module that must be importable, and what to `pip install` to have it."""

    name: str
    install: str

    def missing(self) -> str:
        """Empty if present, else what is missing and how to get it."""
        if importlib.util.find_spec(self.name) is not None:
            return ""
        return f"Python module {self.name} (pip install '{self.install}')"


@dataclass(frozen=True)
class Binary:
    """A program that must be on PATH, and how to get it."""

    name: str
    install: str

    def missing(self) -> str:
        """Empty if present, else what is missing and how to get it."""
        return "" if shutil.which(self.name) else f"program {self.name} ({self.install})"


@dataclass(frozen=True)
class GPU:
    """A CUDA GPU that the operating system shows."""

    def missing(self) -> str:
        """Empty if present, else what is missing."""
        if Path("/dev/nvidia0").exists() and os.environ.get("CUDA_VISIBLE_DEVICES", "0"):
            return ""
        return "a CUDA GPU (none is visible on this machine)"


Need = Module | Binary | GPU


# --- what the harness hands to a plugin -----------------------------------------------------


@dataclass(frozen=True)
class RunContext:
    """Everything a plugin may use beside its own data. There are no globals.

    Attributes
    ----------
    seed : int
        Seed of the cell (a suite's `seeds`).
    artifacts : Path
        Folder for what the user should find afterwards (FASTQ, logs, plots).
    scratch : Path
        Folder for temporary files, deleted when the stage ends.
    device : str
        A torch device name: `cpu` or `cuda:N`.
    group : ProcessGroup
        The ranks of this cell. Only rank 0 writes.
    recombination_map : RecombinationMap or None
        Of the dataset's region, where it has one.
    sequence : ReferenceSequence or None
        Reference bases under the panel's region (see `surrogate`).
    synthetic_sequence : ReferenceSequence or None
        For metrics: the bases the generator itself laid under its haplotypes, if it did.
    min_maf : float
        The MAF under which the dataset's sites were left out (on the training part).
    threads : int
        Threads this process may use.
    deadline : float or None
        `time.monotonic()` at which the stage will be killed.
    validation : (n,) int64 or None
        People of the training panel, by index, whom the suite sets apart for early stopping.
    progress : Callable[[float, str], None]
        Report a fraction done (0-1) and a few words.
    log : logging.Logger
    """

    seed: int
    artifacts: Path
    scratch: Path
    device: str = "cpu"
    group: ProcessGroup = field(default_factory=NullGroup)
    recombination_map: RecombinationMap | None = None
    sequence: ReferenceSequence | None = None
    synthetic_sequence: ReferenceSequence | None = None
    min_maf: float = 0.0
    threads: int = 1
    deadline: float | None = None
    validation: NDArray[np.int64] | None = None
    progress: Callable[[float, str], None] = lambda fraction, message: None
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("haplobench"))

    def seed_for(self, *key: str | int) -> int:
        """A 63-bit seed that depends on the cell's seed and `key` alone (for torch, msprime, …)."""
        text = "\0".join([str(self.seed), *(f"{type(k).__name__}:{k}" for k in key)])
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1

    def rng(self, *key: str | int) -> np.random.Generator:
        """A generator that depends on the cell's seed and `key` alone.

        Key it by stage and absolute haplotype block, never by rank: then the result is the
        same whatever the world size.
        """
        import numpy as np

        return np.random.default_rng(self.seed_for(*key))


@dataclass(frozen=True)
class SampleRequest:
    """What to sample.

    Attributes
    ----------
    n_haplotypes : int
        Even where people are diploid: rows 2i and 2i + 1 are one person.
    start : int
        Absolute index of the first haplotype. Haplotype `i` must not depend on where a
        request starts or how it is cut into batches.
    batch_size : int
        At most so many haplotypes in one yielded array.
    populations : (n_haplotypes,) str or None
        For conditional generators: the population of each haplotype to be sampled.
    """

    n_haplotypes: int
    start: int = 0
    batch_size: int = 1024
    populations: NDArray[np.str_] | None = None

    def blocks(self, size: int = 256) -> Iterator[tuple[int, slice, slice]]:
        """Cut into absolute blocks of `size` haplotypes, to key randomness by block.

        Yields (block index, rows of that block wanted, rows of this request they fill).
        Draw all `size` haplotypes of a block from `ctx.rng("sample", block)`, keep the rows wanted.
        """
        end = self.start + self.n_haplotypes
        for block in range(self.start // size, -(-end // size)):
            low, high = max(self.start, block * size), min(end, (block + 1) * size)
            yield (
                block,
                slice(low - block * size, high - block * size),
                slice(low - self.start, high - self.start),
            )

    def batches(
        self, draw: Callable[[int], NDArray[np.int8]], size: int = 256
    ) -> Iterator[NDArray[np.int8]]:
        """Yield what was asked for, in batches of at most `batch_size`.

        `draw(block)` gives all haplotypes of an absolute block: `(size, n_sites) int8`.
        """
        for block, wanted, _ in self.blocks(size):
            rows = draw(block)[wanted]
            for first in range(0, len(rows), self.batch_size):
                yield rows[first : first + self.batch_size]


# --- generators -----------------------------------------------------------------------------


class Fitted(Protocol):
    """A generator after fitting: can sample and be saved."""

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
    citations: tuple[str, ...] = ()


# --- metrics --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reference:
    """The real people that a synthetic cohort is measured against.

    `holdout` is the truth for fidelity; `train` is what a leak would come from.
    Both have the same sites, chosen on `train`.
    """

    train: Panel
    holdout: Panel


@dataclass(frozen=True)
class Telemetry:
    """What fitting and sampling one cell cost, for performance metrics.

    Attributes
    ----------
    fit_wall, fit_cpu, sample_wall, sample_cpu : float
        Seconds; the stage itself, without starting Python or reading the panel.
    fit_peak_rss, sample_peak_rss : int
        Bytes, of the stage's process.
    fit_base_rss, sample_base_rss : int
        Bytes resident just before the plugin was called (interpreter, libraries, panel).
    n_haplotypes, n_sites, span : int
        Sampled haplotypes, sites of each, and the region's length in bp.
    world_size : int
    peak_gpu_memory : int or None
        Bytes; None without a GPU.
    """

    fit_wall: float
    fit_cpu: float
    sample_wall: float
    sample_cpu: float
    fit_peak_rss: int
    sample_peak_rss: int
    fit_base_rss: int
    sample_base_rss: int
    n_haplotypes: int
    n_sites: int
    span: int
    world_size: int = 1
    peak_gpu_memory: int | None = None


@dataclass(frozen=True)
class Measurement:
    """One number. `value` None means not applicable, and `note` says why.

    `labels` tell apart several numbers of one submetric, for example
    `{"superpopulation": "EUR"}`; `n` is how many things the value rests on.
    """

    value: float | None
    n: int | None = None
    standard_error: float | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class MetricResult:
    """What a metric found: measurements by submetric, and tables for its figures.

    `series` are named tables: `{"curve": {"bin_bp": array, "mean_r2": array}}`, stored as
    they are and handed to the metric's figures.
    """

    measurements: Mapping[str, Measurement | Sequence[Measurement]]
    series: Mapping[str, Mapping[str, NDArray[Any]]] = field(default_factory=dict)


class Metric(Protocol):
    """A metric during one measurement: told about the synthetic cohort, then asked."""

    def update(self, data: Any) -> None:
        """Take what `MetricSpec.input` says."""

    def result(self) -> MetricResult:
        """The measurements of everything taken so far."""


class StreamingMetric(Metric, Protocol):
    """A metric with `input="batches"`: its partial states of several ranks can be merged."""

    def merge(self, other: Self) -> None:
        """Take over what `other` has seen."""


@dataclass(frozen=True)
class SubmetricSpec:
    """One number that a metric reports.

    Attributes
    ----------
    name : str
    title : str
        For tables: short, with no unit.
    definition : str
        Formula or definition, one or two sentences.
    unit : str
        Empty for pure numbers.
    direction : str
        `lower` or `higher` is better, `closer` to `ideal` is better, or `info`.
    ideal : float or None
    min_effect : float
        Differences smaller than this are never called a regression.
    headline : bool
        Shown in the main table.
    """

    name: str
    title: str
    definition: str
    direction: Direction
    unit: str = ""
    ideal: float | None = None
    min_effect: float = 0.0
    headline: bool = False


@dataclass(frozen=True)
class FigureSpec:
    """A figure that a metric can draw from the series of all generators of one dataset.

    `target` names a function `draw(cohorts: Sequence[CohortSeries], style: FigureStyle) ->
    altair.Chart | None` (None: nothing to draw).
    """

    name: str
    title: str
    caption: str
    target: str


@dataclass(frozen=True)
class CohortSeries:
    """The series of one metric for one cohort: a generator's, or a real sample's.

    `role` is `generator`, `control` or `floor`; `tables` are `MetricResult.series`.
    """

    label: str
    role: Literal["generator", "control", "floor"]
    seed: int
    replicate: int
    tables: Mapping[str, Mapping[str, NDArray[Any]]]


@dataclass(frozen=True)
class MetricSpec:
    """What a metric is, without importing it.

    Attributes
    ----------
    name, version : str
        Raise the version whenever the same haplotypes give other values.
    target : str
        `package.module:factory`, called as `factory(reference: Reference, params, ctx) -> Metric`.
    summary : str
        Two sentences for the report: what it tells, and how to read it.
    family : str
    submetrics : tuple[SubmetricSpec, ...]
    input : str
        What `update` is handed: `batches` (Panel slices of at most some thousand
        haplotypes; any cut gives the same result), `panel` (the whole cohort at once, as a
        memory-mapped Panel) or `telemetry` (a Telemetry).
    site_matched : bool
        True: refused for cohorts whose sites differ from the panel's.
    phased : bool
        True: refused for cohorts or panels without phase.
    floor : str
        Which real people stand in as synthetic for the noise floor: `train` (a sample of
        training people against the holdout) or `holdout` (one half of the held-out people,
        unseen in training, with the other half as holdout).
    """

    name: str
    version: str
    target: str
    summary: str
    family: Family
    submetrics: tuple[SubmetricSpec, ...]
    params: type[Params] = Params
    input: Literal["batches", "panel", "telemetry"] = "panel"
    site_matched: bool = True
    phased: bool = True
    floor: Literal["train", "holdout"] = "train"
    needs: tuple[Need, ...] = ()
    figures: tuple[FigureSpec, ...] = ()
    citations: tuple[str, ...] = ()


# --- datasets -------------------------------------------------------------------------------


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
