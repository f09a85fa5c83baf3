"""Schema of a suite: the YAML's keys as pydantic models, and the suite as resolved."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from haplobench.comparison.settings import CompareSettings
from haplobench.units import format_duration, format_size, parse_duration, parse_size

NAME = r"^[A-Za-z0-9][A-Za-z0-9._+-]*$"
FLOOR = "floor"

Duration = Annotated[float, BeforeValidator(parse_duration)]
Size = Annotated[int, BeforeValidator(parse_size)]
Name = Annotated[str, Field(pattern=NAME)]
Seed = Annotated[int, Field(ge=0, lt=1 << 63)]


def _share(value: object) -> object:
    """A share below 1, or a count of people of 1 and more."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"expected a share (0.2) or a count of people (60), found {value!r}")
    if value < 0 or (value >= 1 and value != int(value)):
        raise ValueError(f"expected a share below 1 or a whole count of people, found {value!r}")
    return value


def _haplotypes(value: object) -> object:
    if value == "holdout" or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    raise ValueError(f"expected holdout or a positive number of haplotypes, found {value!r}")


def _distinct(seeds: list[int]) -> list[int]:
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"expected one or more different seeds, found {seeds}")
    return seeds


def _world_sizes(value: object) -> object:
    sizes = value if isinstance(value, list) else [value]
    whole = [size for size in sizes if isinstance(size, int) and not isinstance(size, bool)]
    if not sizes or len(set(whole)) < len(sizes) or min(whole) < 1:
        raise ValueError(f"expected a number of ranks, or a list of different ones, found {value}")
    return sizes


Share = Annotated[float, BeforeValidator(_share)]
WorldSizes = Annotated[list[int], BeforeValidator(_world_sizes)]
Seeds = Annotated[list[Seed], AfterValidator(_distinct)]


class Strict(BaseModel):
    """Frozen, unknown keys forbidden, types as YAML gives them."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Filters(Strict):
    """Which sites and people of a dataset are used.

    `min_maf`: least minor allele frequency, on the training people.
    `max_missing`: greatest share of missing alleles, among training and among held-out people.
    `withdrawn`: people, by sample name, who are neither trained on nor held out: they withdrew
    their consent. A text is a file with a name on each line, read when the suite is.
    """

    min_maf: float = Field(default=0.01, ge=0, le=0.5)
    max_missing: float = Field(default=0.0, ge=0, le=1)
    withdrawn: list[str] | str = Field(default_factory=list)

    @model_serializer(mode="wrap")
    def _where_asked(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Suites without it keep the digest that they had before there was such a filter.
        values: dict[str, Any] = handler(self)
        if not self.withdrawn:
            del values["withdrawn"]
        return values


class SplitSettings(Strict):
    """How a dataset's people are shared out, see `haplobench.split.split_panel`."""

    holdout: Share = 0.2
    validation: Share = 0.1
    seed: Seed = 1


class Limits(Strict):
    """Limits of one stage of a cell (sampling: of one draw; measuring: of one metric).

    `time`: seconds. `memory`: bytes, of the stage's ranks and child processes together.
    `restart`: how often a stage that died (a rank killed, an error, a limit) is begun again;
    a generator that keeps checkpoints goes on from its last.
    """

    time: Duration = 600.0
    memory: Size = 8 << 30
    restart: int = Field(default=0, ge=0)


class GeneratorLimits(Strict):
    """A generator's own limits, where they differ from the suite's."""

    time: Duration | None = None
    memory: Size | None = None
    restart: int | None = Field(default=None, ge=0)


class SampleSettings(Strict):
    """How much each fitted generator samples.

    `haplotypes`: a number, or `holdout` for as many as there are held-out haplotypes.
    `draws`: cohorts drawn from one fitted generator. `batch_size`: haplotypes at a time.
    """

    haplotypes: Annotated[int | Literal["holdout"], BeforeValidator(_haplotypes)] = "holdout"
    draws: int = Field(default=1, ge=1)
    batch_size: int = Field(default=1024, ge=2)


class FloorSettings(Strict):
    """The floor: `draws` random samples of real people, scored as if synthetic."""

    draws: int = Field(default=10, ge=1)


class ExecutorSettings(Strict):
    """Where stages run: on this machine, or as jobs of a Slurm cluster.

    All but `name` are Slurm's: `nodes` at most for one cell (its ranks are shared out evenly),
    `gpus_per_node`, `time` (seconds; None: by the limits), `extra` (any of sbatch's options).
    Results don't depend on it.
    """

    name: Literal["local", "slurm"] = "local"
    partition: str | None = None
    nodes: int = Field(default=1, ge=1)
    gpus_per_node: int = Field(default=0, ge=0)
    time: Duration | None = None
    account: str | None = None
    constraint: str | None = None
    qos: str | None = None
    extra: dict[str, Any] = Field(default_factory=dict)


class DatasetItem(Strict):
    """A dataset as the YAML names it."""

    name: str
    label: Name | None = None
    params: dict[str, Any] = Field(default_factory=dict)
    filters: Filters = Filters()
    split: SplitSettings = SplitSettings()


class ScalingSettings(Strict):
    """How the work of a generator's cells depends on their world size.

    `mode`: `strong`, the same work for every world size; or `weak`, the work grows with the
    ranks: a cell of p ranks, of at most P, is fitted on p / P of the training people and samples
    p / P of the haplotypes. `per_rank`: parameters that are multiplied by the number of ranks
    (a batch size).
    """

    mode: Literal["strong", "weak"] = "strong"
    per_rank: dict[str, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)


class GeneratorItem(Strict):
    """A generator as the YAML names it.

    `optional`: where something it needs is missing, say so in the results instead of refusing
    the suite. `world_size`: ranks that fit and sample it together; a list makes a cell of each.
    `backend`: what carries their communication. `profile`: profile fitting and sampling with
    torch.profiler, which costs time.
    """

    name: str
    label: Name | None = None
    params: dict[str, Any] = Field(default_factory=dict)
    world_size: WorldSizes = [1]
    backend: Literal["torch", "horovod"] = "torch"
    scaling: ScalingSettings = ScalingSettings()
    profile: bool = False
    seeds: Seeds | None = None
    limits: GeneratorLimits = GeneratorLimits()
    optional: bool = False


class MetricItem(Strict):
    """A metric as the YAML names it; `optional` as for generators."""

    name: str
    params: dict[str, Any] = Field(default_factory=dict)
    optional: bool = False


class SuiteFile(Strict):
    """The keys of a suite file, shorthands written out.

    `threads`: of every stage's process. It belongs to the suite, not to `--jobs`, because sums
    taken in another order differ in their last digits: the same suite gives the same values.
    `shadows`: for metrics that need them, every generator is fitted so many times more, each
    time on a random half of all people (an even number; 0: those metrics don't apply).
    """

    name: Name
    title: str = ""
    seeds: Seeds = [1]
    datasets: list[DatasetItem] = Field(min_length=1)
    generators: list[GeneratorItem] = Field(default_factory=list)
    metrics: list[MetricItem] = Field(default_factory=lambda: [MetricItem(name="all")])
    sample: SampleSettings = SampleSettings()
    floor: FloorSettings = FloorSettings()
    shadows: int = Field(default=0, ge=0, multiple_of=2)
    threads: int = Field(default=1, ge=1)
    limits: Limits = Limits()
    executor: ExecutorSettings = ExecutorSettings()
    compare: CompareSettings = CompareSettings()
    profile: str | None = None
    profiles: dict[str, dict[str, Any]] = Field(default_factory=dict)


# --- as resolved ----------------------------------------------------------------------------


def digest_of(value: object) -> str:
    """SHA-256 (hex) of a value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class DatasetEntry:
    """A dataset of a resolved suite.

    `params` are validated and complete, with environment variables expanded; `asked` are
    those the file gives, unexpanded: the same on every machine.
    """

    label: str
    name: str
    params: Mapping[str, Any]
    asked: Mapping[str, Any]
    filters: Filters
    split: SplitSettings


@dataclass(frozen=True)
class GeneratorEntry:
    """A generator of a resolved suite.

    `role` is `generator` or `control`; `params` are validated and complete; `missing` says
    what this machine lacks of its needs (empty: ready); `fingerprint` identifies files that
    the parameters name. `world_sizes`: a cell for each. `people`: the share of the training
    people on whom it is fitted, and of the haplotypes it samples.
    """

    label: str
    name: str
    role: Literal["generator", "control"]
    params: Mapping[str, Any]
    seeds: tuple[int, ...]
    world_sizes: tuple[int, ...] = (1,)
    backend: Literal["torch", "horovod"] = "torch"
    scaling: ScalingSettings = field(default_factory=ScalingSettings)
    people: float = 1.0
    profile: bool = False
    limits: Limits = field(default_factory=Limits)
    missing: tuple[str, ...] = ()
    fingerprint: str = ""

    @property
    def world_size(self) -> int:
        """Of a cell's entry, which has but one."""
        if len(self.world_sizes) != 1:
            raise ValueError(f"{self.label}: several world sizes, {self.world_sizes}")
        return self.world_sizes[0]


@dataclass(frozen=True)
class MetricEntry:
    """A metric of a resolved suite; fields as `GeneratorEntry`."""

    name: str
    params: Mapping[str, Any]
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Suite:
    """A suite that validated: profile and overrides applied, controls added, params complete."""

    name: str
    title: str
    seeds: tuple[int, ...]
    datasets: tuple[DatasetEntry, ...]
    generators: tuple[GeneratorEntry, ...]
    metrics: tuple[MetricEntry, ...]
    sample: SampleSettings
    floor: FloorSettings
    limits: Limits
    threads: int = 1
    shadows: int = 0
    executor: ExecutorSettings = field(default_factory=ExecutorSettings)
    path: Path | None = None
    compare: CompareSettings = field(default_factory=CompareSettings)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of everything asked; limits, executor, compare, title and path left out."""
        asked = self.as_dict()
        for key in ("title", "limits", "executor", "compare"):
            del asked[key]
        for dataset, entry in zip(asked["datasets"], self.datasets, strict=True):
            dataset["params"] = dict(entry.asked)
        for generator in asked["generators"]:
            del generator["limits"]
        return digest_of(asked)

    def as_dict(self) -> dict[str, Any]:
        """The suite as plain values, in the keys of the YAML."""
        return {
            "name": self.name,
            "title": self.title,
            "seeds": list(self.seeds),
            "datasets": [
                {
                    "name": entry.name,
                    "label": entry.label,
                    "params": dict(entry.params),
                    "filters": entry.filters.model_dump(),
                    "split": entry.split.model_dump(),
                }
                for entry in self.datasets
            ],
            "generators": [
                {
                    "name": entry.name,
                    "label": entry.label,
                    "params": dict(entry.params),
                    "seeds": list(entry.seeds),
                    "world_size": list(entry.world_sizes),
                    "backend": entry.backend,
                    **(
                        {"scaling": entry.scaling.model_dump()}
                        if entry.scaling != ScalingSettings()
                        else {}
                    ),
                    **({"profile": True} if entry.profile else {}),
                    "limits": entry.limits.model_dump(),
                    "optional": bool(entry.missing),
                }
                for entry in self.generators
            ],
            "metrics": [
                {
                    "name": entry.name,
                    "params": dict(entry.params),
                    "optional": bool(entry.missing),
                }
                for entry in self.metrics
            ],
            "sample": self.sample.model_dump(),
            "floor": self.floor.model_dump(),
            "shadows": self.shadows,
            "threads": self.threads,
            "limits": self.limits.model_dump(),
            "executor": self.executor.model_dump(),
            "compare": self.compare.model_dump(exclude_unset=True),
        }

    def to_yaml(self) -> str:
        """The resolved suite as YAML that `load_suite` reads again."""
        return yaml.safe_dump(self.as_dict(), sort_keys=False, allow_unicode=True)

    def describe(self) -> str:
        """The plan for people: what is run how often, and what is left out and why."""
        lines = [f"{self.name}: {self.title}" if self.title else self.name]
        for dataset in self.datasets:
            split = dataset.split
            lines.append(
                f"  dataset    {dataset.label}"
                + (f" ({dataset.name})" if dataset.name != dataset.label else "")
                + f": MAF >= {dataset.filters.min_maf:g}, holdout {split.holdout:g}, "
                f"validation {split.validation:g}, split seed {split.seed}"
            )
        ready = [entry for entry in self.generators if not entry.missing]
        for generator in self.generators:
            name = f" ({generator.name})" if generator.name != generator.label else ""
            seeds = ", ".join(map(str, generator.seeds))
            ranks = ""
            if generator.world_sizes != (1,):
                sizes = ", ".join(map(str, generator.world_sizes))
                weak = ", weak" if generator.scaling.mode == "weak" else ""
                ranks = f", world size {sizes} ({generator.backend}{weak})"
            lines.append(
                f"  {generator.role:10s} {generator.label}{name}: "
                + (
                    f"left out, needs {'; '.join(generator.missing)}"
                    if generator.missing
                    else f"seed{'s' if len(generator.seeds) > 1 else ''} {seeds}{ranks}"
                )
            )
        metrics = ", ".join(entry.name for entry in self.metrics if not entry.missing)
        lines.append(f"  metrics    {metrics or 'none'}")
        lines += [
            f"  metric     {entry.name}: left out, needs {'; '.join(entry.missing)}"
            for entry in self.metrics
            if entry.missing
        ]
        cells = len(self.datasets) * (
            1 + sum(len(entry.seeds) * len(entry.world_sizes) for entry in ready)
        )
        lines.append(
            f"  {cells} cells: {len(self.datasets)} of the floor ({self.floor.draws} draws), "
            f"{cells - len(self.datasets)} of generators ({self.sample.draws} draws each, "
            f"{self.sample.haplotypes} haplotypes)"
        )
        if self.shadows:
            lines.append(
                f"  shadows    {self.shadows} more fits of each on random halves of all people"
            )
        lines.append(
            f"  limits     {format_duration(self.limits.time)} and "
            f"{format_size(self.limits.memory)} a stage"
            + (f", restarted up to {self.limits.restart} times" if self.limits.restart else "")
        )
        if self.executor.name != "local":
            asked = self.executor.model_dump(exclude_defaults=True, exclude={"name"})
            lines.append(
                f"  executor   {self.executor.name}"
                + "".join(f" {key}={value}" for key, value in asked.items())
            )
        return "\n".join(lines)
