"""The suites of examples/programs: other people's generators, run for real where they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from command_cases import need

from haplobench import Panel, SampleRequest, read_panel
from haplobench.registry import load_registry
from haplobench.suite.load import load_suite
from haplobench.testing import example_context
from haplobench_command import SPECS
from haplobench_command.generator import CommandGenerator

FOLDER = Path(__file__).parents[2] / "examples" / "programs"
REGISTRY = load_registry()
GENERATORS = {
    generator["label"]: generator
    for path in sorted(FOLDER.glob("*.yaml"))
    for generator in yaml.safe_load(path.read_text())["generators"]
}


@pytest.fixture(scope="module")
def train() -> Panel:
    panel = read_panel("embedded", region="20:1000000-1200000")
    panel = panel.select_samples(np.arange(0, 300, 5))
    return panel.select_sites(panel.common_sites(0.05))


def draw(program: str, train: Panel, folder: Path, seed: int = 1) -> Any:
    """Forty haplotypes of the generator of that label."""
    need(program)
    generator = GENERATORS[program]
    params = {spec.name: spec for spec in SPECS}[generator["name"]].params(**generator["params"])
    ctx = example_context(folder, train, seed)
    return list(CommandGenerator().fit(train, params, ctx).sample(SampleRequest(40), ctx))


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_suites_are_valid(path: Path) -> None:
    assert load_suite(str(path), [], REGISTRY).name == path.stem


@pytest.mark.parametrize("program", ["scrm", "mspms"])
def test_simulators_have_sites_of_their_own(program: str, train: Panel, tmp_path: Path) -> None:
    (cohort,) = draw(program, train, tmp_path / "a")
    (again,) = draw(program, train, tmp_path / "b")
    (other,) = draw(program, train, tmp_path / "c", seed=2)
    assert cohort.n_haplotypes == 40
    assert train.positions[0] <= cohort.positions[0] < cohort.positions[-1] <= train.positions[-1]
    np.testing.assert_array_equal(cohort.haplotypes, again.haplotypes)
    assert not np.array_equal(cohort.positions, other.positions)
    # Watterson's expectation for theta = 250, whatever the recombination; mspms' people were fewer.
    expected = 250 * (1 / np.arange(1, 40)).sum()
    assert 0.3 * expected < cohort.n_sites < 1.4 * expected


@pytest.mark.parametrize("program", ["genomator", "haptools"])
def test_generators_fill_the_sites_of_the_panel(program: str, train: Panel, tmp_path: Path) -> None:
    made, again, other = (
        np.concatenate(draw(program, train, tmp_path / str(i), seed))
        for i, seed in enumerate((1, 1, 2))
    )
    assert made.shape == (40, train.n_sites)
    np.testing.assert_array_equal(made, again)
    assert not np.array_equal(made, other)
    assert np.corrcoef(made.mean(axis=0), train.frequencies)[0, 1] > 0.8
