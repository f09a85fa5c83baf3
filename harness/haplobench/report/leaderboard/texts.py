"""The leaderboard as texts: what the page, the terminal, Markdown and CSV show."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from haplobench.report.leaderboard.board import AxisStanding, BoardRow, Leaderboard

if TYPE_CHECKING:
    import altair

    from haplobench.report.style import FigureStyle


TITLE = "Fidelity, privacy and cost"
CAPTION = (
    "Typical distance from real people in standard deviations of the floor, with 95 % bootstrap "
    "intervals; the nearer to the lower left, the better. Filled: on the Pareto front; the larger "
    "the mark, the costlier."
)
_TITLES = {
    "fidelity": "Fidelity: distance from the floor",
    "privacy": "Privacy: distance from the floor",
    "cost": "Cost: times the cheapest, less 1",
}


def draw_front(
    board: Leaderboard, style: FigureStyle
) -> altair.LayerChart | altair.FacetChart | None:
    """The chart, or None where fewer than two axes were measured."""
    import altair as alt

    axes = board.axes
    if not board.rows or len(axes) < 2:
        return None
    rows: list[dict[str, Any]] = []
    for row in board.rows:
        entry: dict[str, Any] = {
            "generator": row.label,
            "front": "on the front" if row.front else "off the front",
            "cost": row.axes["cost"].distance + 1 if "cost" in row.axes else 1.0,
        }
        for name, axis in (("x", row.axes[axes[0]]), ("y", row.axes[axes[1]])):
            entry |= {name: axis.distance, f"{name}_low": axis.low, f"{name}_high": axis.high}
        rows.append(entry)
    labels = style.sorted([row.label for row in board.rows])
    base = alt.Chart(alt.Data(values=rows))  # type: ignore[no-untyped-call]

    def encoding(name: str, kind: Any, axis: str) -> Any:
        # Symmetric logarithm: linear near the floor, logarithmic far from it.
        scale = alt.Scale(type="symlog", constant=1, nice=False, zero=True, padding=8)
        ticks = [0, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000, 10000]
        return kind(
            f"{name}:Q",
            title=_TITLES[axis],
            scale=scale,
            axis=alt.Axis(values=ticks, labelExpr="format(datum.value, ',~r')"),
        )

    x, y = encoding("x", alt.X, axes[0]), encoding("y", alt.Y, axes[1])
    colour = alt.Color(
        "generator:N",
        scale=style.scale(labels),
        title="Generator",
        legend=alt.Legend(symbolOpacity=1, symbolStrokeWidth=1.6),
    )
    lines = [
        base.mark_rule(opacity=0.5).encode(x=x, y=encoding("y_low", alt.Y, axes[1]), y2="y_high:Q",
                                           color=colour),
        base.mark_rule(opacity=0.5).encode(x=encoding("x_low", alt.X, axes[0]), x2="x_high:Q", y=y,
                                           color=colour),
    ]  # fmt: skip
    filled = [
        base.transform_filter(alt.datum.front == front)
        .mark_point(filled=fill, opacity=1, strokeWidth=1.6)
        .encode(
            x=x,
            y=y,
            color=colour,
            shape=alt.Shape("generator:N", scale=style.shape_scale(labels), title="Generator"),
            size=alt.Size(
                "cost:Q",
                scale=alt.Scale(type="log", range=[50, 320]),
                title="Times the cheapest",
                legend=None,
            ),
            detail="front:N",
        )
        for front, fill in (("on the front", True), ("off the front", False))
    ]
    chart: altair.LayerChart | altair.FacetChart = alt.layer(*lines, *filled).properties(
        width=420, height=300
    )
    return chart


COLUMNS = (
    "dataset", "generator", "role", "rank", "tied", "share", "share_low", "share_high",
    *(
        f"{axis}_{name}"
        for axis in ("fidelity", "privacy", "cost")
        for name in ("share", "distance", "distance_low", "distance_high")
    ),
    "pareto_front", "pareto_front_share", "reason",
)  # fmt: skip

EXPLANATION = (
    "A generator beats another in a headline number if the 95 % interval of their difference "
    "excludes zero, the difference exceeds the metric’s smallest effect, and the other is not "
    "already as good as real people. Its share on an axis is the part of such comparisons that "
    "it wins, a tie counting half, every metric weighing alike. The rank goes by the lesser of "
    "its shares of fidelity and privacy, so that neither makes up for the other; generators that "
    "the bootstrap can’t tell apart share a rank. Cost counts on the Pareto front only: a "
    "generator is on it if none is at least as good in fidelity, privacy and cost and better in "
    "one. Controls have no rank; theirs is the place they would take."
)


@dataclass(frozen=True)
class ShownAxis:
    """One axis of one generator: share won, and distance with its interval."""

    share: str
    won: float
    distance: str
    interval: str
    sort: float


@dataclass(frozen=True)
class ShownRow:
    """One line of the leaderboard."""

    label: str
    role: str
    rank: str
    place: int
    share: str
    interval: str
    overall: float
    low: float
    high: float
    axes: tuple[ShownAxis | None, ...]
    front: str
    front_help: str


def show_rows(board: Leaderboard) -> list[ShownRow]:
    """Lines of the leaderboard, in its order."""
    return [_row(row, board) for row in board.rows]


def _row(row: BoardRow, board: Leaderboard) -> ShownRow:
    rank = f"{row.rank}{'=' if row.tied else ''}"
    share = _percent(row.front_share)
    return ShownRow(
        label=row.label,
        role=row.role,
        rank=f"({rank})" if row.role == "control" else rank,
        place=row.rank,
        share=_percent(row.overall),
        interval=f"{100 * row.low:.0f}–{100 * row.high:.0f}",
        overall=row.overall,
        low=row.low,
        high=row.high,
        axes=tuple(
            _axis(row.axes[axis], axis) if axis in row.axes else None for axis in board.axes
        ),
        front="yes" if row.front else "no",
        front_help=f"in {share} of resamples",
    )


def _axis(axis: AxisStanding, name: str) -> ShownAxis:
    values = (axis.distance, axis.low, axis.high)
    if name == "cost":
        at, low, high = (_short(value + 1) for value in values)
        return ShownAxis(
            _percent(axis.share), axis.share, f"{at}×", f"{low}–{high}×", axis.distance
        )
    at, low, high = (_short(value) for value in values)
    return ShownAxis(_percent(axis.share), axis.share, at, f"{low}–{high}", axis.distance)


def _percent(share: float) -> str:
    return f"{100 * share:.0f}\N{NO-BREAK SPACE}%"


def _short(value: float) -> str:
    return f"{value:.1f}" if value < 9.95 else f"{value:,.0f}"


def over_words(board: Leaderboard) -> str:
    """What the intervals are taken over, and how many numbers count."""
    counts = [
        f"{sum(judged.axis == at for judged in board.columns)} of {axis}"
        for at, axis in enumerate(("fidelity", "privacy", "cost"))
        if any(judged.axis == at for judged in board.columns)
    ]
    return f"{len(board.columns)} numbers ({', '.join(counts)}); intervals over {board.over}"


def leading(board: Leaderboard) -> str:
    """One sentence: who leads, and by what; empty where nothing is ranked."""
    rows = [row for row in board.rows if row.role == "generator"]
    first = [row for row in rows if row.rank == 1]
    if not first:
        return ""
    names = [row.label for row in first]
    listed = " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)
    shares = {_percent(row.overall) for row in first}
    won = f"{shares.pop()} of comparisons" if len(shares) == 1 else "most comparisons"
    verb = "leads" if len(first) == 1 else "share the first rank"
    front = [row.label for row in rows if row.front]
    return (
        f"{listed} {verb} of {len(rows)} ranked, winning {won} on the weaker of fidelity and "
        f"privacy; Pareto front: {', '.join(front)}."
    )


def render_csv(boards: Sequence[Leaderboard]) -> str:
    """All leaderboards as CSV, full precision; one line per generator, ranked or not."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for board in boards:
        for row in board.rows:
            line: dict[str, object] = {
                "dataset": board.dataset,
                "generator": row.label,
                "role": row.role,
                "rank": row.rank if row.role == "generator" else "",
                "tied": row.tied,
                "share": row.overall,
                "share_low": row.low,
                "share_high": row.high,
                "pareto_front": row.front,
                "pareto_front_share": row.front_share,
                "reason": "a control: not ranked" if row.role == "control" else "",
            }
            for name, axis in row.axes.items():
                line |= {
                    f"{name}_share": axis.share,
                    f"{name}_distance": axis.distance,
                    f"{name}_distance_low": axis.low,
                    f"{name}_distance_high": axis.high,
                }
            writer.writerow(line)
        for label, reason in board.unranked:
            writer.writerow({"dataset": board.dataset, "generator": label, "reason": reason})
    return stream.getvalue()
