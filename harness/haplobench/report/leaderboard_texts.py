"""The leaderboard as texts: what the page, the terminal, Markdown and CSV show."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from haplobench.files import csv_text
from haplobench.report.formatting import format_value, listed
from haplobench.report.leaderboard import BoardRow, Exposure, Leaderboard, Scope
from haplobench.results.records import FLOOR
from haplobench.units import counted

if TYPE_CHECKING:
    import altair

    from haplobench.report.style import FigureStyle

SCOPES: dict[Scope, str] = {"all": "leaderboard", "site-free": "leaderboard of site-free numbers"}
TITLE = "Distance from the floor"
CAPTION = (
    "How many times further from the ideal than real people’s cohorts, with 95 % intervals; at 1 "
    "a cohort is as good as real people. In the leaderboard’s order, those that leak below. "
    "Filled: no leak found; hollow: said to leak."
)
EXPLANATION = (
    "Distance: how far a headline number of fidelity or utility is from its ideal, over the same "
    "of the floor (or the number’s smallest effect, where that is greater), never less than 1; "
    "the geometric mean over draws, seeds and numbers, every metric weighing alike. Its 95 % "
    "interval holds the noise of seeds, of draws and of the floor; what a few seeds can’t show is "
    "borrowed from the floor’s draws. Generators share a rank unless the interval of their "
    "difference, paired by seed, excludes zero. Whoever an attack says to leak stands below all "
    "who aren’t said to, whatever the distance; whoever gives away everybody, below all. An "
    "attack that could have missed a leak that matters counts neither way. A generator’s place "
    "rests on its own numbers and the floor’s: no rival changes it. Cost counts for nothing. "
    "Controls have no rank; theirs is the place that they would take."
)


@dataclass(frozen=True)
class ShownRow:
    """One line of the leaderboard; `sort` are keys of rank, distance, leak and cost."""

    label: str
    role: str
    rank: str
    distance: str
    interval: str
    leak: str
    cost: str
    finding: str
    sort: tuple[float, float, float, float]


def show_rows(board: Leaderboard) -> list[ShownRow]:
    """Lines of the leaderboard, in its order."""
    return [_row(row, place) for place, row in enumerate(board.rows)]


def _row(row: BoardRow, place: int) -> ShownRow:
    rank = f"{row.rank}{'=' if row.tied else ''}" if row.rank else "–"
    exposure = row.exposure
    return ShownRow(
        label="floor (real people)" if row.role == FLOOR else row.label,
        role=row.role,
        rank=f"({rank})" if row.role == "control" else rank,
        distance=f"{_times(row.distance)}×",
        interval=f"{_times(row.low)}–{_times(row.high)}",
        leak=leak_words(exposure) if exposure else "–",
        cost="–" if row.cost is None else format_value(row.cost),
        finding=_band(exposure) if exposure else "",
        sort=(
            place,
            row.distance,
            exposure.excess if exposure else -1,
            math.inf if row.cost is None else row.cost,
        ),
    )


def _band(exposure: Exposure) -> str:
    """What a cell is coloured as: as in verdicts, good where every headline attack has power."""
    return "unclear" if exposure.finding == "clear" and not exposure.sure else exposure.finding


def leak_words(exposure: Exposure) -> str:
    """What attacks found: `yes: AUC (distance) 0.85`, `not seen by 11 of 13`, `can't tell`."""
    if exposure.finding == "leak":
        much = "total" if exposure.gate == 2 else "yes"
        return f"{much}: {exposure.title} {format_value(exposure.value, unit=exposure.unit)}"
    if exposure.finding == "unclear":
        return "can’t tell" if exposure.attacks else "can’t tell: no attack"
    able = exposure.attacks - exposure.unclear
    return f"not seen by {able} of {exposure.attacks}" if exposure.unclear else "not seen"


def _times(value: float) -> str:
    return (
        f"{value:.2f}" if value < 9.995 else f"{value:,.1f}" if value < 99.95 else f"{value:,.0f}"
    )


def about_row(row: BoardRow, board: Leaderboard) -> str:
    """A generator's place in words: `rank 2 of 5, shared; 1.31× (1.20–1.43) …; leak: not seen`."""
    shown = _row(row, 0)
    place = f"rank {row.rank} of {len(board.ranked)}{', shared' if row.tied else ''}"
    seeds = f"{row.seeds} seed{'s' if row.seeds != 1 else ''}"
    seeds += f", {row.lacking} more lack numbers" if row.lacking else ""
    parts = [
        "a control: not ranked" if row.role == "control" else place,
        f"{shown.distance} ({shown.interval}) the floor’s distance from the ideal over {seeds}",
        f"leak: {shown.leak}",
    ]
    free = "by site-free numbers: " if board.scope == "site-free" else ""
    return free + "; ".join(parts)


def cost_title(board: Leaderboard) -> str:
    """Head of the column of costs: `Fit (s)`; empty where there is none."""
    if board.cost is None:
        return ""
    unit = board.cost.submetric.unit
    return f"{board.cost.title} ({unit})" if unit else board.cost.title


def over_words(board: Leaderboard) -> str:
    """How many numbers count, and of what families."""
    counts = Counter(column.family for column in board.columns)
    listed = ", ".join(f"{n} of {family}" for family, n in counts.items())
    numbers = counted(len(board.columns), "number")
    return f"{numbers} ({listed}); distances in the floor’s, with 95 % intervals"


def leading(board: Leaderboard) -> str:
    """One sentence: who leads, how far from the floor, and who leaks; empty if nobody is ranked."""
    first = [row for row in board.ranked if row.label in board.leaders]
    leaks = [row.label for row in board.ranked if row.exposure and row.exposure.gate]
    free = "By site-free numbers, " if board.scope == "site-free" else ""
    if not first:
        return f"{free}nobody leads: all ranked are said to leak: {listed(leaks)}." if leaks else ""
    least, most = (_times(at(row.distance for row in first)) for at in (min, max))
    away = f"{least}×" if least == most else f"{least}–{most}×"
    verb = "leads" if len(first) == 1 else "share the first rank of"
    told = (
        f"said to leak, so below the others: {listed(leaks)}" if leaks else "none is said to leak"
    )
    return (
        f"{free}{listed([row.label for row in first])} {verb} {len(board.ranked)} ranked, at "
        f"{away} the floor’s distance from the ideal; {told}."
    )


COLUMNS = (
    "dataset", "board", "generator", "role", "rank", "tied", "distance", "distance_low",
    "distance_high", "seeds", "seeds_lacking", "numbers", "leak", "attacks", "attacks_unclear",
    "strongest_attack", "strongest_value", "strongest_excess", "cost", "reason",
)  # fmt: skip


def render_csv(boards: Sequence[Leaderboard]) -> str:
    """All leaderboards as CSV, full precision; one line per row, ranked or not."""
    lines: list[dict[str, object]] = []
    for board in boards:
        same = {"dataset": board.dataset, "board": board.scope, "numbers": len(board.columns)}
        for row in board.rows:
            line: dict[str, object] = {
                **same,
                "generator": row.label,
                "role": row.role,
                "distance": row.distance,
                "distance_low": row.low,
                "distance_high": row.high,
                "seeds": row.seeds,
                "seeds_lacking": row.lacking,
                "cost": "" if row.cost is None else row.cost,
            }
            if row.role == "generator":
                line |= {"rank": row.rank, "tied": row.tied}
            else:
                line["reason"] = (
                    f"{'real people' if row.role == FLOOR else 'a control'}: not ranked"
                )
            if (exposure := row.exposure) is not None:
                line |= {"leak": exposure.finding, "attacks": exposure.attacks}
                line["attacks_unclear"] = exposure.unclear
                if exposure.title:
                    line |= {"strongest_attack": exposure.title}
                    line |= {"strongest_value": exposure.value}
                    line |= {"strongest_excess": exposure.excess}
            lines.append(line)
        for label, reason in board.unranked:
            lines.append({**same, "generator": label, "reason": reason})
    return csv_text(COLUMNS, lines)


def draw_board(
    board: Leaderboard, style: FigureStyle
) -> altair.LayerChart | altair.FacetChart | None:
    """The chart of distances, one row per generator; None where nothing is ranked."""
    import altair as alt

    from haplobench.report.style import TICKS, inline

    if not board.rows:
        return None
    rows = [
        {
            "generator": row.label,
            "distance": row.distance,
            "low": row.low,
            "high": row.high,
            "leak": "leaks" if row.exposure and row.exposure.gate else "no leak found",
        }
        for row in board.rows
    ]
    labels = [row.label for row in board.rows]
    base = alt.Chart(inline(rows)).encode(
        y=alt.Y("generator:N", sort=labels, title=None),
        color=alt.Color("generator:N", scale=style.scale(style.sorted(labels)), legend=None),
    )
    scale = alt.Scale(type="log", nice=False)
    title = "Times the floor’s distance from the ideal"
    lines = base.mark_rule(opacity=0.6).encode(
        x=alt.X(
            "low:Q",
            scale=scale,
            title=title,
            axis=alt.Axis(labelExpr=TICKS, labelOverlap="greedy", labelSeparation=4),
        ),
        x2="high:Q",
    )
    points = [
        base.transform_filter(alt.datum.leak == leak)
        .mark_point(filled=fill, opacity=1, strokeWidth=1.6, size=80)
        .encode(x=alt.X("distance:Q", scale=scale, title=title), detail="leak:N")
        for leak, fill in (("no leak found", True), ("leaks", False))
    ]
    chart: altair.LayerChart | altair.FacetChart = alt.layer(lines, *points).properties(
        width=style.width + 100
    )
    return chart
