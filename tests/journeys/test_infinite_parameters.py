"""A plugin whose parameters are infinite, by default and nested: its run goes on, and resumes."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

from haplobench.registry import load_registry
from haplobench.results.run_folder import RunFolder
from haplobench.runner.run import run_suite
from haplobench.suite.load import load_suite

PLUGIN = """
import json
import math
import numpy as np
from pydantic import BaseModel
from haplobench import (
    DatasetSpec, GeneratorSpec, LoadedDataset, Measurement, MetricResult, MetricSpec, Panel, Params,
    SubmetricSpec, hookimpl,
)


class Robust(BaseModel):
    norm_factor: float = 1.0
    table: dict[str, list[float]] = {}


class Infinite(Params):
    bounds: tuple[float, float] = (0, math.inf)
    robust: Robust = Robust()


class Dataset:
    def load(self, params, ctx):
        assert params.bounds[1] == math.inf, params
        haplotypes = ctx.rng("panel").integers(0, 2, (40, 30)).astype(np.int8)
        samples = np.array([f"p{i}" for i in range(20)])
        bases = {"ref": np.full(30, "A"), "alt": np.full(30, "C")}
        return LoadedDataset(Panel(haplotypes, 10 * np.arange(1, 31), "1", samples, **bases))

    def fingerprint(self, params):
        return repr(params)


class Fitted:
    def __init__(self, params, n):
        self.params, self.n = params, n

    def save(self, directory):
        (directory / "p.json").write_text(json.dumps([self.params.model_dump(), self.n]))

    def sample(self, request, ctx):
        assert self.params.bounds[1] == math.inf and math.isnan(self.params.robust.table["x"][1])
        yield ctx.rng("sample").integers(0, 2, (request.n_haplotypes, self.n)).astype(np.int8)


class Generator:
    def fit(self, train, params, ctx):
        assert params.robust.norm_factor == math.inf, params
        return Fitted(params, train.n_sites)

    def load(self, directory, ctx):
        params, n = json.loads((directory / "p.json").read_text())
        return Fitted(Infinite.model_validate(params), n)


class Mean:
    def __init__(self, reference, params, ctx):
        assert params.bounds == (0, math.inf), params

    def update(self, panel):
        self.mean = float(panel.haplotypes.mean())

    def result(self):
        return MetricResult({"mean": Measurement(self.mean)})


@hookimpl
def haplobench_datasets():
    return [DatasetSpec("boundless", "1", "boundless:Dataset", "S.", params=Infinite)]


@hookimpl
def haplobench_generators():
    return [GeneratorSpec("boundless", "1", "boundless:Generator", "S.", params=Infinite)]


@hookimpl
def haplobench_metrics():
    number = SubmetricSpec("mean", "Mean", "Mean.", "info")
    return [
        MetricSpec(
            "boundless", "1", "boundless:Mean", "S.", "fidelity", (number,), params=Infinite
        )
    ]
"""
SUITE = """
name: boundless
datasets: [boundless]
generators:
  - {name: boundless, params: {robust: {norm_factor: .inf, table: {x: [-.inf, .nan]}}}}
metrics: [boundless]
sample: {draws: 1}
floor: {draws: 1}
"""


def test_infinite_parameters_are_stored_and_a_run_with_them_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "boundless.py").write_text(PLUGIN)
    (tmp_path / "suite.yaml").write_text(SUITE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    importlib.invalidate_caches()
    registry = load_registry(["boundless"])
    assert not registry.broken
    suite = load_suite(tmp_path / "suite.yaml", (), registry)
    first = run_suite(suite, registry, tmp_path / "results")
    assert (first.failed, first.resumed) == ((), False)
    told = json.loads((first.run_folder / "run.json").read_text())
    assert told["generators"]["boundless"]["params"] == {
        "bounds": [0.0, "inf"],
        "robust": {"norm_factor": "inf", "table": {"x": ["-inf", "nan"]}},
    }
    # As a kill leaves it; and read from its own suite.yaml.
    (first.run_folder / "run.json").write_text(json.dumps(told | {"status": "running"}))
    resolved = load_suite(first.run_folder / "suite.yaml", (), registry)
    assert resolved.digest == suite.digest
    again = run_suite(resolved, registry, tmp_path / "results")
    assert (again.failed, again.resumed) == ((), True)
    values = [record.value for record in RunFolder(again.run_folder).records()]
    assert len(values) == 2
    assert all(value is not None and 0 < value < 1 for value in values)
