"""A suite as resolved: profile and overrides applied, controls added, parameters complete."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from haplobench.data.consent import PeopleList
from haplobench.suite.compare_settings import CompareSettings
from haplobench.suite.schema import (
    ExecutorSettings,
    Filters,
    FloorSettings,
    Limits,
    SampleSettings,
    ScalingSettings,
    SplitSettings,
)
from haplobench.suite.source import write_yaml
from haplobench.units import format_duration, format_size


def digest_of(value: object) -> str:
    """SHA-256 (hex) of a value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class DatasetEntry:
    """A dataset of a resolved suite.

    `params` are validated and complete, with environment variables expanded; `asked` are
    those the file gives, unexpanded: the same on every machine. `withdrawn` is the list that
    the filters name; it is in no digest of what was asked and in nothing that is written. `listed`
    are the lists of people of the split, by its keys.
    """

    label: str
    name: str
    params: Mapping[str, Any]
    asked: Mapping[str, Any]
    filters: Filters
    split: SplitSettings
    withdrawn: PeopleList | None = None
    listed: Mapping[str, PeopleList] = field(default_factory=dict)

    def asked_split(self) -> dict[str, Any]:
        """The split as digests of what was asked hold it: of a list of people its content's."""
        digests = {key: people.digest for key, people in self.listed.items()}
        return self.split.model_dump() | digests


@dataclass(frozen=True)
class GeneratorEntry:
    """A generator of a resolved suite.

    `role` is `generator` or `control`; `params` are validated and complete; `missing` says
    what this machine lacks of its needs (empty: ready), and `optional` that this is fine;
    `fingerprint` identifies files that the parameters name. `world_sizes`: a cell for each.
    `train_share`: the share of the training people on whom it is fitted, and of the haplotypes it
    samples.
    """

    label: str
    name: str
    role: Literal["generator", "control", "subsample"]
    params: Mapping[str, Any]
    seeds: tuple[int, ...]
    world_sizes: tuple[int, ...] = (1,)
    backend: Literal["torch", "horovod"] = "torch"
    scaling: ScalingSettings = field(default_factory=ScalingSettings)
    train_share: float = 1.0
    torch_profile: bool = False
    limits: Limits = field(default_factory=Limits)
    missing: tuple[str, ...] = ()
    optional: bool = False
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
    optional: bool = False


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
            dataset["filters"] = entry.filters.asked()
            dataset["split"] = entry.asked_split()
        for generator in asked["generators"]:
            del generator["limits"]
        return digest_of(asked)

    def as_dict(self) -> dict[str, Any]:
        """The suite as plain values, in the keys of the YAML.

        A dataset's parameters are those asked for, their environment variables unexpanded: so
        that the same is asked wherever the values are loaded again.
        """
        return {
            "name": self.name,
            "title": self.title,
            "seeds": list(self.seeds),
            "datasets": [
                {
                    "name": entry.name,
                    "label": entry.label,
                    "params": dict(entry.asked),
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
                    **({"torch_profile": True} if entry.torch_profile else {}),
                    "limits": entry.limits.model_dump(),
                    "optional": entry.optional,
                }
                for entry in self.generators
            ],
            "metrics": [
                {
                    "name": entry.name,
                    "params": dict(entry.params),
                    "optional": entry.optional,
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
        """The resolved suite as YAML that `load_suite` reads again as the same."""
        return write_yaml(self.as_dict())

    def describe(self) -> str:
        """The plan for people: what is run how often, and what is left out and why."""
        lines = [f"{self.name}: {self.title}" if self.title else self.name]
        for dataset in self.datasets:
            split = dataset.split
            lines.append(
                f"  dataset    {dataset.label}"
                + (f" ({dataset.name})" if dataset.name != dataset.label else "")
                + f": MAF >= {dataset.filters.min_maf:g}, {split}"
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
