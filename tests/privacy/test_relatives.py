"""The excess of kinship among made-up relatives."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from haplobench import Panel, Reference
from haplobench.testing import example_context, example_panel
from haplobench_privacy.cohorts import cohorts
from haplobench_privacy.neighbours import kinship
from haplobench_privacy.specs.distances import DistanceParams


def child(panel: Panel, i: int, j: int) -> NDArray[np.int8]:
    """The two haplotypes of a child of two people, without recombination."""
    return panel.haplotypes[[2 * i, 2 * j]]


def test_dosages_are_the_panels(tmp_path: Path) -> None:
    panel = example_panel(12, n_sites=90, seed=2)
    data = cohorts(Reference(panel, panel), panel, 100, example_context(tmp_path, panel))
    np.testing.assert_array_equal(data.dosages(panel), panel.dosages())


def test_children_of_training_people_are_first_degree(tmp_path: Path) -> None:
    panel = example_panel(240, n_sites=1500, seed=9)
    train, holdout = (panel.select_samples(part) for part in np.split(np.arange(240), [160]))
    pairs = np.arange(160).reshape(-1, 2)
    children = np.concatenate([child(train, int(i), int(j)) for i, j in pairs])
    result = kinship(
        Reference(train, holdout),
        train.with_haplotypes(children),
        DistanceParams(),
        example_context(tmp_path, train),
    )
    found = {name: one.value for name, one in result.measurements.items()}  # type: ignore[union-attr]
    assert found["duplicates"] < 0.2
    assert found["first_degree"] > 0.75
    assert found["closer_than_unseen"] > 0.9  # type: ignore[operator]
