"""Run folders that the report's tests share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# The figures of the made-up metrics are named by module, as a plugin's are.
sys.path.insert(0, str(Path(__file__).parent))

from report_fixture import Drawn, build_run

from haplobench.report import figures
from haplobench.report.figures import draw_figures
from haplobench.report.model import Summary
from haplobench.report.summary import summarise
from haplobench.results.table import load_run

MADE_UP = {
    *(f"report_figures_fixture:draw_{name}" for name in ("curve", "broken", "nothing", "scatter")),
    "haplobench_no_such_plugin.figures:draw",
}


@pytest.fixture(scope="session", autouse=True)
def _installed() -> Iterator[None]:
    """Have the made-up metrics pass for installed ones: only their figures are drawn."""
    targets = figures.installed_targets() | MADE_UP
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "installed_targets", lambda: targets)
        yield


@pytest.fixture(scope="session")
def demo_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2 datasets, 8 generators with failures and n/a, 3 seeds x 3 draws, 10 floor draws."""
    return build_run(tmp_path_factory.mktemp("runs") / "demo")


@pytest.fixture(scope="session")
def demo(demo_run: Path) -> Summary:
    return summarise(load_run(demo_run))


@pytest.fixture(scope="session")
def drawn(demo: Summary) -> Drawn:
    """Figures of the demo, and those that could not be drawn."""
    return draw_figures(demo.run)
