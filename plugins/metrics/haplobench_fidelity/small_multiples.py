"""Small multiples: one panel per generator, curves over the floor's range, pictures as PNG."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from haplobench import CohortSeries
from haplobench.report.style import FLOOR_COLOUR, FigureStyle

Curve = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
# x, y and colours: (n,) float and (n,) str hex, or one hex colour for all.
Layer = tuple[NDArray[np.floating], NDArray[np.floating], Sequence[str] | str]
Domain = tuple[float, float]
# Panels side by side, and their size: of images, and of curves.
_COLUMNS = 4
_SIDE = 150
_WIDTH, _HEIGHT = 150, 110
# More would double the size of the file for little: SVG writers embed an image twice.
_SCALE = 1.5
_RADIUS = 1.6


def scatter(
    panels: Mapping[str, Sequence[Layer]],
    *,
    titles: tuple[str, str],
    domains: tuple[Domain, Domain],
    legend: Mapping[str, str] | None = None,
    diagonal: bool = False,
) -> alt.TopLevelMixin:
    """Points drawn into one transparent PNG per panel, on axes that all share.

    `panels` are layers by title, the first one lowest; `titles` and `domains` are those of x and
    y; `legend` maps labels to hex colours.
    """
    urls = {title: _draw(layers, domains) for title, layers in panels.items()}
    return facets(urls, titles=titles, domains=domains, legend=legend, diagonal=diagonal)


def facets(
    urls: Mapping[str, str],
    *,
    titles: tuple[str, str],
    domains: tuple[Domain, Domain],
    legend: Mapping[str, str] | None = None,
    diagonal: bool = False,
    grid: bool = True,
) -> alt.TopLevelMixin:
    """Images (data URIs by panel title) as small multiples under shared axes."""
    (left, right), (low, high) = domains
    labels = list(legend) if legend else [""]
    rows = [
        {"panel": title, "url": url, "x": left, "y": low, "x2": right, "y2": high}
        for title, url in urls.items()
    ]
    # Invisible points carry the legend (in the first panel) and the axes (in all).
    corners = [
        {"panel": row["panel"], "x": left, "y": low, "label": label, "kind": "point"}
        for i, row in enumerate(rows)
        for label in (labels if i == 0 else labels[:1])
    ]
    x = alt.X("x:Q", title=titles[0], scale=alt.Scale(domain=[left, right], nice=False))
    y = alt.Y("y:Q", title=titles[1], scale=alt.Scale(domain=[low, high], nice=False))
    x, y = x.axis(tickCount=4, grid=grid), y.axis(tickCount=4, grid=grid)
    # All layers share one data set, or facets could not split them.
    data = alt.InlineData(values=[*(row | {"kind": "image"} for row in rows), *corners])
    points = (
        alt.Chart()
        .transform_filter("datum.kind == 'point'")
        .mark_point(opacity=0, filled=True)
        .encode(x=x, y=y)
    )
    if legend:
        points = points.encode(
            color=alt.Color(
                "label:N",
                title=None,
                scale=alt.Scale(domain=labels, range=list(legend.values())),
                legend=alt.Legend(symbolOpacity=1, symbolType="circle"),
            )
        )
    images = (
        alt.Chart()
        .transform_filter("datum.kind == 'image'")
        .mark_image(width=_SIDE, height=_SIDE)
        .encode(x=alt.value(_SIDE / 2), y=alt.value(_SIDE / 2), url="url:N")
    )
    layers = [images, points]
    if diagonal:
        rule = alt.Chart().transform_filter("datum.kind == 'image'").mark_rule(strokeDash=[3, 3])
        layers.insert(0, rule.encode(x=x, y=y, x2="x2:Q", y2="y2:Q"))
    chart: alt.TopLevelMixin = (
        alt.layer(*layers, data=data)
        .properties(width=_SIDE, height=_SIDE)
        .facet(alt.Facet("panel:N", title=None, sort=list(urls)), columns=_COLUMNS)
    )
    return chart


def png(image: Image.Image) -> str:
    """An image as a PNG data URI."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _draw(layers: Sequence[Layer], domains: tuple[Domain, Domain]) -> str:
    side = round(_SIDE * _SCALE)
    # A palette keeps the file small; index 0 is transparent.
    image = Image.new("P", (side, side), 0)
    palette: dict[str, int] = {}
    draw = ImageDraw.Draw(image)
    radius = _RADIUS * _SCALE
    (left, right), (low, high) = domains
    for xs, ys, colours in layers:
        each = [colours] * len(xs) if isinstance(colours, str) else colours
        across = (np.asarray(xs, float) - left) / (right - left) * side
        up = (1 - (np.asarray(ys, float) - low) / (high - low)) * side
        for x, y, colour in zip(across, up, each, strict=True):
            index = palette.setdefault(colour, len(palette) + 1)
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=index)
    numbers = [0, 0, 0]
    for colour in palette:
        numbers += [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    image.putpalette(numbers)
    image.info["transparency"] = 0
    return png(image)


def first_draws(
    cohorts: Sequence[CohortSeries], table: str, style: FigureStyle
) -> dict[str, CohortSeries]:
    """The first seed's first draw of each label that has `table`, in the style's order."""
    chosen: dict[str, CohortSeries] = {}
    for cohort in sorted(cohorts, key=lambda cohort: (cohort.seed, cohort.replicate)):
        if table in cohort.tables:
            chosen.setdefault(cohort.label, cohort)
    return {label: chosen[label] for label in style.sorted(list(chosen))}


def curve_multiples(
    cohorts: Sequence[CohortSeries],
    style: FigureStyle,
    curve: Callable[[CohortSeries], Curve | None],
    *,
    x: Any,
    y: Any,
) -> alt.FacetChart | None:
    """One panel per generator: its mean curve, its seeds' (faint), the real one, the floor's range.

    `curve` gives (x, real y, synthetic y) of a cohort, each (n,), or None. `x` and `y` are
    altair encodings of the fields `x` and `y`. None where no generator has a curve.
    """
    drawn = [(cohort, found) for cohort in cohorts if (found := curve(cohort)) is not None]
    labels = style.sorted([cohort.label for cohort, _ in drawn if cohort.role != "floor"])
    if not labels:
        return None
    floor = _range([found for cohort, found in drawn if cohort.role == "floor"])
    rows: list[dict[str, Any]] = []
    for label in labels:
        mine = [(cohort.seed, found) for cohort, found in drawn if cohort.label == label]
        rows += [{"generator": label, "kind": "floor", **row} for row in floor]
        rows += _mean_rows(label, "real", [(at, real) for _, (at, real, _) in mine])
        rows += _mean_rows(label, "mean", [(at, synthetic) for _, (at, _, synthetic) in mine])
        seeds = sorted({seed for seed, _ in mine})
        for seed in seeds if len(seeds) > 1 else []:
            one = [(at, synthetic) for own, (at, _, synthetic) in mine if own == seed]
            rows += _mean_rows(label, f"seed {seed}", one)
    base = alt.Chart().properties(width=_WIDTH, height=_HEIGHT)
    kind = alt.datum.kind
    band = (
        base.transform_filter(kind == "floor")
        .mark_area(color=FLOOR_COLOUR, opacity=0.45)
        .encode(x=x, y=y, y2="high:Q")
    )
    colour = alt.Color("generator:N", scale=style.scale(labels), legend=None)
    faint = (
        base.transform_filter("indexof(datum.kind, 'seed') == 0")
        .mark_line(opacity=0.35, strokeWidth=0.8)
        .encode(x=x, y=y, color=colour, detail="kind:N")
    )
    mean = (
        base.transform_filter(kind == "mean")
        .mark_line(strokeWidth=1.8)
        .encode(x=x, y=y, color=colour)
    )
    real = (
        base.transform_filter(kind == "real")
        .mark_line(strokeWidth=1.2, strokeDash=[4, 3], color="black")
        .encode(x=x, y=y)
    )
    data = alt.Data(values=rows)  # type: ignore[no-untyped-call]
    return alt.layer(band, faint, mean, real, data=data).facet(
        facet=alt.Facet("generator:N", sort=labels, title=None), columns=_COLUMNS
    )


def picture_uri(pixels: NDArray[np.uint8]) -> str:
    """A PNG data URI of (height, width, 4) RGBA pixels, cut to 32 colours: charts hold many."""
    image = Image.fromarray(pixels, "RGBA")
    return png(image.quantize(32, method=Image.Quantize.FASTOCTREE))


def rgb(colour: str) -> NDArray[np.float64]:
    """Red, green and blue (0-255) of `#rrggbb`: (3,) float64."""
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], np.float64)


def _mean_rows(
    label: str, kind: str, curves: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]
) -> list[dict[str, Any]]:
    """Mean over curves, at each x that any of them has."""
    return [
        {"generator": label, "kind": kind, "x": at, "y": float(np.mean(values))}
        for at, values in _by_x(curves).items()
    ]


def _range(curves: Sequence[Curve]) -> list[dict[str, float]]:
    values = _by_x([(at, synthetic) for at, _, synthetic in curves])
    return [{"x": at, "y": min(found), "high": max(found)} for at, found in values.items()]


def _by_x(
    curves: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]],
) -> dict[float, list[float]]:
    found: dict[float, list[float]] = {}
    for at, values in curves:
        for x, y in zip(at.tolist(), values.tolist(), strict=True):
            found.setdefault(float(f"{x:.6g}"), []).append(y)
    return dict(sorted(found.items()))
