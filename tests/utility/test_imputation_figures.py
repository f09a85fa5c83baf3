"""What the figures of imputation draw."""

from __future__ import annotations

import numpy as np

from haplobench import CohortSeries
from haplobench.report.style import FigureStyle
from haplobench_utility.imputation_figures import draw_augmentation, draw_imputation

STYLE = FigureStyle(("floor", "one", "two"))


def rows(chart) -> list[dict]:  # type: ignore[no-untyped-def, type-arg]
    return chart.to_dict()["data"]["values"]


def test_imputation_by_maf() -> None:
    table = {
        "maf": np.array([0.005, 0.2]),
        "real_r2": np.array([0.4, 0.9]),
        "synthetic_r2": np.array([0.3, 0.8]),
        "sites": np.array([3.0, 5.0]),
    }
    floor = {**table, "synthetic_r2": np.array([0.45, 0.95])}
    cohorts = [
        CohortSeries("floor", "floor", 1, 0, {"by_maf": floor}),
        CohortSeries("one", "generator", 1, 0, {"by_maf": table}),
        CohortSeries("two", "generator", 1, 0, {}),
    ]
    drawn = rows(draw_imputation(cohorts, STYLE))
    assert {row["generator"] for row in drawn} == {"one"}
    assert [row["y"] for row in drawn if row["kind"] == "mean"] == [0.3, 0.8]
    assert [row["y"] for row in drawn if row["kind"] == "real"] == [0.4, 0.9]
    assert [row["y"] for row in drawn if row["kind"] == "floor"] == [0.45, 0.95]
    assert draw_imputation(cohorts[:1], STYLE) is None


def test_augmentation_starts_from_the_small_panel() -> None:
    table = {"added": np.array([0, 25, 60]), "r2": np.array([0.7, 0.72, 0.75])}
    cohorts = [CohortSeries("one", "generator", 1, 0, {"curve": table})]
    drawn = rows(draw_augmentation(cohorts, STYLE))
    assert [row["y"] for row in drawn if row["kind"] == "real"] == [0.7, 0.7, 0.7]
    assert [(row["x"], row["y"]) for row in drawn if row["kind"] == "mean"] == [
        (0, 0.7), (25, 0.72), (60, 0.75),
    ]  # fmt: skip
    assert draw_augmentation([], STYLE) is None
