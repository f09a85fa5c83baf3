"""Figures of alleles and LD: drawn for many generators, small, and None without generators."""

from __future__ import annotations

import csv
import re
import subprocess
import sys

import numpy as np
import pytest
from founder_panels import Measure, founders_panel, independent_sites

from haplobench import CohortSeries, Panel, Reference
from haplobench.registry import resolve
from haplobench.report.style import FigureStyle
from haplobench.results.description import FigureInfo
from haplobench_fidelity import specs_haplotypes as haplotypes
from haplobench_fidelity import specs_sites as sites

FIGURES = [(metric.name, figure) for metric in sites.SPECS for figure in metric.figures]


@pytest.mark.parametrize(("metric", "figure"), FIGURES, ids=lambda item: getattr(item, "name", ""))
def test_figures_are_drawn(
    metric: str, figure: FigureInfo, founders: Reference, measure: Measure
) -> None:
    pytest.importorskip("vl_convert")
    from haplobench.report.figures import draw
    from haplobench.report.svg import clean

    labels = [f"generator-{i}" for i in range(12)]
    good = measure(metric, founders, founders_panel(150, 600, 4)).series
    bad = measure(metric, founders, independent_sites(founders.train, 300, 1)).series
    floor = [
        CohortSeries("floor", "floor", 0, i, measure(metric, founders, panel).series)
        for i, panel in enumerate([founders_panel(150, 600, seed) for seed in (5, 6)])
    ]
    cohorts = floor + [
        CohortSeries(label, "generator", seed, 0, bad if i % 2 else good)
        for i, label in enumerate(labels)
        for seed in (0, 1)
    ]
    style = FigureStyle(order=(*labels, "floor"))
    info = FigureInfo(figure.name, figure.title, figure.caption, figure.target)
    svg = draw(info, cohorts, style)
    assert svg is not None
    assert len(re.sub('data-csv="[^"]*"', "", clean(svg, interactive=True))) < 80_000
    for label in labels:
        assert f">{label}<" in svg
    assert draw(info, [], style) is None
    assert draw(info, [CohortSeries("generator-0", "generator", 0, 0, {})], style) is None


def test_heat_map_has_the_real_half_above(founders: Reference, measure: Measure) -> None:
    import base64
    import io

    from haplobench_fidelity.figures import _heat_map, _steps

    image = pytest.importorskip("PIL.Image")
    real = np.full((8, 8), 255, np.uint8)
    uri = _heat_map(_steps(real, np.zeros((8, 8), np.uint8)))
    png = image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGBA")
    above, below = png.getpixel((6, 1)), png.getpixel((1, 6))
    assert above[0] > 200  # yellow
    assert above[1] > 200
    assert below[1] < 40  # dark violet


def test_the_csv_of_a_heat_map_has_every_half_once() -> None:
    from haplobench_fidelity.figures import draw_heat_map

    rng = np.random.default_rng(1)
    halves = [rng.random((4, 4)) for _ in range(3)]
    real, *synthetic = ((255 * (one + one.T) / 2).round().astype(np.uint8) for one in halves)
    sites = np.array([10, 20, 40, 80])
    cohorts = [
        CohortSeries(
            label,
            "generator",
            1,
            0,
            {"heat_map": {"real_r2": real, "synthetic_r2": own, "position": sites}},
        )
        for label, own in zip(("one", "two"), synthetic, strict=True)
    ]
    chart = draw_heat_map(cohorts, FigureStyle(order=("one", "two")))
    assert chart is not None
    head, *lines = csv.reader(chart.to_dict()["usermeta"]["csv"].splitlines())
    assert head == ["generator", "position", "10", "20", "40", "80"]
    assert [line[0] for line in lines] == ["held-out"] * 4 + ["one"] * 4 + ["two"] * 4
    for block, table in zip(range(0, 12, 4), (real, *synthetic), strict=True):
        for i, (_, position, *texts) in enumerate(lines[block : block + 4]):
            assert position == str(sites[i])
            assert texts[i + 1 :] == [""] * (3 - i)
            assert list(map(float, texts[: i + 1])) == pytest.approx(
                table[i, : i + 1] / 255, abs=0.051
            )


def test_specs_import_nothing_heavy() -> None:
    code = (
        "import sys, haplobench_fidelity.specs_sites, haplobench_fidelity.specs_haplotypes;"
        "heavy = {'numba', 'scipy', 'altair', 'pandas', 'PIL'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", [spec.name for spec in haplotypes.SPECS if spec.figures])
def test_figures_of_haplotypes_draw_and_stay_small(
    name: str, reference: Reference, cohorts: dict[str, Panel], measure: Measure
) -> None:
    pytest.importorskip("altair")
    pytest.importorskip("vl_convert")
    from haplobench.report.figures import render_chart

    (spec,) = [spec for spec in haplotypes.SPECS if spec.name == name]
    series = [
        CohortSeries(
            label,
            "floor" if label == "floor" else "control",
            0,
            0,
            measure(name, reference, cohort).series,
        )
        for label, cohort in cohorts.items()
    ]
    style = FigureStyle(("copy", "independent"))
    for figure in spec.figures:
        draw = resolve(figure.target)
        assert draw([], style) is None
        chart = draw(series, style)
        svg = render_chart(chart, style)
        assert len(svg) < 100_000
        for label in cohorts:
            assert label in svg
