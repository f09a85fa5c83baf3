"""What run.json, costs and baselines hold: typed and checked, for they may be anybody's."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec

from haplobench.errors import FormatError


class _Told:
    """What is read of a file: every field is in `vars`, where msgspec leaves defaults out."""

    def __post_init__(self) -> None:
        vars(self).update({key: getattr(self, key) for key in self.__annotations__})


@dataclass(frozen=True)
class SubmetricInfo(_Told):
    """One number that a metric reports, as run.json or a baseline describes it (`SubmetricSpec`).

    `family` and `site_matched` (whether it needs the panel's own sites) are its metric's, if it
    has none of its own; its `title` is its name.
    """

    name: str
    title: str = ""
    definition: str = ""
    unit: str = ""
    direction: str = "info"
    ideal: float | None = None
    min_effect: float = 0.0
    headline: bool = False
    family: str = ""
    evidence: bool = False
    names: bool = False
    material: float | None = None
    site_matched: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        vars(self)["title"] = self.title or self.name


@dataclass(frozen=True)
class FigureInfo(_Told):
    """A figure of a metric, as run.json describes it (see `FigureSpec`), or else by its name."""

    name: str
    title: str = ""
    caption: str = ""
    target: str = ""

    def __post_init__(self) -> None:
        vars(self).update(
            {key: getattr(self, key) or self.name for key in ("title", "caption", "target")}
        )
        super().__post_init__()


@dataclass(frozen=True)
class MetricInfo(_Told):
    """A metric, as run.json describes it (see `MetricSpec`)."""

    name: str = ""
    family: str = ""
    version: str = ""
    distribution: str = ""
    summary: str = ""
    citations: tuple[str, ...] = ()
    submetrics: tuple[SubmetricInfo, ...] = ()
    figures: tuple[FigureInfo, ...] = ()
    floor: str = ""
    site_matched: bool = True


@dataclass(frozen=True)
class CohortInfo(_Told):
    """A row of the tables: a generator, a control, or the floor.

    `label` is the suite's label, with the number of ranks where it ran on more than one;
    `control` says why the harness added it, `missing` what it needs that the machine lacks;
    `datasets`: those that it was fitted to; none: to all.
    """

    label: str = ""
    role: str = "generator"
    name: str = ""
    version: str = ""
    distribution: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    summary: str = ""
    citations: tuple[str, ...] = ()
    site_matched: bool | None = None
    conditional: bool | None = None
    control: str = ""
    missing: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()


def metrics_of(info: Mapping[str, Any]) -> dict[str, MetricInfo]:
    """The metrics that a run.json describes, by name; what is null or left out has its default."""
    metrics = {}
    for name, entry in (info.get("metrics") or {}).items():
        metric = _without_nulls(entry)
        inherited = {key: metric[key] for key in ("family", "site_matched") if key in metric}
        numbers = [inherited | number for number in metric.get("submetrics") or ()]
        metric |= {"name": name, "submetrics": numbers, "family": metric.get("family") or "other"}
        metrics[name] = msgspec.convert(metric, MetricInfo)
    return metrics


def submetrics_of(info: Mapping[str, Any]) -> dict[tuple[str, str], SubmetricInfo]:
    """What the numbers of all metrics of a run.json mean, by metric and name."""
    return {
        (metric.name, item.name): item
        for metric in metrics_of(info).values()
        for item in metric.submetrics
    }


def machine_text(hardware: Mapping[str, Any]) -> str:
    """A machine of run.json in words: `AMD EPYC 7B13, 8 cores, H100`; empty where unknown."""
    if not hardware.get("cpu"):
        return ""
    gpus = "".join(f", {gpu.get('name')}" for gpu in hardware.get("gpus") or ())
    return f"{hardware['cpu']}, {hardware.get('cores')} cores{gpus}"


def isolation_text(isolation: Mapping[str, Any]) -> str:
    """How far a run's generators were kept from people and results, in words; empty if unknown."""
    inside, outside = isolation.get("inside") or 0, isolation.get("outside") or 0
    if not inside + outside:
        return ""
    why = isolation.get("why_not") or "before this run"
    sandbox = isolation.get("sandbox") or "bubblewrap"
    confined = f"in a sandbox ({sandbox}), which showed them no held-out people and no results"
    open_text = (
        f"outside a sandbox ({why}): what changes is noticed, but they could read held-out people"
    )
    if not outside:
        return f"generators ran {confined}"
    if not inside:
        return f"generators ran {open_text}"
    return f"{inside} stages of generators ran {confined}; {outside} {open_text}"


# --- checks ---------------------------------------------------------------------------------

Numbers = dict[str, int | float]


class _Part(msgspec.Struct, kw_only=True):
    """Keys that readers know; others may stand beside them."""


class _GPU(_Part, kw_only=True):
    name: str | None = None
    memory: float | None = None
    driver: str | None = None


class _Hardware(_Part, kw_only=True):
    cpu: str | None = None
    cores: int | None = None
    memory: float | None = None
    gpus: list[_GPU] | None = None
    system: str | None = None
    fingerprint: str | None = None


class _Git(_Part, kw_only=True):
    sha: str | None = None
    dirty: bool | None = None


class _Evidence(_Part, kw_only=True):
    kind: str
    told: bool
    pairs: int
    chance: float | None = None


class _Relatives(_Part, kw_only=True):
    setting: str
    declared: int
    families: int
    people: int
    across: int
    reason: str
    evidence: list[_Evidence]


class _Dataset(_Part, kw_only=True):
    name: str | None = None
    version: str | None = None
    distribution: str | None = None
    summary: str | None = None
    citations: list[str] | None = None
    digest: str | None = None
    contig: str | None = None
    contigs: list[str] | None = None
    build: str | None = None
    start: int | None = None
    end: int | None = None
    ploidy: int | None = None
    phased: bool | None = None
    n_sites: int | None = None
    n_common_sites: int | None = None
    family_sites: dict[str, list[int]] | None = None
    n_train_haplotypes: int | None = None
    n_holdout_haplotypes: int | None = None
    n_validation_haplotypes: int | None = None
    populations: Numbers | None = None
    superpopulations: Numbers | None = None
    min_maf: float | None = None
    relatives: _Relatives | None = None
    one_sided: Numbers | None = None
    skipped: Numbers | None = None
    warnings: list[str] | None = None
    cohort_marks: dict[str, dict[str, str]] | None = None
    cohort_doubts: dict[str, str] | None = None
    provenance: dict[str, Any] | None = None


class _Isolation(_Part, kw_only=True):
    sandbox: str | None = None
    why_not: str | None = None
    inside: int | None = None
    outside: int | None = None


class _Claim(_Part, kw_only=True):
    dataset: str
    generator: str
    seed: int | None = None
    world_size: int | None = None
    epsilon: float | None = None
    delta: float | None = None
    unit: str | None = None
    accountant: str | None = None
    sampling: str | None = None
    mechanism: str | None = None
    noise_source: str | None = None
    no_bound: str | None = None


class _PrivacyTotal(_Part, kw_only=True):
    datasets: Annotated[list[str], msgspec.Meta(min_length=1)]
    generator: str | None = None
    world_size: int | None = None
    epsilon: float | None = None
    delta: float | None = None
    fits: int | None = None
    shadow_fits: int | None = None
    method: str | None = None
    without_bound: list[str] | None = None


class _Cohort(_Part, kw_only=True):
    dataset: str
    generator: str
    seed: int
    world_size: int = 1
    digests: dict[str, str]


class _Description(_Part, kw_only=True):
    run_id: str | None = None
    suite: str | None = None
    title: str | None = None
    suite_digest: str | None = None
    state: str | None = None
    status: str | None = None
    started: str | None = None
    finished: str | None = None
    command: str | None = None
    lock_digest: str | None = None
    versions: dict[str, str] | None = None
    hardware: _Hardware | None = None
    git: _Git | None = None
    datasets: dict[str, _Dataset] | None = None
    generators: dict[str, CohortInfo] | None = None
    metrics: dict[str, MetricInfo] | None = None
    claims: list[_Claim] | None = None
    privacy_totals: list[_PrivacyTotal] | None = None
    cohorts: list[_Cohort] | None = None
    verdict: dict[str, Any] | None = None
    isolation: _Isolation | None = None
    failed: list[str] | None = None
    seeds: list[int] | None = None
    draws: int | None = None
    floor_draws: int | None = None
    jobs: int | None = None
    threads: int | None = None
    fresh: bool | None = None


def check_description(value: object, path: Path) -> dict[str, Any]:
    """A run.json's value as it is, if every key that readers know has the type they expect.

    Raises FormatError, naming file and key, where one hasn't.
    """
    return _checked(_Description, value, str(path))


class _Operation(_Part, kw_only=True):
    calls: float = 0
    bytes: float = 0


class _Communication(_Part, kw_only=True):
    seconds: float = 0
    operations: dict[str, _Operation] | None = None
    steps: dict[str, float] | None = None


class _Work(_Part, kw_only=True):
    wall: float | None = None
    cpu: float
    peak_rss: float
    base_rss: float | None = None
    peak_gpu_memory: float | None = None


class _RankWork(_Work, kw_only=True):
    communication: _Communication
    gpu_utilisation: float | None = None


class _Row(_Part, kw_only=True):
    name: str
    calls: float
    seconds: float
    device_seconds: float | None = None


class _Profile(_Part, kw_only=True):
    operators: list[_Row] = []
    parts: list[_Row] = []
    wall: float = 0.0


class _StageWork(_Work, kw_only=True):
    wall: float
    ranks: Annotated[list[_RankWork], msgspec.Meta(min_length=1)]
    profile: _Profile | None = None


class _DrawWork(_StageWork, kw_only=True):
    n_haplotypes: int
    n_sites: int
    span: int


class _Cost(_Part, kw_only=True):
    dataset: str
    generator: str
    name: str
    params: dict[str, Any]
    seed: int
    world_size: int
    backend: str
    mode: str
    n_train: int
    fit: _StageWork
    draws: list[_DrawWork]


def check_cost(value: object, path: Path) -> dict[str, Any]:
    """A cell's cost as it is; FormatError as `check_description` raises it."""
    return _checked(_Cost, value, str(path))


class _BaselineHead(_Part, kw_only=True):
    baseline: str
    suite: str = ""
    run_id: str = ""
    git_sha: str = ""
    git_dirty: bool = False
    hardware: str = ""
    machine: str = ""
    started: str = ""
    seeds: list[int] = []
    compare: dict[str, Any] | None = None


class _BaselineDataset(_Part, kw_only=True):
    dataset: str
    digest: str


class _BaselineCohort(_Part, kw_only=True):
    dataset: str
    generator: str
    role: str
    plugin: str
    params: str
    world_size: int
    hardware: list[str]
    cells: dict[str, str]


class _BaselineMeaning(_Part, kw_only=True):
    metric: str
    submetric: str
    version: str
    title: str
    unit: str
    direction: str
    family: str
    ideal: float | None = None
    min_effect: float = 0.0
    headline: bool = False


class _BaselineFailure(_Part, kw_only=True):
    dataset: str
    generator: str
    metric: str
    failed: dict[str, str]


class _BaselineNumber(_Part, kw_only=True):
    dataset: str
    generator: str
    metric: str
    submetric: str
    labels: dict[str, str] = {}
    values: dict[str, list[float]]


_BASELINE_LINES: dict[str, type[_Part]] = {
    "baseline": _BaselineHead,
    "digest": _BaselineDataset,
    "cells": _BaselineCohort,
    "version": _BaselineMeaning,
    "failed": _BaselineFailure,
    "values": _BaselineNumber,
}


def check_baseline_line(value: object, place: str) -> dict[str, Any]:
    """A line of a baseline as it is; FormatError as `check_description` raises it."""
    kinds = [key for key in _BASELINE_LINES if isinstance(value, dict) and key in value]
    if not kinds:
        raise FormatError(f"{place}: not a line of a baseline")
    return _checked(_BASELINE_LINES[kinds[0]], value, place)


def _checked(model: type[_Part], value: object, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise FormatError(f"{place}: expected an object, found {type(value).__name__}")
    try:
        known = msgspec.convert(_without_nulls(value), model)
    except msgspec.ValidationError as error:
        # "Expected `str`, got `int` - at `$.hardware.cpu`"
        what, _, key = str(error).replace("`", "").partition(" - at ")
        where = f"{place}: {key.removeprefix('$').removeprefix('.')}" if key else place
        raise FormatError(f"{where}: {what[:1].lower()}{what[1:]}") from None
    if (infinite := _infinite(known)) is not None:
        raise FormatError(f"{place}: {infinite[1:]}: expected a finite number of 64 bits at most")
    return value


def _without_nulls(value: Any) -> Any:
    """A JSON value whose objects have no null, which stands for what is left out."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _infinite(value: object, key: str = "") -> str | None:
    """The key of the first number that isn't finite, or that no float can hold."""
    if isinstance(value, float):
        return None if math.isfinite(value) else key
    if isinstance(value, msgspec.Struct) or is_dataclass(value):
        value = vars(value) if is_dataclass(value) else msgspec.structs.asdict(value)
        for name, item in value.items():
            if isinstance(item, int) and abs(item) >= 1 << 63:
                return f"{key}.{name}"
    items: Iterable[tuple[object, object]] = value.items() if isinstance(value, dict) else ()
    items = enumerate(value) if isinstance(value, list | tuple) else items
    keys = (_infinite(item, f"{key}.{name}") for name, item in items)
    return next((found for found in keys if found is not None), None)
