"""A small panel; the benchmarks' modules can be imported."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from haplobench import Panel
from haplobench.testing import example_panel

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))


@pytest.fixture(scope="session")
def people() -> Panel:
    return example_panel(n_samples=48, n_sites=40, seed=3)
