"""Shared fixtures: where the real data is, and a panel that every format can hold."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from toy_plugins import module_toys, shared_out, suite_text, toys

from haplobench import Panel

__all__ = ["module_toys", "shared_out", "suite_text", "toys"]

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the real 1000 Genomes files; skips, and says so, where it is absent."""
    folder = Path(os.environ.get("HAPLOBENCH_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "1kg_p3.panel.tsv").is_file():
        pytest.skip(f"real data absent: {folder} (set HAPLOBENCH_DATA)")
    return folder


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
