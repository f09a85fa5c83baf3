"""Profiles of a run's cells: time by operator and by model part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from haplobench.results.costs import CellCost

if TYPE_CHECKING:
    from rich.console import Console

_SHOWN = 12
_KINDS = {"operators": "operator", "parts": "model part"}


@dataclass(frozen=True)
class CellProfile:
    """A stage's profile: rows of `name`, `calls`, `seconds`, `device_seconds`, costliest first.

    Of operators their own time, of model parts with all that they call in the forward pass.
    """

    dataset: str
    generator: str
    stage: str
    kind: str
    rows: tuple[dict[str, Any], ...]

    @property
    def title(self) -> str:
        """`vae, training, by operator`."""
        return f"{self.generator}, {self.stage}, by {_KINDS[self.kind]}"


def profiles_of(costs: Sequence[CellCost]) -> list[CellProfile]:
    """Profiles that the suite asked for; of each generator the first cell's."""
    found: dict[tuple[str, str, str, str], CellProfile] = {}
    for cost in costs:
        for stage, kind, rows in _rows(cost):
            key = (cost.dataset, cost.generator, stage, kind)
            found.setdefault(key, CellProfile(*key, tuple(rows)))
    return list(found.values())


def _rows(cost: CellCost) -> Iterator[tuple[str, str, list[dict[str, Any]]]]:
    for stage, work in (("training", cost.fit), *(("generation", draw) for draw in cost.draws)):
        for kind in _KINDS:
            if rows := (work.get("profile") or {}).get(kind):
                yield stage, kind, rows


def draw_profiles(profiles: Sequence[CellProfile]) -> Any:
    """Bars of the costliest operators and model parts: processor, and GPU where there is one."""
    import altair as alt

    panels = []
    for profile in profiles:
        rows = [
            {"name": row["name"], "where": where, "ms": row[key] * 1e3, "calls": row["calls"]}
            for row in profile.rows[:_SHOWN]
            for where, key in (("processor", "seconds"), ("GPU", "device_seconds"))
            if row[key]
        ]
        if not rows:
            continue
        names = list(dict.fromkeys(row["name"] for row in rows))
        base = alt.Chart(alt.Data(values=rows))  # type: ignore[no-untyped-call]
        panels.append(
            base.mark_bar()
            .encode(
                x=alt.X("ms:Q", title="ms", stack=None, axis=alt.Axis(tickCount=5)),
                y=alt.Y("name:N", sort=names, title=None, axis=alt.Axis(labelLimit=230)),
                yOffset="where:N",
                color=alt.Color(
                    "where:N",
                    scale=alt.Scale(domain=["processor", "GPU"], range=["#0072b2", "#d55e00"]),
                    title=None,
                    legend=alt.Legend(orient="bottom"),
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
        for name in ("calls", "processor", "GPU"):
            table.add_column(name, justify="right")
        for row in profile.rows[:_SHOWN]:
            times = (f"{row[key] * 1e3:.3g} ms" for key in ("seconds", "device_seconds"))
            table.add_row(escape(row["name"]), f"{row['calls']:,}", *times)
        console.print(table)
        console.print()
