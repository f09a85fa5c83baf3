"""Small multiples: one panel per generator, of pictures as PNG."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence

import altair as alt
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from haplobench import CohortSeries
from haplobench.report.style import FigureStyle

# x, y and colours: (n,) float and (n,) str hex, or one hex colour for all.
Layer = tuple[NDArray[np.floating], NDArray[np.floating], Sequence[str] | str]
Domain = tuple[float, float]
# Panels side by side, and their size.
_COLUMNS = 4
_SIDE = 150
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


def picture_uri(pixels: NDArray[np.uint8]) -> str:
    """A PNG data URI of (height, width, 4) RGBA pixels, cut to 32 colours: charts hold many."""
    image = Image.fromarray(pixels, "RGBA")
    return png(image.quantize(32, method=Image.Quantize.FASTOCTREE))


def rgb(colour: str) -> NDArray[np.float64]:
    """Red, green and blue (0-255) of `#rrggbb`: (3,) float64."""
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], np.float64)
