"""Figures of ancestry, selection and demography draw what the series hold."""

from __future__ import annotations

import numpy as np
import pytest

from haplobench import CohortSeries
from haplobench.report.style import FigureStyle
from haplobench_utility.structure_figures import draw_confusion, draw_scan, draw_sizes

STYLE = FigureStyle(order=("vae", "markov"))


def test_confusion_is_the_mean_over_draws_and_leaves_out_who_calls_nobody() -> None:
    def cohort(label: str, replicate: int, right: float) -> CohortSeries:
        table = {
            "truth": np.array(["AFR", "AFR", "EUR", "EUR"]),
            "called": np.array(["AFR", "EUR", "AFR", "EUR"]),
            "share": np.array([right, 1 - right, 1 - right, right]),
        }
        role = "floor" if label == "floor" else "generator"
        return CohortSeries(label, role, 1, replicate, {"confusion": table})

    nobody = cohort("markov", 0, np.nan)
    assert draw_confusion([nobody], STYLE) is None
    chart = draw_confusion([cohort("vae", 0, 1), cohort("vae", 1, 0.5), nobody], STYLE)
    assert chart is not None
    rows = chart.to_dict()["data"]["values"]
    assert {row["cohort"] for row in rows} == {"vae"}
    shares = {(row["truth"], row["called"]): row["percent"] for row in rows}
    assert shares == {
        ("AFR", "AFR"): 75,
        ("AFR", "EUR"): 25,
        ("EUR", "AFR"): 25,
        ("EUR", "EUR"): 75,
    }


def test_a_scan_is_drawn_once_for_each_generator() -> None:
    def cohort(label: str, role: str, replicate: int) -> CohortSeries:
        table = {
            "start_bp": np.arange(1, 2_000_001, 5_000),
            "real_h12": np.linspace(0, 1, 400),
            "synthetic_h12": np.full(400, 0.25),
        }
        return CohortSeries(label, role, 1, replicate, {"windows": table})  # type: ignore[arg-type]

    floor = cohort("floor", "floor", 0)
    assert draw_scan([floor], STYLE) is None
    vae = [cohort("vae", "generator", replicate) for replicate in range(2)]
    chart = draw_scan([floor, *vae, cohort("markov", "generator", 0)], STYLE)
    assert chart is not None
    rows = chart.to_dict()["data"]["values"]
    assert len(rows) == 2 * 2 * 160
    assert {row["y"] for row in rows if row["kind"] == "synthetic"} == {0.25}


def test_sizes_are_geometric_means_over_draws() -> None:
    def cohort(role: str, replicate: int, size: float) -> CohortSeries:
        table = {"generations": np.array([100.0]), "real": np.array([5e3])}
        table["synthetic"] = np.array([size])
        return CohortSeries("vae", role, 1, replicate, {"size": table})  # type: ignore[arg-type]

    assert draw_sizes([cohort("floor", 0, 1e4)], STYLE) is None
    chart = draw_sizes([cohort("generator", 0, 1e3), cohort("generator", 1, 1e5)], STYLE)
    assert chart is not None
    rows = {row["kind"]: row["y"] for row in chart.to_dict()["data"]["values"]}
    assert rows == {"real": pytest.approx(5e3), "synthetic": pytest.approx(1e4)}
