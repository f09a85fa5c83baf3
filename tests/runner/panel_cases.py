"""Small panels to compare, and some that once failed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from haplobench import Panel
from haplobench.data.formats import ReadOptions, read_panel


def panel(n: int, seed: int, prefix: str = "p", n_sites: int = 60, **more: Any) -> Panel:
    rng = np.random.default_rng(seed)
    rows = (rng.random((2 * n, n_sites)) < np.linspace(0.2, 0.8, n_sites)).astype(np.int8)
    return Panel(
        rows,
        100 * np.arange(1, n_sites + 1),
        "20",
        np.array([f"{prefix}{i}" for i in range(n)]),
        ref=np.full(n_sites, "A"),
        alt=np.full(n_sites, "C"),
        **more,
    )


CASES = Path(__file__).parent / "cases"


def case(name: str) -> Panel:
    """A small panel that once failed, from `cases/`: simulated with msprime, two populations."""
    read, _ = read_panel(CASES / f"{name}.vcf.gz", ReadOptions(max_missing=1.0))
    return read


REAL, TRAIN, SYNTHETIC = panel(12, 1, "r"), panel(20, 2, "t"), panel(10, 3, "s")
