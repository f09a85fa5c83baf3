"""Metrics: what they are handed and give back, their protocols, and their descriptions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from haplobench.errors import PluginError
from haplobench.plugin.context import Need, Params

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from haplobench.data.panel import Panel
    from haplobench.plugin.context import RunContext
    from haplobench.results.records import Family

Direction = Literal["lower", "higher", "closer", "info"]


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
        Bytes, of the stage's processes together.
    fit_base_rss, sample_base_rss : int
        Bytes resident just before the plugin was called (interpreter, libraries, panel).
    n_haplotypes, n_sites, span : int
        Sampled haplotypes, sites of each, and the region's length in bp.
    world_size : int
    peak_gpu_memory : int or None
        Bytes, of the rank that used most; None without a GPU.
    fit_ranks, sample_ranks : sequence of mappings
        For each rank: `rank`, `wall`, `cpu`, `base_rss`, `peak_rss`, `peak_gpu_memory` as above;
        `gpu_utilisation` (0-1) and `gpu_energy` (J), None where `gpu_note` says why; and
        `communication`: `calls`, `bytes`, `seconds`, `operations` (the same by operation)
        and `steps` (`steps` and `epochs`, how many, and seconds of `data`, `forward`, `backward`,
        `all_reduce`, `optimiser`; empty unless trained by `data_parallel`). Times of several
        ranks above are the longest wall time and the sum of CPU times.

    Raises PluginError if a time, a size or a count is negative or not a number.
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
    fit_ranks: Sequence[Mapping[str, Any]] = ()
    sample_ranks: Sequence[Mapping[str, Any]] = ()

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, int | float) and not value >= 0:
                raise PluginError(f"telemetry: {name} is {value}, expected 0 or more")


@dataclass(frozen=True)
class Measurement:
    """One number. `value` None means not applicable, and `note` says why.

    `labels` tell apart several numbers of one submetric, for example
    `{"superpopulation": "EUR"}`; `n` is how many things the value rests on. `low` and `high` are
    its 95 % interval. Evidence of a leak (`SubmetricSpec.evidence`) has a `p`: how probable so
    much or more is at most where training people are no other than held-out people are; and
    `detectable`: the least value that so many people can tell from chance, for most draws of them.
    """

    value: float | None
    n: int | None = None
    standard_error: float | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    low: float | None = None
    high: float | None = None
    p: float | None = None
    detectable: float | None = None


@dataclass(frozen=True)
class MetricResult:
    """What a metric found: measurements by submetric, and tables for its figures.

    `series` are named tables: `{"curve": {"bin_bp": array, "mean_r2": array}}`, stored as
    they are and handed to the metric's figures. A table `people` of a privacy metric names training
    people: columns `sample` and `flagged` (bool), and where there are such `population`, `evidence`
    (in words), `p` and `q`; others are shown beside them (`bench leaks`).
    """

    measurements: Mapping[str, Measurement | Sequence[Measurement]]
    series: Mapping[str, Mapping[str, NDArray[Any]]] = field(default_factory=dict)


class Metric(Protocol):
    """A metric that keeps a state: told about the synthetic cohort, in parts or whole, then asked.

    Made as `factory(reference, params, ctx)`; a function of the whole cohort is simpler.
    """

    def update(self, data: Any) -> None:
        """Take what `MetricSpec.input` says."""

    def result(self) -> MetricResult:
        """The measurements of everything taken so far."""


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
    evidence : bool
        True: evidence that training people are given away, one-sided: `lower` is better down to
        `ideal`, which is chance, and no better below it. Its measurements have a `p`, and are
        judged by it instead of by the floor.
    names : bool
        True: evidence that names people. Beside the attacks on everybody it has two fifths of
        the level for false alarms to itself.
    material : float or None
        For evidence: the least value that a data custodian must not overlook. "No leak seen" is
        said only where it would have been seen.
    family : str or None
        Where it isn't the metric's.
    site_matched : bool or None
        Whether it needs the panel's own sites, where that isn't as the metric says.
    """

    name: str
    title: str
    definition: str
    direction: Direction
    unit: str = ""
    ideal: float | None = None
    min_effect: float = 0.0
    headline: bool = False
    evidence: bool = False
    names: bool = False
    material: float | None = None
    family: Family | None = None
    site_matched: bool | None = None


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
        `package.module:function`, called as `function(reference: Reference, cohort, params,
        ctx: RunContext) -> MetricResult`; or a class, or another factory of a `Metric`, called
        as `factory(reference, params, ctx)`.
    summary : str
        Two sentences for the report: what it tells, and how to read it.
    family : str
    submetrics : tuple[SubmetricSpec, ...]
    input : str
        What is measured: `panel` (the whole cohort, as a memory-mapped Panel), `telemetry` (a
        Telemetry) or, for a `Metric` alone, `batches` (Panel slices of at most some thousand
        haplotypes, one after the other; any cut gives the same result).
    site_matched : bool
        True: refused for cohorts whose sites differ from the panel's.
    phased : bool
        True: refused for cohorts or panels without phase.
    floor : str
        Which real people stand in as synthetic for the noise floor: `train` (a sample of
        training people against the holdout) or `holdout` (one half of the held-out people,
        unseen in training, with the other half as holdout).
    cohort : str
        How many synthetic haplotypes it is shown: a `draw` of the suite's size, each draw in
        turn, or `train`: one cohort of a generator as large as the panel it was trained on
        and of the same populations. An attack finds the more, the more it is shown.
    sites : str
        At which of a dataset's sites it is measured: `filter`, those that pass its MAF filter;
        or `all`, rare ones too, as whoever is handed the cohort sees it. A suite's generators
        are shown and release only what passes; `bench evaluate` is given all sites.
    contigs : str
        What of a genome (a dataset of several contigs) it is shown: `each` contig by itself, its
        numbers being means over them, as whatever looks at positions, windows or neighbouring
        sites; or all `joined` as one panel (see `haplobench.data.joined`), as what needs people
        whole.
    shadows : bool
        True: needs shadow cohorts (`RunContext.shadows`), for which a suite must ask.
    citations : tuple[str, ...]
        Sources: keys of haplobench's `references.bib`, or prose (best with `doi:10.…`).
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
    cohort: Literal["draw", "train"] = "draw"
    sites: Literal["filter", "all"] = "filter"
    contigs: Literal["each", "joined"] = "each"
    shadows: bool = False
    needs: tuple[Need, ...] = ()
    figures: tuple[FigureSpec, ...] = ()
    citations: tuple[str, ...] = ()

    def not_applicable(self, note: str, n: int | None = None) -> MetricResult:
        """The result without values: every submetric not applicable, because of `note`."""
        return MetricResult(
            {submetric.name: Measurement(None, n, note=note) for submetric in self.submetrics}
        )


def apply_metric(
    spec: MetricSpec,
    target: Callable[..., Any],
    reference: Reference,
    cohort: Panel | Telemetry,
    params: Params,
    ctx: RunContext,
    *,
    batch: int = 1024,
) -> Any:
    """What a metric's loaded `target` gives for a cohort; nothing of it is checked here.

    `batch`: haplotypes handed over at a time where `input` is `batches`.
    """
    try:
        inspect.signature(target).bind(reference, cohort, params, ctx)
    except TypeError:
        metric: Metric = target(reference, params, ctx)
        if not hasattr(metric, "update"):
            raise PluginError(
                f"metric {spec.name}: {spec.target} is neither a function of (reference, cohort, "
                f"params, ctx) nor made a metric with update and result: {type(metric).__name__}"
            ) from None
        for part in _batches(cohort, batch) if spec.input == "batches" else (cohort,):
            metric.update(part)
        return metric.result()
    return target(reference, cohort, params, ctx)


def _batches(cohort: Any, n_haplotypes: int) -> Iterator[Panel]:
    import numpy as np

    if cohort.n_haplotypes <= n_haplotypes:
        yield cohort
        return
    step = max(1, n_haplotypes // cohort.ploidy)
    for start in range(0, cohort.n_samples, step):
        yield cohort.select_samples(np.arange(start, min(start + step, cohort.n_samples)))
