"""Small multiples: one panel per generator, of points or of pictures as PNG."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from haplobench import CohortSeries
from haplobench.report.style import FigureStyle, inline

# x, y and the group of each point (or of all): (n,) float, (n,) float, (n,) str or one str.
Layer = tuple[NDArray[np.floating], NDArray[np.floating], Sequence[str] | str]
Domain = tuple[float, float]
# Panels side by side, and their size.
_COLUMNS = 5
SIDE = 130


def scatter(
    panels: Mapping[str, Sequence[Layer]],
    colours: Mapping[str, str],
    *,
    titles: tuple[str, str],
    domains: tuple[Domain, Domain],
    legend: Sequence[str] = (),
    diagonal: bool = False,
) -> alt.TopLevelMixin:
    """Points on axes that all panels share.

    `panels` are layers by title, the first one lowest; `colours` those of the points' groups, of
    which `legend` names some; `titles` and `domains` are those of x and y.
    """
    depth = max(map(len, panels.values()))
    rows = [
        {
            "panel": title,
            "layer": at,
            "group": group,
            "x": float(f"{x:.4g}"),
            "y": float(f"{y:.4g}"),
        }
        for title, layers in panels.items()
        for at, (xs, ys, groups) in enumerate(layers)
        for x, y, group in zip(
            xs, ys, [groups] * len(xs) if isinstance(groups, str) else groups, strict=True
        )
    ]
    shown = alt.Legend(values=list(legend), symbolType="circle") if legend else None
    colour = alt.Color(
        "group:N",
        title=None,
        scale=alt.Scale(domain=list(colours), range=list(colours.values())),
        legend=shown,
    )
    x, y = _axes(titles, domains, grid=True)
    points = [
        alt.Chart()
        .transform_filter(f"datum.layer == {at}")
        .mark_point(filled=True, size=9, opacity=1)
        .encode(x=x, y=y, color=colour)
        for at in range(depth)
    ]
    return _facets(rows, list(panels), points, x, y, domains, diagonal)


def _pictures(
    urls: Mapping[str, str],
    *,
    titles: tuple[str, str],
    domains: tuple[Domain, Domain],
) -> alt.TopLevelMixin:
    """Images (data URIs by panel title) as small multiples under shared axes, with a diagonal."""
    rows = [{"panel": title, "layer": 0, "url": url} for title, url in urls.items()]
    images = (
        alt.Chart()
        .transform_filter("datum.layer == 0")
        .mark_image(width=SIDE, height=SIDE, aria=False)
        .encode(x=alt.value(SIDE / 2), y=alt.value(SIDE / 2), url="url:N")
    )
    x, y = _axes(titles, domains, grid=False)
    return _facets(rows, list(urls), [images], x, y, domains, diagonal=True)


def _axes(
    titles: tuple[str, str], domains: tuple[Domain, Domain], *, grid: bool
) -> tuple[alt.X, alt.Y]:
    (x, y), (across, up) = titles, domains
    axis = alt.Axis(tickCount=3, grid=grid)
    return (
        alt.X("x:Q", title=x, scale=alt.Scale(domain=across, nice=False), axis=axis),
        alt.Y("y:Q", title=y, scale=alt.Scale(domain=up, nice=False), axis=axis),
    )


def _facets(
    rows: Sequence[Mapping[str, Any]],
    panels: Sequence[str],
    layers: Sequence[alt.Chart],
    x: alt.X,
    y: alt.Y,
    domains: tuple[Domain, Domain],
    diagonal: bool,
) -> alt.TopLevelMixin:
    """Layers on one data set, or facets could not split them, over the corners of the axes."""
    (left, right), (low, high) = domains
    corners = [
        {"panel": title, "layer": -1, "x": left, "y": low, "x2": right, "y2": high}
        for title in panels
    ]
    # Without the diagonal the rule is there for the axes alone.
    rule = alt.Chart().transform_filter("datum.layer == -1")
    rule = rule.mark_rule(strokeDash=[3, 3], opacity=1 if diagonal else 0, aria=False)
    layers = [rule.encode(x=x, y=y, x2="x2:Q", y2="y2:Q"), *layers]
    chart: alt.TopLevelMixin = alt.layer(
        *layers, data=inline([*corners, *rows]), width=SIDE, height=SIDE
    ).facet(alt.Facet("panel:N", title=None, sort=list(panels)), columns=_COLUMNS)
    return chart


def densities(
    cells: Mapping[str, NDArray[Any]],
    style: FigureStyle,
    *,
    titles: tuple[str, str],
    domain: Domain,
    counted: str,
) -> alt.TopLevelMixin:
    """Counts of cells (y, x) by panel title, on the same axis across and up, as pictures.

    By logarithm, the more the less transparent, so that they suit a dark page, too. `counted` is
    what is counted, for the numbers beside the chart.
    """
    urls, lines = {}, [f"generator,{titles[0]},{titles[1]},{counted}".lower()]
    for label, table in cells.items():
        urls[label] = _density(table, style.colour(label))
        width = (domain[1] - domain[0]) / len(table)
        middle = [f"{domain[0] + (at + 0.5) * width:.4g}" for at in range(len(table))]
        places, counts = np.argwhere(table).tolist(), table[table != 0].astype(int).tolist()
        for (y, x), count in zip(places, counts, strict=True):
            lines.append(f"{label},{middle[x]},{middle[y]},{count}")
    chart = _pictures(urls, titles=titles, domains=(domain, domain))
    return chart.properties(usermeta={"csv": "\n".join(lines)})


def _density(cells: NDArray[Any], colour: str) -> str:
    strength = np.log1p(cells) / max(np.log1p(cells.max()), 1e-9)
    pixels = np.zeros((*cells.shape, 4))
    pixels[..., :3] = rgb(colour)
    pixels[..., 3] = np.where(cells > 0, 255 * (0.3 + 0.7 * strength), 0)
    return picture_uri(np.flipud(pixels).round().astype(np.uint8).repeat(4, 0).repeat(4, 1))


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
    image = Image.fromarray(pixels, "RGBA").quantize(32, method=Image.Quantize.FASTOCTREE)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def rgb(colour: str) -> NDArray[np.float64]:
    """Red, green and blue (0-255) of `#rrggbb`: (3,) float64."""
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], np.float64)
