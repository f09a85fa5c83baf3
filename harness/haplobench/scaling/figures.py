"""The scaling figures of a run, dataset by dataset, as a report holds them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haplobench.distributed.training import PARTS
from haplobench.report.figures import Figure, figure_style, render_chart, slug
from haplobench.report.style import TICKS, inline
from haplobench.results.notes import CellCost, read_costs
from haplobench.results.run_folder import RunFolder
from haplobench.results.table import Run, load_run
from haplobench.scaling import losses
from haplobench.scaling.curves import (
    STAGES,
    Curve,
    MemoryPoint,
    Point,
    Projected,
    memory_points,
    scaling_curves,
)
from haplobench.scaling.text import warnings
from haplobench.units import counted

if TYPE_CHECKING:
    from haplobench.report.style import FigureStyle

WIDTH, HEIGHT = 270, 190
_COLUMNS = 2
_IDEAL = "ideal"
_KINDS = {"measured": (1, 0), "projected": (6, 4), _IDEAL: (1, 3)}
_GREY = "#808891"
_EDGE = 7  # px
_WORDS: dict[str, Any] = {"labelExpr": TICKS}
_CROSS = "M-.9,-.9L.9,.9M.9,-.9L-.9,.9"

Chart = Any
Value = Callable[[Curve, Point | Projected], float | None]


@dataclass(frozen=True)
class Panel:
    """What a panel shows: `title` above it, `axis` that of the vertical axis.

    `log` is the base of a logarithmic axis (0: a linear one from 0), `format` that of its labels
    (empty: in words, see `haplobench.report.style.TICKS`); `top`: whether the word `projected`
    stands at the top, where lines rise.
    """

    title: str
    axis: str
    log: int = 0
    format: str = ""
    top: bool = False


def draw_lines(
    curves: Sequence[Curve],
    value: Value,
    panel: Panel,
    labels: Mapping[str, tuple[str, str]],
    ideal: Callable[[int], float] | None = None,
) -> Chart | None:
    """Lines of `value` by ranks, a curve each; points without one are left out, None if all are.

    `labels` are colour and shape of every generator of the figure, see `looks`: panels side by
    side share them.

    Filled: measured; crossed: measured with more ranks than cores; hollow and dashed: projected,
    from the last point that the projection was fitted to, so that lines meet.
    """
    import altair as alt

    rows = [row for curve in curves for row in _rows(curve, value)]
    if not rows:
        return None
    ahead = [row["ranks"] for row in rows if row["mark"] == "projected"]
    ticks = sorted({row["ranks"] for row in rows})
    if ideal is not None:
        rows += [
            {"generator": _IDEAL, "line": _IDEAL, "kind": _IDEAL, "mark": "none", "ranks": ranks,
             "value": ideal(ranks), "low": 0.0, "high": 0.0}
            for ranks in ticks
        ]  # fmt: skip
    base = alt.Chart(inline(rows))
    domain = [*labels, _IDEAL]
    x = alt.X(
        "ranks:Q",
        title="Ranks",
        scale=alt.Scale(type="log", base=2, nice=False, padding=8),
        axis=alt.Axis(values=ticks, format="d"),
    )
    scale = (
        alt.Scale(type="log", base=panel.log, nice=False, padding=8)
        if panel.log
        else alt.Scale(zero=True)
    )
    axis = alt.Axis(tickCount=5, **({"format": panel.format} if panel.format else _WORDS))
    y = alt.Y("value:Q", title=panel.axis, scale=scale, axis=axis)
    colours = [*(colour for colour, _ in labels.values()), _GREY]
    shapes = [*(shape for _, shape in labels.values()), "circle"]
    legend = alt.Legend(orient="bottom", symbolDash=[1, 0], values=list(labels), columns=3)
    colour = alt.Color(
        "generator:N", scale=alt.Scale(domain=domain, range=colours), title=None, legend=legend
    )
    shape = alt.Shape(
        "generator:N", scale=alt.Scale(domain=domain, range=shapes), title=None, legend=legend
    )
    dash = alt.StrokeDash(
        "kind:N",
        scale=alt.Scale(domain=list(_KINDS), range=[list(dash) for dash in _KINDS.values()]),
        legend=None,
    )
    layers: list[Any] = [
        base.transform_filter("datum.mark != 'oversubscribed'")
        .mark_line(aria=False)
        .encode(x=x, y=y, color=colour, strokeDash=dash, detail="line:N", order="ranks:Q"),
        base.transform_filter("datum.mark == 'measured'")
        .mark_point(filled=True, opacity=1, size=44)
        .encode(x=x, y=y, color=colour, shape=shape),
        base.transform_filter("datum.mark == 'projected'")
        .mark_point(filled=False, opacity=1, size=44)
        .encode(x=x, y=y, color=colour, shape=shape),
        base.transform_filter("datum.mark == 'oversubscribed'")
        .mark_point(shape=_CROSS, filled=False, opacity=1, size=44, strokeWidth=2)
        .encode(x=x, y=y, color=colour),
    ]
    if any(row["low"] != row["high"] for row in rows):
        low = alt.Y("low:Q", title=panel.axis, scale=scale, axis=axis)
        bars = base.transform_filter("datum.low != datum.high").mark_rule(opacity=0.7, aria=False)
        layers.append(bars.encode(x=x, y=low, y2="high:Q", color=colour))
    if ahead:
        layers += _region(min(ahead), max(ticks), _EDGE if panel.top else HEIGHT - _EDGE)
    return alt.layer(*layers).properties(width=WIDTH, height=HEIGHT, title=panel.title)


def looks(curves: Sequence[Curve], style: FigureStyle) -> dict[str, tuple[str, str]]:
    """Colour and shape of the curves' generators, in the order of the run."""
    names = style.sorted([curve.generator for curve in curves])
    return {name: (style.colour(name), style.shape(name)) for name in names}


def grid(panels: Sequence[Chart | None]) -> Chart | None:
    """Panels side by side; None where there are none."""
    import altair as alt

    drawn = [panel for panel in panels if panel is not None]
    if len(drawn) < 2:
        return drawn[0] if drawn else None
    return alt.concat(*drawn, columns=_COLUMNS)


def _region(first: int, last: int, height: int) -> list[Chart]:
    """A shade behind the world sizes that are projected, and the word."""
    import altair as alt

    start = first / 2**0.5 if last > first else first / 2**0.25
    base = alt.Chart(inline([{"start": start, "end": last}]))
    return [
        base.mark_rect(color=_GREY, opacity=0.08, aria=False).encode(x="start:Q", x2="end:Q"),
        base.mark_text(
            align="left",
            baseline="middle",
            dx=4,
            fontStyle="italic",
            fontSize=10.5,
            text="projected",
        ).encode(x="start:Q", y=alt.value(height)),
    ]


def _rows(curve: Curve, value: Value) -> list[dict[str, Any]]:
    rows = []
    for point in curve.points:
        over = curve.oversubscribed(point)
        rows.append(_row(curve, point, value, "measured", "oversubscribed" if over else "measured"))
    if curve.projected:
        rows.append(_row(curve, curve.sound[-1], value, "projected", "none"))
        rows += [_row(curve, point, value, "projected", "projected") for point in curve.projected]
    return [row for row in rows if row["value"] is not None]


def _row(
    curve: Curve, point: Point | Projected, value: Value, kind: str, mark: str
) -> dict[str, Any]:
    ends = [value(curve, point)] * 2
    if isinstance(point, Point) and kind == "measured":  # over seeds and draws
        ends = [value(curve, replace(point, seconds=end)) for end in (point.low, point.high)]
    return {
        "generator": curve.generator,
        "line": f"{curve.generator} {curve.mode} {kind}",
        "kind": kind,
        "mark": mark,
        "ranks": point.ranks,
        "value": value(curve, point),
        "low": ends[0],
        "high": ends[1],
    }


_MIB = 2.0**20
_SHADES = ("#7b8794", "#0072b2", "#4ba9e0", "#d55e00", "#dd9500")
_LEAST = 1e-9  # a difference of 0 has no place on a logarithmic axis


def draw_shares(curves: Sequence[Curve]) -> Chart | None:
    """Shares of a training step by ranks: a stacked bar for each world size."""
    import altair as alt

    panels = []
    for curve in curves:
        rows = [
            {"ranks": _ranks(curve, i), "part": name.replace("_", "-"), "share": share, "place": k}
            for i, point in enumerate(curve.points)
            for k, (name, share) in enumerate(point.shares.items())
        ]
        if curve.stage != "training" or not rows:
            continue
        names = [name.replace("_", "-") for name in PARTS]
        sizes = [_ranks(curve, i) for i in range(len(curve.points))]
        base = alt.Chart(inline(rows))
        panels.append(
            base.mark_bar()
            .encode(
                x=alt.X("share:Q", title="Share of a step", axis=alt.Axis(format="%", tickCount=5)),
                y=alt.Y("ranks:N", title="Ranks", sort=sizes),
                color=alt.Color(
                    "part:N",
                    scale=alt.Scale(domain=names, range=list(_SHADES)),
                    title=None,
                    legend=alt.Legend(orient="bottom"),
                ),
                order="place:Q",
            )
            .properties(
                width=WIDTH,
                height=26 * len(sizes),
                title=f"{curve.generator}, {curve.mode} scaling",
            )
        )
    return grid(panels)


def draw_losses(groups: Sequence[Sequence[losses.Trained]]) -> Chart | None:
    """Losses of the same training by epoch, and how far they are from the first one's."""
    panels = []
    for group in groups:
        rows = [
            {"line": one.text, "epoch": epoch + 1, "loss": sum(values)}
            for one in group
            for epoch, values in enumerate(zip(*one.losses.values(), strict=False))
        ]
        if not rows:
            continue
        lines = [one.text for one in group]
        panels.append(_losses(rows, lines, f"{group[0].name}, seed {group[0].seed}"))
        far = [
            {"line": one.text, "epoch": epoch + 1, "far": max(value, _LEAST)}
            for one in group[1:]
            for epoch, value in enumerate(losses.differences(one.losses, group[0].losses))
            if math.isfinite(value)
        ]
        if far:
            panels.append(_differences(far, lines, f"Difference from {lines[0]}"))
    return grid(panels)


def draw_memory(points: Sequence[MemoryPoint]) -> Chart | None:
    """Peak memory of a rank in training against the batch size of the step, by world size."""
    import altair as alt

    rows = [
        {"line": f"{point.generator}, {counted(point.ranks, 'rank')}", "batch": point.batch,
         "peak": peak / _MIB, "kind": kind}
        for point in points
        for kind, peak in (("memory", point.peak), ("GPU memory", point.gpu))
        if peak is not None
    ]  # fmt: skip
    if not rows:
        return None
    base = alt.Chart(inline(rows))
    ticks = sorted({point.batch for point in points})
    x = alt.X(
        "batch:Q",
        title="Haplotypes per step",
        scale=alt.Scale(type="log", base=2, nice=False, padding=8),
        axis=alt.Axis(values=ticks, format="d"),
    )
    y = alt.Y("peak:Q", title="Peak memory of a rank (MiB)", scale=alt.Scale(zero=True))
    legend = alt.Legend(orient="bottom", symbolDash=[1, 0])
    colour = alt.Color("line:N", title=None, legend=legend)
    chart: Chart = alt.layer(
        base.mark_line().encode(
            x=x, y=y, color=colour, strokeDash=alt.StrokeDash("kind:N", legend=None)
        ),
        base.mark_point(filled=True, opacity=1).encode(
            x=x, y=y, color=colour, shape=alt.Shape("kind:N", legend=None)
        ),
    ).properties(width=WIDTH, height=HEIGHT)
    return chart


def _losses(rows: list[dict[str, object]], lines: list[str], title: str) -> Chart:
    import altair as alt

    y = alt.Y("loss:Q", title="Validation loss", scale=alt.Scale(zero=False))
    return alt.layer(*_overlaid(rows, y, lines)).properties(width=WIDTH, height=HEIGHT, title=title)


def _differences(rows: list[dict[str, object]], lines: list[str], title: str) -> Chart:
    import altair as alt

    limit = alt.Chart(inline([{"far": losses.TOLERANCE}]))
    y = alt.Y(
        "far:Q",
        title="Relative difference",
        scale=alt.Scale(type="log", domain=[_LEAST, 10 * losses.TOLERANCE], clamp=True),
        axis=alt.Axis(
            values=[1e-9, 1e-7, 1e-5, 1e-3],
            labelExpr="'10' + {'-9': '⁻⁹', '-7': '⁻⁷', '-5': '⁻⁵', '-3': '⁻³'}"
            "[round(log(datum.value) / log(10))]",
        ),
    )
    return alt.layer(
        *_overlaid(rows, y, lines),
        limit.mark_rule(strokeDash=[6, 4]).encode(y=y),
        limit.mark_text(
            align="left", dx=4, dy=-7, fontStyle="italic", fontSize=10.5, text="tolerance"
        ).encode(x=alt.value(0), y=y),
    ).properties(width=WIDTH, height=HEIGHT, title=title)


def _overlaid(rows: list[dict[str, object]], y: Chart, lines: list[str]) -> list[Chart]:
    """Lines that may be equal: the first is widest, so that those above don't hide it."""
    import altair as alt

    from haplobench.report.style import PALETTE

    base = alt.Chart(inline(rows))
    scale = alt.Scale(domain=lines, range=[PALETTE[i % len(PALETTE)] for i in range(len(lines))])
    colour = alt.Color(
        "line:N", scale=scale, title=None, legend=alt.Legend(orient="bottom", columns=3)
    )
    x = alt.X("epoch:Q", title="Epoch", axis=alt.Axis(format="d", tickMinStep=1))
    return [
        base.transform_filter(alt.datum.line == line)
        .mark_line(opacity=1, strokeWidth=1.5 + 2 * (len(lines) - 1 - i))
        .encode(x=x, y=y, color=colour)
        for i, line in enumerate(lines)
    ]


def _ranks(curve: Curve, i: int) -> str:
    point = curve.points[i]
    return f"{point.ranks}{'*' if curve.oversubscribed(point) else ''}"


_MODES = ("strong", "weak")


def draw_speedup(curves: Sequence[Curve], style: FigureStyle) -> Chart | None:
    """Speed-up against ranks, a panel per stage and mode; ideal dotted."""
    labels = looks(curves, style)
    panels = []
    for mode in _MODES:
        for stage in STAGES:
            here = _of(curves, stage, mode)
            first = min((curve.points[0].ranks for curve in here), default=1)
            panel = Panel(f"{stage.capitalize()}, {mode} scaling", "Speed-up", log=2, top=True)
            panels.append(
                draw_lines(here, Curve.speedup, panel, labels, lambda ranks, of=first: ranks / of)  # type: ignore[misc]
            )
    return grid(panels)


def draw_efficiency(curves: Sequence[Curve], style: FigureStyle) -> Chart | None:
    """Efficiency against ranks, a panel per stage and mode; ideal dotted."""
    return grid(
        [
            draw_lines(
                _of(curves, stage, mode),
                Curve.efficiency,
                Panel(f"{stage.capitalize()}, {mode} scaling", "Efficiency", format=".0%"),
                looks(curves, style),
                lambda ranks: 1.0,
            )
            for mode in _MODES
            for stage in STAGES
        ]
    )


def draw_rates(curves: Sequence[Curve], style: FigureStyle) -> Chart | None:
    """Time of an epoch, and throughput of training and of generation, against ranks."""
    titles = {
        "training": ("Training", "Haplotypes per second"),
        "generation": ("Generation", "Alleles per second"),
    }
    labels = looks(curves, style)
    panels = []
    for mode in _MODES:
        title = f"An epoch, {mode} scaling"
        # Weak scaling at its best is level.
        log = 10 if mode == "strong" else 0
        epochs = Panel(title, "Seconds per epoch", log=log)
        panels.append(draw_lines(_of(curves, "training", mode), _epoch, epochs, labels))
        for stage in STAGES:
            name, axis = titles[stage]
            panel = Panel(f"{name}, {mode} scaling", axis, log=10, top=True)
            panels.append(draw_lines(_of(curves, stage, mode), Curve.throughput, panel, labels))
    return grid(panels)


def draw_all_reduce(curves: Sequence[Curve], style: FigureStyle) -> Chart | None:
    """All-reduce that a training step waits for, and what it sends, against ranks."""
    metered = [c for c in curves if c.stage == "training" and c.points[-1].steps]
    labels = looks(metered, style)
    waits = Panel("All-reduce waited for in a training step", "ms per step")
    sent = Panel("Handed to the all-reduce", "Bytes per step of a rank")
    panels = ((_waited, waits), (_sent, sent))
    return grid([draw_lines(metered, value, panel, labels) for value, panel in panels])


def _of(curves: Sequence[Curve], stage: str, mode: str) -> list[Curve]:
    return [curve for curve in curves if (curve.stage, curve.mode) == (stage, mode)]


def _epoch(curve: Curve, point: Point | Projected) -> float | None:
    """Seconds of an epoch's steps; None where it wasn't metered, or projected."""
    if not isinstance(point, Point) or not point.epochs:
        return None
    return sum(point.parts.values()) / point.epochs or None


def _waited(curve: Curve, point: Point | Projected) -> float:
    steps = point.steps if isinstance(point, Point) else curve.points[-1].steps
    return point.waited / steps * 1e3


def _sent(curve: Curve, point: Point | Projected) -> float | None:
    return point.sent / point.steps if isinstance(point, Point) else None


METRIC = "scaling"
_PROJECTED = (
    "Filled: measured, median over seeds and draws, bars from the least to the greatest"
    "{crossed}. Hollow and dashed: projected, from measured computing and an α-β model of the "
    "all-reduce{error}.{warned}"
)
_PROFILED = "ten training steps, and ten batches sampled, by torch.profiler"
_TEXTS = {
    "speed-up": (
        "Speed-up by ranks",
        "Work per second over that of the fewest ranks; dotted: ideal. " + _PROJECTED,
    ),
    "efficiency": (
        "Efficiency by ranks",
        "Speed-up over how many times more ranks there are; dotted: ideal. " + _PROJECTED,
    ),
    "rates": (
        "Time of an epoch and throughput by ranks",
        "An epoch's training steps; haplotypes trained on, all epochs counted, and alleles "
        "sampled, over the whole stage's time. " + _PROJECTED,
    ),
    "step-shares": (
        "Shares of a training step",
        "Mean over ranks; all-reduce is the communication that was waited for{starred}.",
    ),
    "all-reduce": (
        "All-reduce by ranks",
        "Time that a step waits for it, and bytes that a rank hands over to it, after "
        "compression. " + _PROJECTED,
    ),
    "losses": (
        "The same training by other ranks and back ends",
        "Validation loss, all its parts summed up, and each part's largest relative difference "
        f"from the first training's (1e-9 or less: the same); tolerance {losses.TOLERANCE:g}.",
    ),
    "memory": (
        "Memory by batch size",
        "Peak resident memory of the largest rank in training, and of its GPU (dashed) where "
        "there is one; mean over seeds.",
    ),
    "profile": (
        "Time by operator and by model part",
        f"Of {_PROFILED}: operators' own time; of model parts the forward pass with all that "
        "they call.",
    ),
    "utilisation": (
        "Utilisation by model part",
        f"Share of the time of {_PROFILED}, in which the processor, or a kernel on the GPU, works "
        "for the part's forward pass; a part holds the parts named under it.",
    ),
}


def draw_scaling(
    run: Run, ranks: Sequence[int] = (), costs: Sequence[CellCost] | None = None
) -> list[Figure]:
    """Figures of every dataset on which a generator ran at several world sizes or batch sizes.

    `costs` are the run's, where they were read already. Raises BenchError if altair or vl-convert
    are not installed.
    """
    folder = RunFolder(run.folder)
    costs = read_costs(folder) if costs is None else costs
    if not costs:
        return []
    curves = scaling_curves(run.folder, ranks, costs)
    style = figure_style(run)
    figures = []
    for dataset in run.datasets:
        here = [curve for curve in curves if curve.dataset == dataset]
        own = [cost for cost in costs if cost.dataset == dataset]
        profiles = losses.profiles_of(own)
        charts = {
            "speed-up": draw_speedup(here, style),
            "efficiency": draw_efficiency(here, style),
            "rates": draw_rates(here, style),
            "step-shares": draw_shares(here),
            "all-reduce": draw_all_reduce(here, style),
            "losses": draw_losses(losses.same_trainings(folder, own)),
            "memory": draw_memory(memory_points(own)),
            "profile": losses.draw_profiles(profiles),
            "utilisation": losses.draw_use(profiles),
        }
        said = _said(here)
        names = ", ".join(sorted({cost.name for cost in own}))
        for name, chart in charts.items():
            if chart is None:
                continue
            title, caption = _TEXTS[name]
            figures.append(
                Figure(
                    dataset=dataset,
                    metric=METRIC,
                    name=name,
                    title=f"{title}: {names}" if names else title,
                    caption=caption.format(**said),
                    svg=render_chart(chart, style),
                    file=f"{slug(dataset)}/{METRIC}-{name}",
                )
            )
    return figures


def write_scaling_figures(
    folder: Path, to: Path, ranks: Sequence[int] = (), costs: Sequence[CellCost] | None = None
) -> list[Path]:
    """Write the figures as SVG into `to`; the files."""
    from haplobench.report.svg import clean

    written = []
    for figure in draw_scaling(load_run(folder), ranks, costs):
        path = to / f"{figure.file}.svg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(clean(figure.svg, label=figure.title), encoding="utf-8")
        written.append(path)
    return written


def _said(curves: Sequence[Curve]) -> dict[str, str]:
    """What captions say of a dataset's curves."""
    crowded = any(curve.oversubscribed(point) for curve in curves for point in curve.points)
    return {
        "error": _errors(curves),
        "crossed": " (crosses: ranks that shared cores, not fitted to)" if crowded else "",
        "starred": "; starred: ranks that shared cores" if crowded else "",
        "warned": "".join(
            f" {curve.generator}, {curve.stage}: {text}."
            for curve in curves
            for text in warnings(curve)
        ),
    }


def _errors(curves: Sequence[Curve]) -> str:
    """How far projections of this dataset were off where they can be checked."""
    if found := [curve.error for curve in curves if curve.error is not None]:
        return (
            f" (the largest measured world size, left out of the fit, is projected with an error "
            f"of {max(found, key=abs):+.0%} at worst)"
        )
    # Where some sizes are oversubscribed, that is the reason to tell.
    by_reason = sorted(curves, key=lambda curve: curve.sound == curve.points)
    why = next((curve.no_error for curve in by_reason), "")
    return f" (its error can't be told: that {why}{_computing(curves)})"


def _computing(curves: Sequence[Curve]) -> str:
    found = [c.computing_error for c in curves if c.computing_error is not None]
    worst = max(found, key=abs, default=None)
    told = "; of a rank's processor seconds at more ranks than cores it is {:+.0%} at worst"
    return "" if worst is None else told.format(worst)
