"""Profiles of a run's cells: time by operator and by model part, utilisation by model part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from haplobench.results.costs import CellCost

if TYPE_CHECKING:
    from rich.console import Console

_SHOWN = 12
_KINDS = {"operators": "operator", "parts": "model part"}
_PLACES = (("processor", "seconds"), ("GPU", "device_seconds"))
_COLOURS = ("#0072b2", "#d55e00")


@dataclass(frozen=True)
class CellProfile:
    """A stage's profile: rows of `name`, `calls`, `seconds`, `device_seconds`, costliest first.

    Of operators their own time, of model parts with all that they call in the forward pass.
    `wall`: seconds of all that was profiled; 0 where the run is older than that is noted.
    """

    dataset: str
    generator: str
    stage: str
    kind: str
    rows: tuple[dict[str, Any], ...]
    wall: float = 0.0

    @property
    def title(self) -> str:
        """`vae, training, by operator`."""
        return f"{self.generator}, {self.stage}, by {_KINDS[self.kind]}"

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU worked."""
        return any(row["device_seconds"] for row in self.rows)

    def use(self, row: dict[str, Any], key: str) -> float | None:
        """Share of the profiled time that `seconds` or `device_seconds` of a row are."""
        return row[key] / self.wall if self.wall else None


def profiles_of(costs: Sequence[CellCost]) -> list[CellProfile]:
    """Profiles that the suite asked for; of each generator the first cell's."""
    found: dict[tuple[str, str, str, str], CellProfile] = {}
    for cost in costs:
        for stage, kind, rows, wall in _rows(cost):
            key = (cost.dataset, cost.generator, stage, kind)
            found.setdefault(key, CellProfile(*key, tuple(rows), wall))
    return list(found.values())


def _rows(cost: CellCost) -> Iterator[tuple[str, str, list[dict[str, Any]], float]]:
    for stage, work in (("training", cost.fit), *(("generation", draw) for draw in cost.draws)):
        profile = work.get("profile") or {}
        for kind in _KINDS:
            if rows := profile.get(kind):
                yield stage, kind, rows, float(profile.get("wall", 0.0))


def draw_profiles(profiles: Sequence[CellProfile]) -> Any:
    """Bars of the costliest operators and model parts: processor, and GPU where there is one."""
    return _draw(profiles, lambda profile, row, key: row[key] * 1e3, "ms", None)


def draw_use(profiles: Sequence[CellProfile]) -> Any:
    """Bars of the share of the profiled time in which each model part keeps its device busy."""
    parts = [profile for profile in profiles if profile.kind == "parts" and profile.wall]
    return _draw(parts, CellProfile.use, "Utilisation", "%")


def _draw(profiles: Sequence[CellProfile], value: Any, title: str, format_: str | None) -> Any:
    import altair as alt

    from haplobench.report.style import inline

    panels = []
    places = _PLACES if any(profile.on_gpu for profile in profiles) else _PLACES[:1]
    names_of = [name for name, _ in places]
    axis = alt.Axis(tickCount=5, format=format_) if format_ else alt.Axis(tickCount=5)
    for profile in profiles:
        rows = [
            {"name": row["name"], "where": where, "value": value(profile, row, key)}
            for row in profile.rows[:_SHOWN]
            for where, key in places
            if row[key]
        ]
        if not rows:
            continue
        names = list(dict.fromkeys(row["name"] for row in rows))
        base = alt.Chart(inline(rows))
        panels.append(
            base.mark_bar()
            .encode(
                x=alt.X("value:Q", title=title, stack=None, axis=axis),
                y=alt.Y("name:N", sort=names, title=None, axis=alt.Axis(labelLimit=230)),
                yOffset=alt.YOffset("where:N", sort=names_of),
                color=alt.Color(
                    "where:N",
                    scale=alt.Scale(domain=names_of, range=list(_COLOURS[: len(places)])),
                    title=None,
                    legend=alt.Legend(orient="bottom") if len(places) > 1 else None,
                ),
            )
            .properties(width=210, height=15 * len(names), title=profile.title)
        )
    return alt.concat(*panels, columns=2) if panels else None


def print_profiles(profiles: Sequence[CellProfile], console: Console) -> None:
    """Print the costliest operators and model parts of each profile."""
    from rich.markup import escape
    from rich.table import Table

    for profile in profiles:
        title = escape(f"{profile.dataset} · {profile.title}")
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        table.add_column(_KINDS[profile.kind])
        places = _PLACES if profile.on_gpu else _PLACES[:1]
        table.add_column("calls", justify="right")
        for name, _ in places:
            table.add_column(name, justify="right")
            table.add_column("of the time", justify="right")
        for row in profile.rows[:_SHOWN]:
            cells = []
            for _, key in places:
                share = profile.use(row, key)
                cells += [f"{row[key] * 1e3:,.4g} ms", "–" if share is None else f"{share:.1%}"]
            table.add_row(escape(row["name"]), f"{row['calls']:,}", *cells)
        console.print(table)
        console.print()
