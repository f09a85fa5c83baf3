"""Figures of association studies and scores: what they show, and that they render."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from haplobench import CohortSeries
from haplobench.report.style import FigureStyle
from haplobench_utility.association_figures import draw_accuracy, draw_effects

STYLE = FigureStyle(order=("good", "bad"))


def cohorts(table: str, each: dict[str, dict[str, Any]]) -> list[CohortSeries]:
    return [
        CohortSeries(label, "floor" if label == "floor" else "generator", 1, 0, {table: columns})
        for label, columns in each.items()
    ]


def rendered(chart: Any) -> tuple[list[dict[str, Any]], str]:
    """The chart's rows, and its picture."""
    converter = pytest.importorskip("vl_convert")
    spec = chart.to_dict()
    (rows,) = [spec["data"]["values"]] if "values" in spec["data"] else spec["datasets"].values()
    return rows, converter.vegalite_to_svg(json.dumps(spec))


def test_effects_of_every_cohort_have_a_panel() -> None:
    real = np.linspace(-0.5, 0.5, 11)
    each = {
        "good": {"real": real, "synthetic": real},
        "bad": {"real": real, "synthetic": real * 0},
        "floor": {"real": real, "synthetic": real * 0.9},
        "empty": {"real": real[:0], "synthetic": real[:0]},
    }
    rows, picture = rendered(draw_effects(cohorts("effects", each), STYLE))
    points = [row for row in rows if "end" not in row]
    assert {row["cohort"] for row in points} == {"good", "bad", "floor"}
    assert len(points) == 33
    assert all(label in picture for label in ("good", "bad", "floor"))
    assert draw_effects([], STYLE) is None


def test_accuracy_is_the_mean_of_draws_beside_real_panels() -> None:
    names = np.array(["everybody", "EUR"])
    tables = [
        {"superpopulation": names, "real": np.array([0.5, 0.4]), "synthetic": np.array([x, 0.2])}
        for x in (0.1, 0.3)
    ]
    series = [
        CohortSeries("good", "generator", 1, i, {"accuracy": t}) for i, t in enumerate(tables)
    ]
    rows, picture = rendered(draw_accuracy(series, STYLE))
    everybody = next(row for row in rows if row["group"] == "everybody")
    assert everybody["synthetic"] == pytest.approx(0.2)
    assert everybody["real"] == pytest.approx(0.5)
    assert "EUR" in picture
    assert draw_accuracy([], STYLE) is None
