"""Figures: one look, one colour per generator, and a broken one costs only itself."""

from __future__ import annotations

import io
import re
import shutil
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from report_fixture import Drawn, build_run

from haplobench.errors import BenchError
from haplobench.report import figures
from haplobench.report.figures import draw, draw_figures, figure_style, slug
from haplobench.report.model import Summary
from haplobench.report.style import FLOOR_COLOUR, INK, PALETTE, FigureStyle
from haplobench.report.svg import clean, size, to_png
from haplobench.results.description import FigureInfo
from haplobench.results.table import load_run

# Machado, Oliveira and Fernandes (2009), severity 1, in linear RGB.
DEFICIENCIES = {
    "none": np.eye(3),
    "protan": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                        [-0.003882, -0.048116, 1.051998]]),
    "deutan": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                        [-0.011820, 0.042940, 0.968881]]),
    "tritan": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                        [0.004733, 0.691367, 0.303900]]),
}  # fmt: skip


def linear(colour: str) -> NDArray[np.float64]:
    channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def oklab(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """Björn Ottosson's perceptual space: distances below about 0.02 are hard to see."""
    lms = np.array([[0.4122214708, 0.5363325363, 0.0514459929],
                    [0.2119034982, 0.6806995451, 0.1073969566],
                    [0.0883024619, 0.2817188376, 0.6299787005]])  # fmt: skip
    lab = np.array([[0.2104542553, 0.7936177850, -0.0040720468],
                    [1.9779984951, -2.4285922050, 0.4505937099],
                    [0.0259040371, 0.7827717662, -0.8086757660]])  # fmt: skip
    return np.asarray(lab @ np.cbrt(lms @ np.clip(rgb, 0, 1)))


def contrast(colour: str, ground: str) -> float:
    weights = np.array([0.2126, 0.7152, 0.0722])
    light, dark = sorted((float(weights @ linear(c)) for c in (colour, ground)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


LABELS = tuple(f"g{i}" for i in range(24))
STYLE = FigureStyle(order=LABELS)


def test_many_generators_are_told_apart_without_full_colour_sight() -> None:
    assert len({STYLE.colour(label) for label in LABELS}) == len(LABELS)
    for a, b in combinations(LABELS, 2):
        differ = STYLE.dash(a) != STYLE.dash(b) or STYLE.shape(a) != STYLE.shape(b)
        nearest = min(
            float(
                np.linalg.norm(
                    oklab(m @ linear(STYLE.colour(a))) - oklab(m @ linear(STYLE.colour(b)))
                )
            )
            for m in DEFICIENCIES.values()
        )
        assert nearest > 0.06 or differ, (a, b, nearest)


@pytest.mark.parametrize("ground", ["#ffffff", "#14181d"])
def test_colours_stand_out_on_light_and_dark(ground: str) -> None:
    for colour in PALETTE:
        assert contrast(colour, ground) >= 2.5, colour
    assert contrast(FLOOR_COLOUR, ground) >= 3
    assert contrast(INK, ground) >= 3.9  # figures in files of their own, on any page


def test_floor_is_grey_and_unknown_labels_keep_their_colour() -> None:
    assert STYLE.colour("floor") == FLOOR_COLOUR
    other = FigureStyle(order=("a",))
    assert other.colour("unheard of") == STYLE.colour("unheard of")
    assert STYLE.scale(["g2", "floor", "g1"]).to_dict() == {
        "domain": ["floor", "g1", "g2"],
        "range": [FLOOR_COLOUR, PALETTE[1], PALETTE[2]],
    }
    assert STYLE.dash_scale(["g1"]).to_dict()["range"] == [list(STYLE.dash("g1"))]
    assert STYLE.shape_scale(["g1"]).to_dict()["range"] == [STYLE.shape("g1")]


def test_broken_absent_and_empty_figures_cost_only_themselves(drawn: Drawn) -> None:
    figures, problems = drawn
    assert [(f.dataset, f.metric, f.name) for f in figures] == [
        (dataset, metric, name)
        for dataset in ("chr20-eur", "chr1")
        for metric, name in (("ld-decay", "curve"), ("ld-matrix", "scatter"))
    ]
    reasons = {(p.dataset, p.name): p.reason for p in problems}
    assert set(reasons) == {(d, n) for d in ("chr20-eur", "chr1") for n in ("bad", "gone")}
    assert reasons["chr1", "bad"] == "RuntimeError: division by zero people"
    assert "can't be imported" in reasons["chr1", "gone"]


def test_a_figure_whose_code_has_moved_since_the_run_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = load_run(build_run(tmp_path / "run"))
    (metric, figure), *_ = [
        (metric, figure)
        for metric in run.metrics.values()
        for figure in metric.figures
        if figure.target.endswith(":draw_curve")
    ]
    moved = replace(figure, target="haplobench_fidelity.an_old_module:draw_curve")
    run = replace(run, metrics={metric.name: replace(metric, figures=(moved,))})
    monkeypatch.setattr(figures, "current_figures", dict)
    drawn, problems = draw_figures(run)
    assert not drawn
    assert {problem.name for problem in problems} == {figure.name}
    now = {(metric.name, figure.name): replace(figure, title="As it is called today")}
    monkeypatch.setattr(figures, "current_figures", lambda: now)
    drawn, problems = draw_figures(run)
    assert {(one.name, one.title) for one in drawn} == {(figure.name, "As it is called today")}
    assert not problems


def test_a_generator_has_one_colour_in_all_figures(demo: Summary, drawn: Drawn) -> None:
    style = figure_style(demo.run)
    for figure in drawn[0]:
        for label in ("patchwork", "network", "floor"):
            assert style.colour(label) in figure.svg, (figure.file, label)


def test_missing_and_foreign_series_are_named_not_read(tmp_path: Path) -> None:
    folder = build_run(tmp_path / "run")
    shutil.rmtree(folder / "series" / "chr1-network-1")
    lines = (folder / "records.jsonl").read_text()
    outside = lines.replace("series/chr1-network-2/", "../series/chr1-network-2/")
    (folder / "records.jsonl").write_text(outside)
    shutil.copytree(folder / "series", tmp_path / "series")
    figures, problems = draw_figures(load_run(folder))
    assert len(figures) == 4
    told = [str(p) for p in problems if p.name == "(all)"]
    assert len(told) == 2
    assert all("6 series missing or unreadable" in line for line in told)


def test_a_figure_may_load_nothing() -> None:
    info = FigureInfo("f", "F", "c", "test_report_figures:draw_remote")
    with pytest.raises(BenchError, match="not allowed"):
        draw(info, [], STYLE)
    with pytest.raises(BenchError, match="expected an altair chart, found str"):
        draw(FigureInfo("f", "F", "c", "test_report_figures:draw_text"), [], STYLE)


def draw_remote(cohorts: object, style: FigureStyle) -> object:
    import altair as alt

    data = alt.UrlData(url="https://example.org/data.csv")
    return alt.Chart(data).mark_point().encode(x="x:Q")


def draw_text(cohorts: object, style: FigureStyle) -> str:
    return "chart"


SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
    'width="10" height="20" viewBox="0 0 10 20"><defs><clipPath id="clip1"><rect/></clipPath>'
    '<linearGradient id="g"/></defs><script>alert(1)</script>'
    '<g clip-path="url(#clip1)" onclick="x()">'
    '<path d="M1.23456,2.5L0.0001,1e-7" fill="url(\'#g\')"/>'
    '<text fill="#000" aria-label="t">a &lt; b</text><use xlink:href="#clip1"/>'
    '<image href="https://example.org/x.png"/><image href="data:image/png;base64,AAAA"/></g></svg>'
)


def test_clean_makes_ids_unique_and_drops_what_acts_or_loads() -> None:
    text = clean(SVG, prefix="f7-", ink="currentColor", label='A "b" <c>')
    root = ElementTree.fromstring(text)
    ids = {e.get("id") for e in root.iter()} - {None}
    assert ids == {"f7-clip1", "f7-g"}
    assert set(re.findall(r"url\(#([^)]+)\)", text)) == {"f7-clip1", "f7-g"}
    assert 'xlink:href="#f7-clip1"' in text
    assert "script" not in text
    assert "onclick" not in text
    assert "example.org" not in text
    assert "data:image/png;base64,AAAA" in text
    assert 'fill="currentColor"' in text
    assert "M1.23,2.5" in text
    assert root.get("aria-label") == 'A "b" <c>'
    assert size(text) == (10.0, 20.0)


def test_png_keeps_colours_and_transparency() -> None:
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="30" height="10" viewBox="0 0 30 10">'
        '<rect width="10" height="10" fill="#c2334d"/>'
        '<rect x="10" width="10" height="10" fill="#8b949e" fill-opacity="0.5"/></svg>'
    )
    image = Image.open(io.BytesIO(to_png(svg, scale=1.0))).convert("RGBA")
    pixels = np.asarray(image, np.int64)[5, [5, 15, 25]]
    assert np.abs(pixels[0] - [0xC2, 0x33, 0x4D, 255]).max() <= 6
    assert np.abs(pixels[1] - [0x8B, 0x94, 0x9E, 128]).max() <= 8
    assert pixels[2, 3] == 0


def test_file_names_are_never_paths() -> None:
    assert slug("../../etc/passwd") == "etc-passwd"
    assert slug("") == "unnamed"
    assert slug("chr20 EUR (b37)") == "chr20-EUR-b37"
