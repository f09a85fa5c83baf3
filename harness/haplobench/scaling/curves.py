"""Scaling curves of a run: measured, with speed-up and efficiency, and projected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from haplobench.errors import BenchError
from haplobench.results.costs import CellCost, read_costs
from haplobench.results.run_folder import RunFolder
from haplobench.scaling.model import Projected, TimeModel, fit_model, left_out_error, project
from haplobench.scaling.points import STAGES, Point, Stage, points_of

_FURTHER = 8


@dataclass(frozen=True)
class Curve:
    """A stage of one generator on one dataset, by world size.

    Attributes
    ----------
    dataset, generator : str
        Labels in the suite.
    stage, mode : str
        `training` or `generation`; `strong` or `weak`.
    points : tuple of Point
        Measured, by increasing world size.
    model : TimeModel
    projected : tuple of Projected
        At larger world sizes.
    error : float or None
        See `left_out_error`.
    """

    dataset: str
    generator: str
    stage: Stage
    mode: str
    points: tuple[Point, ...]
    model: TimeModel
    projected: tuple[Projected, ...]
    error: float | None

    def speedup(self, point: Point | Projected) -> float:
        """Work done per second over that at the smallest measured world size.

        In strong scaling T(1) / T(p); in weak scaling, where the work grows with the ranks,
        Gustafson's scaled speed-up (1988) p T(1) / T(p).
        """
        base = self.points[0]
        return (point.amount / point.seconds) / (base.amount / base.seconds)

    def efficiency(self, point: Point | Projected) -> float:
        """Speed-up over how many times more ranks there are."""
        return self.speedup(point) / (point.ranks / self.points[0].ranks)


def scaling_curves(folder: Path, ranks: Sequence[int] = ()) -> list[Curve]:
    """Curves of every generator of a run that was measured at two world sizes or more.

    `ranks` are the world sizes to project to; none: powers of two up to 8 times the largest.
    Those that were measured are left out.
    """
    curves = []
    for (dataset, generator), costs in by_generator(read_costs(RunFolder(folder))).items():
        for stage in STAGES:
            points = points_of(costs, stage)
            if len(points) < 2 or any(not point.seconds for point in points):
                continue
            most = points[-1].ranks
            wanted = ranks or [2**k for k in range(1, 20) if most < 2**k <= most * _FURTHER]
            others = sorted(set(wanted) - {point.ranks for point in points})
            weak = costs[0].mode == "weak"
            curves.append(
                Curve(
                    dataset,
                    generator,
                    stage,
                    costs[0].mode,
                    tuple(points),
                    fit_model(points),
                    tuple(project(points, others, weak)),
                    left_out_error(points, weak),
                )
            )
    return curves


def by_generator(costs: Sequence[CellCost]) -> dict[tuple[str, str], list[CellCost]]:
    """Costs by the labels of dataset and generator."""
    found: dict[tuple[str, str], list[CellCost]] = {}
    for cost in costs:
        found.setdefault((cost.dataset, cost.generator), []).append(cost)
    return found


def require_curves(folder: Path, ranks: Sequence[int]) -> list[Curve]:
    """As `scaling_curves`; BenchError where there are none."""
    curves = scaling_curves(folder, ranks)
    if not curves:
        raise BenchError(
            f"{folder}: no generator was run at two world sizes or more",
            hint="world_size: [1, 2] on a generator of the suite, as in suites/scaling.yaml",
        )
    return curves
