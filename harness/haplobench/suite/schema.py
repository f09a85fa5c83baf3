"""Schema of a suite: the keys of its YAML as pydantic models, see `resolved_suite`."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from haplobench.data.consent import WithdrawnSetting
from haplobench.suite.compare_settings import CompareSettings
from haplobench.units import parse_duration, parse_size

NAME = r"^[A-Za-z0-9][A-Za-z0-9._+-]*$"
FLOOR = "floor"

Duration = Annotated[float, BeforeValidator(parse_duration)]
Size = Annotated[int, BeforeValidator(parse_size)]
# A cell's files are named by its dataset's and its generator's label.
Name = Annotated[str, Field(pattern=NAME, max_length=80)]
Seed = Annotated[int, Field(ge=0, lt=1 << 63)]


def _share(value: object) -> object:
    """A share below 1, or a count of people of 1 and more."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"expected a share (0.2) or a count of people (60), found {value!r}")
    if not 0 <= value < math.inf or (value >= 1 and value != int(value)):
        raise ValueError(f"expected a share below 1 or a whole count of people, found {value!r}")
    return value


def _part(value: object) -> object:
    """A share, or a file or list of people."""
    if not isinstance(value, str | list):
        return _share(value)
    names = value if isinstance(value, list) else [value]
    if not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise ValueError(f"expected a share, a file or a list of names, found {value!r}")
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
Part = Annotated[float | str | list[str], BeforeValidator(_part)]
WorldSizes = Annotated[list[int], BeforeValidator(_world_sizes)]
Seeds = Annotated[list[Seed], AfterValidator(_distinct)]


class Strict(BaseModel):
    """Frozen, unknown keys forbidden, types as YAML gives them."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Filters(Strict):
    """Which sites and people of a dataset are used.

    `min_maf`: least minor allele frequency, on the training people.
    `max_missing`: greatest share of missing alleles, among training and among held-out people.
    `withdrawn`: people who withdrew their consent, see `haplobench.data.consent.Withdrawn`; a text
    is its `file`, a list its `names`.
    """

    min_maf: float = Field(default=0.01, ge=0, le=0.5)
    max_missing: float = Field(default=0.0, ge=0, le=1)
    withdrawn: WithdrawnSetting = None

    @field_validator("withdrawn", mode="before")
    @classmethod
    def _given(cls, value: object) -> object:
        if value is None:
            raise ValueError("expected a file, or a list of names; leave the key out for nobody")
        return value

    @model_serializer(mode="wrap")
    def _where_asked(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Suites without it keep the digest that they had before there was such a filter. What is
        # written of a suite holds no names.
        values: dict[str, Any] = handler(self)
        if self.withdrawn is None:
            del values["withdrawn"]
        elif self.withdrawn.names:
            values["withdrawn"] = {"unnamed": len(self.withdrawn.names)}
        else:
            del values["withdrawn"]["names"], values["withdrawn"]["unnamed"]
        return values

    def asked(self) -> dict[str, Any]:
        """The filters as digests of what was asked hold them: that there is a list, not whose."""
        return self.model_dump() | ({"withdrawn": True} if self.withdrawn else {})


def _told(key: str, part: float | str | list[str]) -> str:
    if isinstance(part, list):
        return f"{key} of {len(part)} names"
    return f"{key} {part}" if isinstance(part, str) else f"{key} {part:g}"


class SplitSettings(Strict):
    """How a dataset's people are shared out, see `haplobench.data.split.split_panel`.

    `holdout`, `validation`: a share below 1 (of all people; of the training people), a count of
    people, a list of their names or a file of it, as for `filters.withdrawn`. `folds`: instead of
    `holdout`, so many datasets (`label-fold1`, …) in which each person is held out once; `fold`:
    only that one of them. `relatives`: duplicates and relatives whom the panel shows and no table
    declares are kept on one side (`together`), told (`warn`), not accepted (`refuse`), or not
    looked for, and declared families not kept either (`ignore`).
    """

    holdout: Part = 0.2
    validation: Part = 0.1
    seed: Seed = 1
    folds: int = Field(default=0, ge=0)
    fold: int = Field(default=0, ge=0)
    relatives: Literal["together", "warn", "refuse", "ignore"] = "together"

    @model_validator(mode="after")
    def _folds(self) -> SplitSettings:
        if self.folds == 1 or self.fold > self.folds:
            raise ValueError(
                f"expected 2 folds or more and a fold among them, found fold {self.fold} of "
                f"{self.folds}"
            )
        if self.folds and "holdout" in self.model_fields_set:
            raise ValueError("holdout and folds exclude each other: a fold is what is held out")
        return self

    def __str__(self) -> str:
        held = f"fold {self.fold} of {self.folds}" if self.folds else _told("holdout", self.holdout)
        kin = f", relatives: {self.relatives}" if self.relatives != "together" else ""
        return f"{held}, {_told('validation', self.validation)}, split seed {self.seed}{kin}"

    @property
    def listed(self) -> dict[str, str | list[str]]:
        """The parts that are lists of people, or files of them, by key."""
        parts = {"validation": self.validation}
        if not self.folds:
            parts["holdout"] = self.holdout
        return {key: part for key, part in parts.items() if isinstance(part, str | list)}

    @model_serializer(mode="wrap")
    def _where_asked(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Suites without them keep the digest that they had before there were such settings.
        values: dict[str, Any] = handler(self)
        for key in ("folds", "fold", "relatives"):
            if values[key] == type(self).model_fields[key].default:
                del values[key]
        if self.folds:
            del values["holdout"]
        return values


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
    `backend`: what carries their communication. `torch_profile`: profile fitting and sampling
    with torch.profiler, which costs time; `profile` is its old name.
    """

    name: str
    label: Name | None = None
    params: dict[str, Any] = Field(default_factory=dict)
    world_size: WorldSizes = [1]
    backend: Literal["torch", "horovod"] = "torch"
    scaling: ScalingSettings = ScalingSettings()
    torch_profile: bool = False
    seeds: Seeds | None = None
    limits: GeneratorLimits = GeneratorLimits()
    optional: bool = False

    @model_validator(mode="before")
    @classmethod
    def _old_name(cls, values: Any) -> Any:
        if isinstance(values, dict) and "profile" in values and "torch_profile" not in values:
            values = {**values, "torch_profile": values["profile"]}
            del values["profile"]
        return values


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
