"""A panel that every format can hold."""

from __future__ import annotations

import numpy as np
import pytest

from haplobench import Panel


@pytest.fixture
def small_panel() -> Panel:
    """Five people at six sites of 20."""
    rng = np.random.default_rng(2)
    return Panel(
        haplotypes=rng.integers(0, 2, (10, 6)).astype(np.int8),
        positions=np.arange(10, 70, 10),
        contig="20",
        samples=np.array(list("ABCDE")),
        ref=np.full(6, "A"),
        alt=np.full(6, "C"),
    )
