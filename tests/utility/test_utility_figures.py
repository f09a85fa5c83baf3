"""What the figures of the utility metrics show, and that they render."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from haplobench import CohortSeries
from haplobench.report.style import FigureStyle
from haplobench_utility.figures import (
    draw_accuracy,
    draw_augmentation,
    draw_confusion,
    draw_effects,
    draw_imputation,
    draw_scan,
    draw_sizes,
)

STYLE = FigureStyle(order=("good", "bad", "floor", "one", "two", "vae", "markov"))


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


def drawn_rows(chart) -> list[dict]:  # type: ignore[no-untyped-def, type-arg]
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
    drawn = drawn_rows(draw_imputation(cohorts, STYLE))
    assert {row["generator"] for row in drawn} == {"one"}
    assert [row["y"] for row in drawn if row["kind"] == "mean"] == [0.3, 0.8]
    assert [row["y"] for row in drawn if row["kind"] == "real"] == [0.4, 0.9]
    assert [row["y"] for row in drawn if row["kind"] == "floor"] == [0.45, 0.95]
    assert draw_imputation(cohorts[:1], STYLE) is None


def test_augmentation_starts_from_the_small_panel() -> None:
    table = {"added": np.array([0, 25, 60]), "r2": np.array([0.7, 0.72, 0.75])}
    cohorts = [CohortSeries("one", "generator", 1, 0, {"curve": table})]
    drawn = drawn_rows(draw_augmentation(cohorts, STYLE))
    assert [row["y"] for row in drawn if row["kind"] == "real"] == [0.7, 0.7, 0.7]
    assert [(row["x"], row["y"]) for row in drawn if row["kind"] == "mean"] == [
        (0, 0.7), (25, 0.72), (60, 0.75),
    ]  # fmt: skip
    assert draw_augmentation([], STYLE) is None


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
