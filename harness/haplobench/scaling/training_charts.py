"""Shares of a training step, losses of the same training side by side, memory by batch size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from haplobench.distributed.training import PARTS
from haplobench.scaling.curves import Curve
from haplobench.scaling.lines import HEIGHT, WIDTH, Chart, grid
from haplobench.scaling.losses import TOLERANCE, Trained, differences
from haplobench.scaling.memory import MemoryPoint

if TYPE_CHECKING:
    from haplobench.report.style import FigureStyle

_MIB = 2.0**20
_SHADES = ("#7b8794", "#0072b2", "#4ba9e0", "#d55e00", "#dd9500")
_LEAST = 1e-9  # a difference of 0 has no place on a logarithmic axis


def draw_shares(curves: Sequence[Curve], style: FigureStyle) -> Chart | None:
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
        base = alt.Chart(alt.Data(values=rows))  # type: ignore[no-untyped-call]
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


def draw_losses(groups: Sequence[Sequence[Trained]], style: FigureStyle) -> Chart | None:
    """Losses of the same training by epoch, and how far they are from the first one's."""
    panels = []
    for group in groups:
        rows = [
            {"line": one.text, "epoch": epoch + 1, "loss": sum(losses)}
            for one in group
            for epoch, losses in enumerate(zip(*one.losses.values(), strict=False))
        ]
        if not rows:
            continue
        lines = [one.text for one in group]
        panels.append(_losses(rows, lines, f"{group[0].name}, seed {group[0].seed}"))
        far = [
            {"line": one.text, "epoch": epoch + 1, "far": max(value, _LEAST)}
            for one in group[1:]
            for epoch, value in enumerate(differences(one.losses, group[0].losses))
            if math.isfinite(value)
        ]
        if far:
            panels.append(_differences(far, lines, f"Difference from {lines[0]}"))
    return grid(panels)


def draw_memory(points: Sequence[MemoryPoint], style: FigureStyle) -> Chart | None:
    """Peak memory of a rank in training against the batch size of the step, by world size."""
    import altair as alt

    rows = [
        {"line": f"{point.generator}, {_plural(point.ranks)}", "batch": point.batch,
         "peak": peak / _MIB, "kind": kind}
        for point in points
        for kind, peak in (("memory", point.peak), ("GPU memory", point.gpu))
        if peak is not None
    ]  # fmt: skip
    if not rows:
        return None
    base = alt.Chart(alt.Data(values=rows))  # type: ignore[no-untyped-call]
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

    limit = alt.Chart(alt.Data(values=[{"far": TOLERANCE}]))  # type: ignore[no-untyped-call]
    y = alt.Y(
        "far:Q",
        title="Relative difference",
        scale=alt.Scale(type="log", domain=[_LEAST, 10 * TOLERANCE], clamp=True),
        axis=alt.Axis(format=".0e", values=[1e-9, 1e-7, 1e-5, 1e-3]),
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

    base = alt.Chart(alt.Data(values=rows))  # type: ignore[no-untyped-call]
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


def _plural(ranks: int) -> str:
    return f"{ranks} rank{'s' if ranks > 1 else ''}"
