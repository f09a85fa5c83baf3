"""A plugin of names alone, suites that name them, and how they are loaded."""

from __future__ import annotations

import datetime
import textwrap
import types
from pathlib import Path

import pytest

from haplobench import (
    Binary,
    DatasetSpec,
    GeneratorSpec,
    MetricSpec,
    Params,
    SubmetricSpec,
    SuiteError,
    hookimpl,
)
from haplobench.registry import Registry
from haplobench.suite.load import load_suite
from haplobench.suite.schema import Suite

LIST = "${LISTS}/list.txt"
DATE = datetime.date(2020, 2, 29)


class VAEParams(Params):
    window: int = 64
    latent_size: int = 16
    widths: tuple[int, ...] = (1, 2)


class BoundedParams(Params):
    bound: float = 1.0


class FileParams(Params):
    path: str
    odd: datetime.date | None = None


class KmerParams(Params):
    k: int = 21


def _submetric() -> tuple[SubmetricSpec, ...]:
    return (
        SubmetricSpec(name="x", title="x", definition="x", direction="info"),
        SubmetricSpec(name="auc", title="x", definition="x", direction="lower", evidence=True),
    )


def names_plugin() -> types.ModuleType:
    module = types.ModuleType("suite_test_plugin")

    def generators() -> list[GeneratorSpec]:
        def spec(name: str, params: type[Params] = Params, **more: object) -> GeneratorSpec:
            return GeneratorSpec(
                name=name, version="1", target="m:G", summary="S.", params=params, **more
            )

        return [
            spec("independent", control="Lower bound."),
            spec("copycat", control="Leak."),
            spec("vae-paper", VAEParams),
            spec("bounded", BoundedParams),
            spec("markov"),
            spec("parallel", distributed=True),
            spec("reads-art", needs=(Binary("no-such-art", "apt-get install art"),)),
        ]

    def metrics() -> list[MetricSpec]:
        def spec(name: str, **more: object) -> MetricSpec:
            return MetricSpec(
                name=name,
                version="1",
                target="m:M",
                summary="S.",
                family="fidelity",
                submetrics=_submetric(),
                **more,
            )

        return [
            spec("ld-decay"),
            spec("k-mers", params=KmerParams),
            spec("needy", needs=(Binary("no-such-mash", "apt-get install mash"),)),
        ]

    def datasets() -> list[DatasetSpec]:
        return [
            DatasetSpec(name="embedded", version="1", target="m:D", summary="S."),
            DatasetSpec(name="file", version="1", target="m:D", summary="S.", params=FileParams),
        ]

    module.haplobench_generators = hookimpl(generators)  # type: ignore[attr-defined]
    module.haplobench_metrics = hookimpl(metrics)  # type: ignore[attr-defined]
    module.haplobench_datasets = hookimpl(datasets)  # type: ignore[attr-defined]
    return module


GOOD = """\
name: good
title: A suite
seeds: [1, 2]
datasets:
  - name: embedded
    label: chr20
    filters: {min_maf: 0.05}
    split: {holdout: 0.25, validation: 10, seed: 7}
generators:
  - markov
  - name: vae-paper
    label: vae-256
    params: {window: 256}
    seeds: [5]
    limits: {time: 5m}
metrics: [ld-decay, {name: k-mers, params: {k: 11}}]
sample: {haplotypes: holdout, draws: 3, batch_size: 256}
floor: {draws: 4}
limits: {time: 10m, memory: 4GiB}
profiles:
  quick: {seeds: [1], sample: {draws: 1}}
"""


def load(
    tmp_path: Path, registry: Registry, text: str, *overrides: str, only: tuple[str, ...] = ()
) -> Suite:
    path = tmp_path / "s.yaml"
    path.write_text(textwrap.dedent(text))
    return load_suite(path, overrides, registry, only=only)


def problems(tmp_path: Path, registry: Registry, text: str, *overrides: str) -> list[str]:
    with pytest.raises(SuiteError) as caught:
        load(tmp_path, registry, text, *overrides)
    prefix = str(tmp_path / "s.yaml")
    return [problem.replace(prefix, "s.yaml") for problem in caught.value.problems]
