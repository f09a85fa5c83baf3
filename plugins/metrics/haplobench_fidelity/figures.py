"""Figures of the fidelity metrics.

Small multiples have one panel per generator, of points or of pictures as PNG.
"""

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
from haplobench.report.figures import Curve, curve_multiples
from haplobench.report.style import TICKS, FigureStyle, inline

# Cells of a density of frequencies; stretches of a region.
_BINS = 65
_STRETCHES = 50
# Viridis: evenly perceived, safe for colour-blind readers, legible on white and on dark.
_HEAT = ("#440154", "#414487", "#2a788e", "#22a884", "#7ad151", "#fde725")
_HELD_OUT, _GREY = "held-out", "#b8bec5"
_UNLABELLED = "unlabelled"
_MOST_GROUPS = 10
# Other hues than the generators', so that a population is not taken for one.
_GROUP_COLOURS = (
    "#4269d0", "#efb118", "#ff725c", "#3ca951", "#a463f2",
    "#6cc5b0", "#9c6b4e", "#ff8ab7", "#97bbf5", "#5b5f66",
)  # fmt: skip


def draw_frequencies(
    cohorts: Sequence[CohortSeries], style: FigureStyle
) -> alt.TopLevelMixin | None:
    """Density of sites by real and synthetic frequency, a picture per generator."""
    edges = np.linspace(0, 1, _BINS + 1)
    cells = {
        label: np.histogram2d(table["synthetic"], table["real"], bins=(edges, edges))[0]
        for label, cohort in first_draws(cohorts, "frequencies", style).items()
        for table in [cohort.tables["frequencies"]]
    }
    if not cells:
        return None
    titles = ("Held-out frequency", "Synthetic frequency")
    return densities(cells, style, titles=titles, domain=(0, 1), counted="sites")


def draw_site_spectrum(
    cohorts: Sequence[CohortSeries], style: FigureStyle
) -> alt.FacetChart | None:
    """Folded spectra on logarithmic axes, a panel per generator."""
    return curve_multiples(
        cohorts,
        style,
        _spectrum,
        x=alt.X(
            "x:Q",
            scale=alt.Scale(type="log", nice=False),
            axis=alt.Axis(values=[1, 3, 10, 30, 100, 300, 1000]),
            title="Copies of the rarer allele",
        ),
        y=alt.Y(
            "y:Q",
            scale=alt.Scale(type="log"),
            axis=alt.Axis(values=[10.0**power for power in range(-6, 1)], labelExpr=TICKS),
            title="Share of sites",
        ),
    )


def _spectrum(cohort: CohortSeries) -> Curve | None:
    table = cohort.tables.get("spectrum")
    if table is None:
        return None
    copies = np.asarray(table["copies"], np.float64)
    real, synthetic = (np.asarray(table[key], np.float64) for key in ("real", "synthetic"))
    # On a logarithmic axis the common classes crowd, and there is no place for 0.
    spaced = np.geomspace(1, max(copies[-1], 1), 24).round()
    shown = np.isin(copies, spaced) & (real > 0)
    if not shown.any():
        return None
    # A cohort that all but lacks a class would stretch the axis until nothing else is told apart.
    lowest = real[shown].min() / 10
    return copies[shown], real[shown], np.maximum(synthetic[shown], lowest)


def draw_decay(cohorts: Sequence[CohortSeries], style: FigureStyle) -> alt.FacetChart | None:
    """Mean r² by distance in kb on a logarithmic axis, a panel per generator."""
    return curve_multiples(
        cohorts,
        style,
        _decay,
        x=alt.X(
            "x:Q",
            scale=alt.Scale(type="log", nice=False),
            axis=alt.Axis(values=[0.1, 1, 10, 100, 1000], labelExpr=TICKS),
            title="Distance (kb)",
        ),
        y=alt.Y("y:Q", title="Mean r²"),
    )


def draw_heat_map(cohorts: Sequence[CohortSeries], style: FigureStyle) -> alt.TopLevelMixin | None:
    """r² of adjacent sites, real above the diagonal, synthetic below; a picture per generator."""
    chosen = first_draws(cohorts, "heat_map", style)
    if not chosen:
        return None
    rows: list[dict[str, Any]] = []
    lines: list[str] = []
    told: list[str] = []
    sites = np.empty(0)
    for label, cohort in chosen.items():
        table = cohort.tables["heat_map"]
        value = _steps(table["real_r2"], table["synthetic_r2"])
        sites = np.asarray(table.get("position", np.arange(len(value))))
        # The value only spans the colour legend; its point is not visible.
        shown = {"generator": label, "picture": _heat_map(value), "place": 0.5}
        rows += [shown | {"r2": end} for end in (0.0, 1.0)]
        held_out = [
            ",".join(["generator", "position", *map(str, sites)]),
            *_matrix_lines(_HELD_OUT, sites, table["real_r2"]),
        ]
        if held_out != told:  # of all generators the same, as a rule
            told = held_out
            lines += told
        lines += _matrix_lines(label, sites, table["synthetic_r2"])
    scale = alt.Scale(domain=[0, 1], nice=False)
    base = alt.Chart().properties(width=SIDE, height=SIDE)
    # The first and the last site; those between lie unevenly.
    ends = [f"{position / 1e6:.4f}" for position in (sites[0], sites[-1])]
    axis = alt.Axis(
        values=[0, 1],
        grid=False,
        labelExpr=f"datum.value < 0.5 ? '{ends[0]}' : '{ends[1]}'",
        labelFlush=True,
    )
    title = f"{len(sites)} sites (Mb)"
    x = alt.X("place:Q", scale=scale, title=title, axis=axis)
    y = alt.Y("place:Q", scale=scale, title=None, axis=None)
    picture = (
        base.transform_filter(alt.datum.r2 == 0)
        .mark_image(width=SIDE, height=SIDE, aspect=False, aria=False)
        .encode(x=x, y=y, url="picture:N")
    )
    legend = base.mark_point(opacity=0, size=0, aria=False).encode(
        x=x,
        y=y,
        color=alt.Color(
            "r2:Q",
            scale=alt.Scale(domain=[0, 1], range=list(_HEAT), interpolate="rgb"),
            legend=alt.Legend(title="r²", gradientLength=SIDE),
        ),
    )
    data = inline(rows)
    chart: alt.TopLevelMixin = (
        alt.layer(picture, legend, data=data)
        .facet(facet=alt.Facet("generator:N", sort=list(chosen), title=None), columns=5)
        .properties(usermeta={"csv": "\n".join(lines)})
    )
    return chart


def _matrix_lines(label: str, sites: NDArray[Any], r2: NDArray[np.uint8]) -> list[str]:
    """r² (n, n) of 255 parts below the diagonal as lines of CSV, in the picture's steps."""
    texts = np.array([f"{step / 10:g}" for step in range(11)])[
        (10 * _steps(r2, r2)).round().astype(int)
    ]
    half = np.where(np.tri(len(r2), dtype=bool), texts, "").tolist()
    return [
        ",".join([label, str(position), *line]) for position, line in zip(sites, half, strict=True)
    ]


def _decay(cohort: CohortSeries) -> Curve | None:
    table = cohort.tables.get("decay")
    if table is None:
        return None
    kilobases = np.sqrt(np.asarray(table["low"]) * np.asarray(table["high"])) / 1000
    return kilobases, np.asarray(table["real_r2"]), np.asarray(table["synthetic_r2"])


def _steps(real: NDArray[np.uint8], synthetic: NDArray[np.uint8]) -> NDArray[np.float64]:
    """r² in steps of 0.1, as the picture shows it: (n, n), the real half above the diagonal."""
    value = np.where(np.tri(real.shape[0], dtype=bool), synthetic, real) / 255
    return np.asarray(np.round(value, 1))


def _heat_map(value: NDArray[np.float64]) -> str:
    """r² (n, n) as a picture: few steps of colour, because it must stay small."""
    anchors = np.stack([rgb(colour) for colour in _HEAT])
    at = np.linspace(0, 1, len(_HEAT))
    channels = [np.interp(value, at, anchors[:, channel]) for channel in range(3)]
    pixels = np.dstack([*channels, np.full(value.shape, 255.0)])
    return picture_uri(pixels.round().astype(np.uint8))


def draw_kmer_spectrum(
    cohorts: Sequence[CohortSeries], style: FigureStyle
) -> alt.TopLevelMixin | None:
    """Joint histogram of k-mer frequencies, a panel per cohort, in the cohort's colour."""
    chosen = first_draws(cohorts, "spectrum", style)
    if not chosen:
        return None
    tables = [cohort.tables["spectrum"] for cohort in chosen.values()]
    width = max(float(table["width"][0]) for table in tables)
    low = min(float(min(t["real_log10"].min(), t["synthetic_log10"].min())) for t in tables)
    high = max(float(max(t["real_log10"].max(), t["synthetic_log10"].max())) for t in tables)
    low -= width / 2
    n_bins = max(1, int(np.ceil((high + width / 2 - low) / width - 1e-9)))
    domain = (low, low + n_bins * width)
    cells = {}
    for label, cohort in chosen.items():
        table = cohort.tables["spectrum"]
        cells[label] = np.zeros((n_bins, n_bins))
        x = ((table["real_log10"] - low) / width).astype(int)
        y = ((table["synthetic_log10"] - low) / width).astype(int)
        np.add.at(cells[label], (y, x), table["k_mers"])
    titles = ("log10 frequency, held-out", "log10 frequency, synthetic")
    return densities(cells, style, titles=titles, domain=domain, counted="k-mers")


def draw_words(cohorts: Sequence[CohortSeries], style: FigureStyle) -> alt.TopLevelMixin | None:
    """Divergence of 10-site words along the region, mean over seeds and draws."""
    sums: dict[str, list[NDArray[np.float64]]] = {}
    centres: NDArray[np.float64] = np.empty(0)
    for cohort in cohorts:
        table = cohort.tables.get("windows-10")
        if table is None:
            continue
        parts = np.array_split(np.arange(table["jsd"].size), min(_STRETCHES, table["jsd"].size))
        centres = np.array([table["start_bp"][part].mean() for part in parts]) / 1e6
        sums.setdefault(cohort.label, []).append(
            np.array([table["jsd"][part].mean() for part in parts])
        )
    if not sums:
        return None
    return _lines(
        {label: (centres, np.mean(sums[label], axis=0)) for label in style.sorted(list(sums))},
        style,
        alt.X("x:Q", title="position (Mb)", scale=alt.Scale(zero=False, nice=False)),
        alt.Y(
            "y:Q",
            title="10-SNP word JSD (bit)",
            scale=alt.Scale(type="symlog", constant=0.02),
        ),
    ).properties(width=2 * style.width, height=style.height)


def draw_pairwise(cohorts: Sequence[CohortSeries], style: FigureStyle) -> alt.TopLevelMixin | None:
    """Densities of pairwise differences: held-out people and the first draw of each cohort."""
    tables = {
        label: cohort.tables["pairwise"]
        for label, cohort in first_draws(cohorts, "pairwise", style).items()
    }
    if not tables:
        return None
    x, y = alt.X("x:Q", title="differences per kb"), alt.Y("y:Q", title="density")
    lines = {
        label: (table["differences_per_kb"], table["synthetic_density"])
        for label, table in tables.items()
    }
    real = next(iter(tables.values()))
    held_out = _points(_HELD_OUT, real["differences_per_kb"], real["real_density"])
    area = alt.Chart(inline(held_out)).mark_area(color=_GREY, opacity=0.45).encode(x=x, y=y)
    return alt.layer(area, _lines(lines, style, x, y)).properties(
        width=2 * style.width, height=style.height
    )


def _lines(
    lines: Mapping[str, tuple[NDArray[Any], NDArray[Any]]],
    style: FigureStyle,
    x: alt.X,
    y: alt.Y,
) -> alt.Chart:
    """A line for each cohort, in its colour and dashes; x and y by label."""
    labels = list(lines)
    values = [point for label in labels for point in _points(label, *lines[label])]
    chart: alt.Chart = (
        alt.Chart(inline(values))
        .mark_line(strokeWidth=1.5)
        .encode(
            x=x,
            y=y,
            color=alt.Color("cohort:N", title=None, scale=style.scale(labels)),
            strokeDash=alt.StrokeDash("cohort:N", title=None, scale=style.dash_scale(labels)),
        )
    )
    return chart


def _points(label: str, xs: NDArray[Any], ys: NDArray[Any]) -> list[dict[str, Any]]:
    return [
        {"cohort": label, "x": round(float(x), 5), "y": round(float(y), 5)}
        for x, y in zip(xs, ys, strict=True)
    ]


def draw_components(
    cohorts: Sequence[CohortSeries], style: FigureStyle
) -> alt.TopLevelMixin | None:
    """The first two principal components, a panel per cohort after that of held-out people."""
    chosen = {
        label: cohort
        for label, cohort in first_draws(cohorts, "real", style).items()
        if {"pc1", "pc2"} <= set(cohort.tables["real"])
    }
    if not chosen:
        return None
    first = next(iter(chosen.values())).tables
    real = first["real"]
    level, colours = _groups(real)
    tables = [real, *(cohort.tables["synthetic"] for cohort in chosen.values())]
    domains = tuple(_domain([table[axis] for table in tables]) for axis in ("pc1", "pc2"))
    # Every other held-out person is enough to see the shape by, in half the bytes.
    beneath = (real["pc1"][::2], real["pc2"][::2], _HELD_OUT)
    panels: dict[str, list[Layer]] = {}
    shown = _labelled(real, level, colours) if level else _HELD_OUT
    panels[_HELD_OUT] = [(real["pc1"], real["pc2"], shown)]
    for label, cohort in chosen.items():
        table = cohort.tables["synthetic"]
        panels[label] = [beneath, (table["pc1"], table["pc2"], _labelled(table, level, colours))]
    colours = {_HELD_OUT: _GREY, **colours, _UNLABELLED: "black"}
    used = {group for layers in panels.values() for *_, groups in layers
            for group in ([groups] if isinstance(groups, str) else groups)}  # fmt: skip
    shares = first.get("components", {}).get("variance", ())
    titles = [
        f"PC{at} ({100 * float(shares[at - 1]):.2g} %)" if len(shares) >= at else f"PC{at}"
        for at in (1, 2)
    ]
    return scatter(
        panels,
        {group: colour for group, colour in colours.items() if group in used},
        titles=(titles[0], titles[1]),
        domains=(domains[0], domains[1]),
        legend=[group for group in colours if group in used],
    )


def _domain(values: Sequence[NDArray[Any]]) -> tuple[float, float]:
    low = min(float(v.min()) for v in values if v.size)
    high = max(float(v.max()) for v in values if v.size)
    margin = 0.05 * (high - low) or 1.0
    return low - margin, high + margin


def _groups(real: Any) -> tuple[str, dict[str, str]]:
    """The level of labels that tells people apart, and a colour per group; empty if none does."""
    for level in ("superpopulation", "population"):
        names = sorted({str(name) for name in real[level]} - {""})
        if 2 <= len(names) <= _MOST_GROUPS:
            return level, dict(zip(names, _GROUP_COLOURS, strict=False))
    return "", {}


def _labelled(table: Any, level: str, colours: Mapping[str, str]) -> list[str] | str:
    """The group of each person; unlabelled where it is of no group that has a colour."""
    if not level:
        return _UNLABELLED
    return [str(name) if str(name) in colours else _UNLABELLED for name in table[level]]


def draw_homozygosity(
    cohorts: Sequence[CohortSeries], style: FigureStyle
) -> alt.TopLevelMixin | None:
    """H12 by window, held-out against synthetic, a panel per cohort."""
    chosen = first_draws(cohorts, "windows", style)
    if not chosen:
        return None
    tables = {label: cohort.tables["windows"] for label, cohort in chosen.items()}
    panels: dict[str, list[Layer]] = {
        label: [(table["real_h12"], table["synthetic_h12"], label)]
        for label, table in tables.items()
    }
    highest = max(
        max(table["real_h12"].max(), table["synthetic_h12"].max()) for table in tables.values()
    )
    domain = (0.0, min(1.0, float(highest) * 1.05))
    return scatter(
        panels,
        {label: style.colour(label) for label in panels},
        titles=("H12, held-out", "H12, synthetic"),
        domains=(domain, domain),
        diagonal=True,
    )


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
