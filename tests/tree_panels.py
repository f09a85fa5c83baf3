"""Panels of msprime's tree sequences."""

from typing import Any

import numpy as np

from haplobench import Panel


def panel_of_trees(trees: Any) -> Panel:
    """Everybody of a tree sequence with binary mutations; of sites at one bp the first."""
    positions, first = np.unique(trees.tables.sites.position.astype(int) + 1, return_index=True)
    return Panel(
        np.ascontiguousarray(trees.genotype_matrix().astype(np.int8)[first].T),
        positions,
        "1",
        np.array([f"p{i}" for i in range(trees.num_individuals)]),
    )
