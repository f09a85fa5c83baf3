"""The keys of a suite as pydantic models: as its YAML has them, and resolved.

`SuiteFile` is what a file says; `Suite` the same with profile and overrides applied, controls
added and parameters complete. What a resolved item has besides (`…Entry`) are facts of this
machine: they are never written, so that a suite written out is asked the same wherever it loads.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    SerializerFunctionWrapHandler,
    field_serializer,
    field_validator,
    model_serializer,
    model_validator,
)

from haplobench.data.consent import PeopleList, WithdrawnSetting
from haplobench.files import digest_of
from haplobench.results.records import current_name
from haplobench.suite.source import write_yaml
from haplobench.suite.values import (
    MOST_DRAWS,
    MOST_HAPLOTYPES,
    Duration,
    Haplotypes,
    Name,
    Part,
    Seed,
    Seeds,
    Size,
    Strict,
    WorldSizes,
    contig_names,
    one_or_more,
    series,
)
from haplobench.units import format_duration, format_size

_FOLDS_TOLD = 10  # more of a dataset are told by the first and the last


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


class GeneratorLimits(Strict):
    """A generator's own limits, where they differ from the suite's."""

    time: Duration | None = None
    memory: Size | None = None
    restart: int | None = Field(default=None, ge=0)


class Limits(GeneratorLimits):
    """Limits of one stage of a cell (sampling: of one draw; measuring: of one metric).

    `time`: seconds. `memory`: bytes, of the stage's ranks and child processes together.
    `restart`: how often a stage that died (a rank killed, an error, a limit) is begun again;
    a generator that keeps checkpoints goes on from its last.
    """

    time: Duration = 600.0
    memory: Size = 8 << 30
    restart: int = Field(default=0, ge=0)


class SampleSettings(Strict):
    """How much each fitted generator samples.

    `haplotypes`: a number, or `holdout` for as many as there are held-out haplotypes.
    `draws`: cohorts drawn from one fitted generator. `batch_size`: haplotypes at a time.
    """

    haplotypes: Haplotypes = "holdout"
    draws: int = Field(default=1, ge=1, le=MOST_DRAWS)
    batch_size: int = Field(default=1024, ge=2, le=MOST_HAPLOTYPES)


class FloorSettings(Strict):
    """The floor: `draws` random samples of real people, scored as if synthetic."""

    draws: int = Field(default=10, ge=1, le=MOST_DRAWS)


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


def _switch(value: object) -> object:
    """YAML reads `off` as false."""
    return "off" if value is False else value


class DatasetItem(Strict):
    """A dataset as the YAML names it.

    In texts of its parameters, and in paths of lists of people, `${NAME}`, `$NAME` and
    `${NAME:-default}` stand for variables of the environment, `$$` for a dollar sign.
    `contigs`: names of contigs, or ranges of them (`1..22`), for each of which `{contig}` stands
    in texts of the parameters: they are fitted and sampled one by one, and judged as one genome.
    """

    name: str
    label: Name | None = None
    contigs: Annotated[tuple[str, ...], BeforeValidator(contig_names)] = ()
    params: dict[str, Any] = Field(default_factory=dict)
    filters: Filters = Filters()
    split: SplitSettings = SplitSettings()

    @model_serializer(mode="wrap")
    def _where_asked(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Suites without contigs keep the digest that they had before there were any.
        values: dict[str, Any] = handler(self)
        if not self.contigs:
            del values["contigs"]
        return values


class DatasetEntry(DatasetItem):
    """A dataset of a resolved suite.

    `params` are those that the file gives, the same on every machine; `values` are validated and
    complete, with environment variables expanded. `withdrawn` is the list that the filters name,
    `listed` are the lists of people of the split, by its keys: neither is in any digest of what
    was asked. A genome has no `values`, but both by contig (`by_contig`); each of its `parts`
    knows its `contig`.
    """

    label: str
    contig: str = Field(default="", exclude=True)
    values: dict[str, Any] = Field(default_factory=dict, exclude=True)
    by_contig: dict[str, tuple[dict[str, Any], dict[str, Any]]] = Field(
        default_factory=dict, exclude=True
    )
    withdrawn: InstanceOf[PeopleList] | None = Field(default=None, exclude=True)
    listed: dict[str, InstanceOf[PeopleList]] = Field(default_factory=dict, exclude=True)

    @property
    def parts(self) -> tuple[DatasetEntry, ...]:
        """The datasets of a genome's contigs, in their order; none of any other dataset."""
        alone: dict[str, Any] = {"contigs": (), "by_contig": {}}
        return tuple(
            self.model_copy(
                update=alone
                | {"label": f"{self.label}-{name}", "contig": name}
                | {"params": params, "values": values}
            )
            for name, (params, values) in self.by_contig.items()
        )

    def asked_split(self) -> dict[str, Any]:
        """The split as digests of what was asked hold it: of a list of people its content's."""
        digests = {key: people.digest for key, people in self.listed.items()}
        return self.split.model_dump() | digests


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
    with torch.profiler, which costs time; `profile` is its old name. `datasets`: labels of those
    that it is fitted to (a dataset's own is all its folds'); none: to all.
    """

    name: str
    label: Name | None = None
    params: dict[str, Any] = Field(default_factory=dict)
    world_size: WorldSizes = (1,)
    backend: Literal["torch", "horovod"] = "torch"
    scaling: ScalingSettings = ScalingSettings()
    torch_profile: bool = False
    seeds: Seeds | None = None
    limits: GeneratorLimits = GeneratorLimits()
    optional: bool = False
    datasets: list[Name] = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _old_name(cls, values: Any) -> Any:
        if isinstance(values, dict) and "profile" in values and "torch_profile" not in values:
            values = {**values, "torch_profile": values["profile"]}
            del values["profile"]
        return values

    @model_serializer(mode="wrap")
    def _where_asked(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Suites without them keep the digest that they had before there were such settings.
        values: dict[str, Any] = handler(self)
        if self.scaling == ScalingSettings():
            values.pop("scaling", None)
        for name in ("torch_profile", "datasets"):
            if not getattr(self, name):
                values.pop(name, None)
        return values


class GeneratorEntry(GeneratorItem):
    """A generator of a resolved suite: parameters complete, seeds and limits its own.

    `missing` says what this machine lacks of its needs (empty: ready); `fingerprint` identifies
    files that the parameters name. `train_share`: the share of the training people on whom it is
    fitted, and of the haplotypes it samples.
    """

    label: str
    seeds: Seeds
    limits: Limits = Limits()
    role: Literal["generator", "control", "subsample"] = Field(default="generator", exclude=True)
    train_share: float = Field(default=1.0, exclude=True)
    missing: tuple[str, ...] = Field(default=(), exclude=True)
    fingerprint: str = Field(default="", exclude=True)

    def fits(self, dataset: str) -> bool:
        """Whether it is fitted to the dataset of this label."""
        return not self.datasets or dataset in self.datasets

    @property
    def ranks(self) -> int:
        """The world size of a cell's entry, which has but one."""
        if len(self.world_size) != 1:
            raise ValueError(f"{self.label}: several world sizes, {self.world_size}")
        return self.world_size[0]


class MetricItem(Strict):
    """A metric as the YAML names it; `optional` as for generators."""

    name: str
    params: dict[str, Any] = Field(default_factory=dict)
    optional: bool = False


class MetricEntry(MetricItem):
    """A metric of a resolved suite: parameters complete.

    `missing` and `fingerprint` as of `GeneratorEntry`.
    """

    missing: tuple[str, ...] = Field(default=(), exclude=True)
    fingerprint: str = Field(default="", exclude=True)


class CompareRule(Strict):
    """Overrides what a metric's spec says, for one metric or one number of it.

    `min_effect`: differences up to this are unchanged; for family `performance` a ratio less
    one (0.2: 20 % slower). `direction`: which way is better. `ignore`: never gated.
    """

    model_config = ConfigDict(allow_inf_nan=True)

    metric: str
    submetric: str | None = None
    generator: str | None = None
    min_effect: float | None = Field(default=None, ge=0)
    direction: Literal["lower", "higher", "closer", "info"] | None = None
    ignore: bool | None = None

    @model_validator(mode="before")
    @classmethod
    def _current_name(cls, rule: Any) -> Any:
        if isinstance(rule, dict) and isinstance(rule.get("submetric"), str):
            name = current_name(str(rule.get("metric")), rule["submetric"])
            return {**rule, "submetric": name}
        return rule

    @model_validator(mode="after")
    def _says_something(self) -> CompareRule:
        if self.min_effect is None and self.direction is None and self.ignore is None:
            raise ValueError("expected one of min_effect, direction, ignore")
        return self

    def fits(self, generator: str, metric: str, submetric: str) -> bool:
        """Whether it speaks of this number."""
        return (
            self.metric == metric
            and self.submetric in (None, submetric)
            and self.generator in (None, generator)
        )


class CompareSettings(Strict):
    """How runs of a suite are compared.

    `gate`: metric families whose regressions fail a comparison. `controls`: whether those of
    controls do. `labelled`: whether values by label (MAF bin, superpopulation) do, beside the
    unlabelled. `alpha`: level of the multiple-testing control. `slower`: for family
    `performance`, medians are called changed from this ratio on (0.15: 15 %). `reach`: a number
    is called unchanged where a change of so many of its least effects would have been found.
    `rules`: a later one overrides an earlier.
    """

    model_config = ConfigDict(allow_inf_nan=True)

    gate: list[str] = Field(default=["fidelity", "privacy", "utility", "performance"])
    controls: bool = False
    labelled: bool = True
    alpha: float = Field(default=0.02, gt=0, lt=1)
    confidence: float = Field(default=0.95, gt=0, lt=1)
    slower: float = Field(default=0.15, ge=0)
    reach: float = Field(default=10, gt=0)
    rules: list[CompareRule] = Field(default_factory=list)


class VerdictSettings(Strict):
    """The rules by which a run's verdicts are reached, see `haplobench.report.verdict`.

    `version`: of the rules; what was written for older ones is judged by today's (since 2 a leak
    in all cohorts needn't be sure in one, since 3 nobody is faithful by numbers that no control
    fails). `level`: the chance, at most, that a generator that gives nobody away is said to leak.
    `faithful`, `in_part`: least shares of a family's headline
    numbers inside the floor (of real people's own cohorts, 99 of 100 have four fifths).
    `material`: least value of an attack that must not be overlooked, by `metric.number`, where it
    isn't the metric's own.
    """

    version: Literal[1, 2, 3] = 3
    level: float = Field(default=0.05, gt=0, lt=1)
    faithful: float = Field(default=0.8, gt=0, le=1)
    in_part: float = Field(default=0.5, ge=0, le=1)
    material: dict[Annotated[str, Field(pattern=r"^[^.]+\.[^.]+$")], float] = Field(
        default_factory=dict
    )

    @field_validator("version")
    @classmethod
    def _of_today(cls, version: int) -> int:
        return 3

    @model_validator(mode="after")
    def _in_order(self) -> VerdictSettings:
        if self.in_part > self.faithful:
            raise ValueError(f"in_part {self.in_part:g} is more than faithful {self.faithful:g}")
        return self


class SuiteFile(Strict):
    """The keys of a suite file, shorthands written out.

    `threads`: of every stage's process. It belongs to the suite, not to `--jobs`, because sums
    taken in another order differ in their last digits: the same suite gives the same values.
    `sandbox`: whether stages of generators run where they see neither held-out people nor other
    results: `auto` where bubblewrap allows it, `require` or not at all, `off` never. Results don't
    depend on it.
    `shadows`: for metrics that need them, every generator is fitted so many times more, each
    time on a random half of all people (an even number; 0: those metrics don't apply).
    """

    name: Name
    title: str = ""
    seeds: Seeds = (1,)
    datasets: Annotated[tuple[DatasetItem, ...], BeforeValidator(one_or_more)]
    generators: Annotated[tuple[GeneratorItem, ...], BeforeValidator(series)] = ()
    metrics: Annotated[tuple[MetricItem, ...], BeforeValidator(series)] = (MetricItem(name="all"),)
    sample: SampleSettings = SampleSettings()
    floor: FloorSettings = FloorSettings()
    shadows: int = Field(default=0, ge=0, le=MOST_DRAWS, multiple_of=2)
    threads: int = Field(default=1, ge=1)
    limits: Limits = Limits()
    executor: ExecutorSettings = ExecutorSettings()
    sandbox: Annotated[Literal["auto", "require", "off"], BeforeValidator(_switch)] = "auto"
    compare: CompareSettings = CompareSettings()
    verdict: VerdictSettings = VerdictSettings()
    profile: str | None = Field(default=None, exclude=True)
    profiles: dict[str, dict[str, Any]] = Field(default_factory=dict, exclude=True)

    @field_serializer("compare", "verdict")
    def _as_asked(self, section: CompareSettings | VerdictSettings) -> dict[str, Any]:
        return section.model_dump(exclude_unset=True)


class Suite(SuiteFile):
    """A suite that validated: profile and overrides applied, controls added, params complete."""

    datasets: tuple[DatasetEntry, ...]
    generators: tuple[GeneratorEntry, ...] = ()
    metrics: tuple[MetricEntry, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of everything asked; what doesn't change a number is left out."""
        aside = {"title", "limits", "executor", "sandbox", "compare", "verdict"}
        asked = self.model_dump(exclude=aside)
        for dataset, entry in zip(asked["datasets"], self.datasets, strict=True):
            dataset["filters"] = entry.filters.asked()
            dataset["split"] = entry.asked_split()
        for generator in asked["generators"]:
            del generator["limits"]
            if generator.pop("torch_profile", False):
                generator["profile"] = True  # its name in digests of earlier builds
        return digest_of(asked)

    def to_yaml(self) -> str:
        """The suite as YAML that `load_suite` reads again as the same."""
        return write_yaml(self.model_dump())

    def describe(self) -> str:
        """The plan for people: what is run how often, and what is left out and why."""
        lines = [f"{self.name}: {self.title}" if self.title else self.name]
        datasets: list[list[str]] = []
        for dataset in self.datasets:
            told = (
                f"  dataset    {dataset.label}"
                + (f" ({dataset.name})" if dataset.name != dataset.label else "")
                + f", {len(dataset.contigs)} contigs" * bool(dataset.contigs)
                + f": MAF >= {dataset.filters.min_maf:g}, {dataset.split}"
            )
            if dataset.split.fold > 1 and datasets:
                datasets[-1].append(told)
            else:
                datasets.append([told])
        for folds in datasets:
            if len(folds) > _FOLDS_TOLD:
                folds[1:-1] = [f"             and so on, {len(folds)} folds in all"]
            lines += folds
        ready = [entry for entry in self.generators if not entry.missing]
        for generator in self.generators:
            name = f" ({generator.name})" if generator.name != generator.label else ""
            seeds = ", ".join(map(str, generator.seeds))
            ranks = ""
            if generator.world_size != (1,):
                sizes = ", ".join(map(str, generator.world_size))
                weak = ", weak" if generator.scaling.mode == "weak" else ""
                ranks = f", world size {sizes} ({generator.backend}{weak})"
            where = f", on {', '.join(generator.datasets)}" if generator.datasets else ""
            lines.append(
                f"  {generator.role:10s} {generator.label}{name}: "
                + (
                    f"left out, needs {'; '.join(generator.missing)}"
                    if generator.missing
                    else f"seed{'s' if len(generator.seeds) > 1 else ''} {seeds}{ranks}{where}"
                )
            )
        metrics = ", ".join(entry.name for entry in self.metrics if not entry.missing)
        lines.append(f"  metrics    {metrics or 'none'}")
        lines += [
            f"  metric     {entry.name}: left out, needs {'; '.join(entry.missing)}"
            for entry in self.metrics
            if entry.missing
        ]
        # A genome's cells are those of its contigs and one that is judged whole.
        parts = {dataset.label: 1 + len(dataset.contigs) for dataset in self.datasets}
        floors = sum(parts.values())
        cells = floors + sum(
            len(entry.seeds)
            * len(entry.world_size)
            * sum(n for label, n in parts.items() if entry.fits(label))
            for entry in ready
        )
        lines.append(
            f"  {cells} cells: {floors} of the floor ({self.floor.draws} draws), "
            f"{cells - floors} of generators ({self.sample.draws} draws each, "
            f"{self.sample.haplotypes} haplotypes)"
        )
        if self.shadows:
            more = f"{self.shadows} more fits of each on random halves of all people"
            lines.append(f"  shadows    {more}")
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
