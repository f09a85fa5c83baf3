"""People who withdrew are neither trained on nor held out, whatever the generator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from haplobench import BenchError, SuiteError
from haplobench.registry import load_registry
from haplobench.runner.jobs import Job
from haplobench.runner.prepared import Prepared
from haplobench.runner.stage_prepare import prepare
from haplobench.suite import Suite, load_suite
from haplobench.testing import example_context, example_panel

REGISTRY = load_registry()
SUITE = """
name: withdrawn
datasets:
  - {name: embedded, params: {region: "20:1000000-1030000"}}
generators: [markov]
"""


def prepared(folder: Path, filters: dict[str, Any]) -> Prepared:
    output = folder / "output"
    output.mkdir(parents=True)
    job = Job(
        stage="prepare",
        plugins=("haplobench.datasets",),
        output=str(output),
        scratch=str(folder),
        artifacts=str(folder),
        status=str(folder / "status"),
        error=str(folder / "error"),
        time_limit=60,
        name="embedded",
        params={"region": "20:1000000-1030000"},
        settings={
            "filters": {"min_maf": 0.05, "max_missing": 0} | filters,
            "split": {"holdout": 0.2, "validation": 0.1, "seed": 1},
        },
    )
    prepare(job, REGISTRY, example_context(folder, example_panel(4, n_sites=4)))
    return Prepared.load(output)


def suite(tmp_path: Path, *overrides: str) -> Suite:
    path = tmp_path / "s.yaml"
    path.write_text(SUITE)
    return load_suite(path, overrides, REGISTRY)


def test_they_are_on_neither_side(tmp_path: Path) -> None:
    everybody = prepared(tmp_path / "all", {})
    gone = [str(everybody.train.samples[0]), str(everybody.holdout.samples[3])]
    left = prepared(tmp_path / "left", {"withdrawn": [*gone, "somebody else"]})
    there = np.concatenate([left.train.samples, left.holdout.samples])
    before = np.concatenate([everybody.train.samples, everybody.holdout.samples])
    assert sorted(set(before) - set(there)) == sorted(gone)
    with pytest.raises(BenchError, match="everybody in the panel withdrew"):
        prepared(tmp_path / "nobody", {"withdrawn": [str(name) for name in before]})


def test_a_list_and_a_file_are_the_same_suite_and_none_is_the_suite_as_ever(
    tmp_path: Path,
) -> None:
    plain = suite(tmp_path)
    listed = suite(tmp_path, "datasets[0].filters.withdrawn=[A1,B2]")
    names = tmp_path / "names.txt"
    names.write_text("B2\n\nA1\n")
    from_file = suite(tmp_path, f"datasets[0].filters.withdrawn={names}")
    assert listed.datasets[0].filters.withdrawn == ["A1", "B2"]
    assert from_file.digest == listed.digest != plain.digest
    assert "withdrawn:" not in plain.to_yaml()
    assert "withdrawn:" in listed.to_yaml()


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"filters\.withdrawn: nowhere\.txt: can't be read"):
        suite(tmp_path, "datasets[0].filters.withdrawn=nowhere.txt")
