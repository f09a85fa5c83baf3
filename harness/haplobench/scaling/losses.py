"""The same training by other ranks and back ends: what it cost, and how far its losses differ.

A generator that counts its epochs (`trainer.meter.epochs`) and writes `training.json` into
`ctx.artifacts` is compared: every list of numbers in it whose name has `loss` in it is taken as
a loss by epoch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from haplobench.results.costs import CellCost
from haplobench.results.run_folder import RunFolder
from haplobench.scaling.curves import points_of

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
