"""Steps between people reach metrics; an explorable generator that fails costs nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from haplobench import GeneratorSpec, Panel, RunContext
from haplobench.data.prepared import PATHS
from haplobench.runner.worker.measure import metric_context
from haplobench.runner.worker.sample import save_paths
from haplobench.testing import example_context, example_panel
from haplobench.testing.panels import without_labels

SPEC = GeneratorSpec(name="toy", version="1", target="toy:Toy", summary="A toy.")


class Explorer:
    """Goes from one to the other at once, halfway; or gives what it shouldn't."""

    def __init__(self, steps_less: int = 0) -> None:
        self.steps_less = steps_less
        self.asked: list[tuple[Panel, Panel]] = []

    def encode(self, panel: Panel, ctx: RunContext) -> NDArray[np.generic]:
        return panel.haplotypes

    def interpolate(
        self, first: Panel, second: Panel, steps: int, ctx: RunContext
    ) -> NDArray[np.int8]:
        self.asked.append((first, second))
        sides = first.haplotypes, second.haplotypes
        return np.stack([sides[2 * i >= steps] for i in range(steps - self.steps_less)])

    def traverse(
        self, panel: Panel, dimension: int, steps: int, ctx: RunContext
    ) -> NDArray[np.int8]:
        return np.stack([panel.haplotypes] * steps)


def paths(ctx: RunContext, folder: Path) -> tuple[Panel, ...]:
    source = {"kind": "sample", "folder": str(folder)}
    return metric_context(ctx, cast(Any, None), source).paths


def test_steps_between_people_of_different_labels_are_kept(tmp_path: Path) -> None:
    panel = example_panel(n_samples=60, n_sites=30)
    ctx = example_context(tmp_path, panel)
    explorer = Explorer()
    save_paths(explorer, SPEC, panel, ctx, tmp_path / PATHS)
    ((first, second),) = explorer.asked
    found = paths(ctx, tmp_path)
    assert len(found) == first.n_samples > 4
    assert not set(first.samples) & set(second.samples)
    for i, path in enumerate(found):
        assert path.n_samples == 9
        ends = [side.haplotypes[2 * i : 2 * i + 2] for side in (first, second)]
        np.testing.assert_array_equal(path.haplotypes[:2], ends[0])
        np.testing.assert_array_equal(path.haplotypes[-2:], ends[1])
        np.testing.assert_array_equal(path.haplotypes[6:8], ends[0])
        assert first.population[i] != second.population[i]


def test_a_generator_that_gives_something_else_has_no_paths(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    panel = example_panel(n_samples=20, n_sites=10)
    ctx = example_context(tmp_path, panel)
    save_paths(Explorer(steps_less=1), SPEC, panel, ctx, tmp_path / PATHS)
    assert paths(ctx, tmp_path) == ()
    assert "interpolate() gave shape (8, " in caplog.text


def test_one_population_has_no_paths(tmp_path: Path) -> None:
    panel = without_labels(example_panel(n_samples=20, n_sites=10))
    ctx = example_context(tmp_path, panel)
    explorer = Explorer()
    save_paths(explorer, SPEC, panel, ctx, tmp_path / PATHS)
    assert not explorer.asked
    assert paths(ctx, tmp_path) == ()
