"""What a run's trainings left: losses of the same training by other ranks and back ends, profiles.

A generator that counts its epochs (`trainer.meter.epochs`) and writes `training.json` into
`ctx.artifacts` is compared: every list of numbers in it whose name has `loss` in it is taken as
a loss by epoch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from haplobench.results.notes import CellCost
from haplobench.results.run_folder import RunFolder
from haplobench.scaling.curves import points_of

if TYPE_CHECKING:
    from rich.console import Console

TRAINING = "training.json"
TOLERANCE = 1e-3
"""Largest relative difference between validation losses of the same training."""

Curves = Mapping[str, tuple[float, ...]]


@dataclass(frozen=True)
class Trained:
    """One training among several that ask for the same.

    Attributes
    ----------
    dataset, generator : str
        Labels in the suite.
    name : str
        The generator's own name.
    seed, ranks : int
    backend : str
        `torch` or `horovod`; empty for one rank.
    seconds : float
        Wall time of fitting, of the slowest rank.
    step, all_reduce : float or None
        Seconds of a training step, and the share of it in all-reduce; None where not metered.
    losses : dict
        Loss curves by name, a value for each epoch; empty where the generator wrote none.
    from_first, from_torch : float or None
        Largest relative difference of a loss from the first of the group's, and from torch's
        with as many ranks; None for these themselves, and where there is nothing to compare.
    """

    dataset: str
    generator: str
    name: str
    seed: int
    ranks: int
    backend: str
    seconds: float
    step: float | None
    all_reduce: float | None
    losses: Curves
    from_first: float | None = None
    from_torch: float | None = None

    @property
    def text(self) -> str:
        """`1 rank`, or `2 ranks, torch`."""
        return "1 rank" if self.ranks == 1 else f"{self.ranks} ranks, {self.backend}"

    @property
    def last(self) -> float | None:
        """The loss of the last epoch, the sum of all curves."""
        ends = [curve[-1] for curve in self.losses.values() if curve]
        return sum(ends) if ends else None


def same_trainings(folder: RunFolder, costs: Sequence[CellCost]) -> list[list[Trained]]:
    """Trainings of a run that ask for the same (people, parameters, seed) in different ways.

    Groups of two or more that left losses or ran on several back ends, each by increasing ranks,
    torch first. Profiled cells are left out.
    """
    groups: dict[str, dict[tuple[int, str], Trained]] = {}
    other = {cost.generator for cost in costs if cost.backend not in ("", "torch")}
    for cost in sorted(costs, key=lambda cost: cost.generator in other):
        if "profile" in cost.fit:
            continue
        asked = [cost.dataset, cost.name, dict(cost.params), cost.seed, cost.n_train]
        group = groups.setdefault(json.dumps(asked, sort_keys=True), {})
        # Of two labels for one and the same, the first.
        group.setdefault((cost.world_size, cost.backend), _trained(folder, cost))
    found = []
    for group in groups.values():
        carriers = {backend for _, backend in group if backend}
        if len(group) > 1 and (len(carriers) > 1 or any(one.losses for one in group.values())):
            in_order = sorted(group.items(), key=lambda item: (item[0][0], item[0][1] != "torch"))
            found.append(_compared([trained for _, trained in in_order]))
    return found


def differences(one: Curves, other: Curves) -> list[float]:
    """Relative differences |a - b| / |b| by epoch, the largest over the losses that both have.

    Infinite in epochs that only one of them was trained for; empty where they share no loss.
    """
    worst: dict[int, float] = {}
    for name in one.keys() & other.keys():
        for epoch, (a, b) in enumerate(zip_longest(one[name], other[name])):
            far = math.inf
            if a is not None and b is not None and (b or a == b):
                far = abs(a - b) / abs(b) if b else 0.0
            worst[epoch] = max(worst.get(epoch, 0.0), far)
    return [worst[epoch] for epoch in sorted(worst)]


def read_losses(folder: RunFolder, cost: CellCost) -> dict[str, tuple[float, ...]]:
    """Losses by epoch that a cell's generator left; empty where it left none that can be read."""
    if not any(
        (rank["communication"].get("steps") or {}).get("epochs") for rank in cost.fit["ranks"]
    ):
        return {}
    path = folder.path / "artifacts" / cost.cell / "fit" / TRAINING
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(values, dict):
        return {}
    return {
        name: tuple(map(float, value))
        for name, value in values.items()
        if "loss" in name
        and isinstance(value, list)
        and value
        and all(type(one) in (int, float) for one in value)
    }


def _trained(folder: RunFolder, cost: CellCost) -> Trained:
    (point,) = points_of([cost], "training")
    in_steps = sum(point.parts.values())
    return Trained(
        dataset=cost.dataset,
        generator=cost.generator,
        name=cost.name,
        seed=cost.seed,
        ranks=cost.world_size,
        backend=cost.backend,
        seconds=point.seconds,
        step=in_steps / point.steps if point.steps else None,
        all_reduce=point.shares.get("all_reduce") if cost.world_size > 1 else None,
        losses=read_losses(folder, cost),
    )


def _compared(group: Sequence[Trained]) -> list[Trained]:
    first = group[0]
    torch = {one.ranks: one for one in group if one.backend == "torch"}
    return [
        replace(
            one,
            from_first=_farthest(one, first),
            from_torch=_farthest(one, torch.get(one.ranks, one)),
        )
        for one in group
    ]


def _farthest(one: Trained, other: Trained) -> float | None:
    return None if one is other else max(differences(one.losses, other.losses), default=None)


# --- profiles ---------------------------------------------------------------------------------

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
