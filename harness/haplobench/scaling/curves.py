"""Scaling curves of a run: measured, with speed-up and efficiency, and projected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from haplobench.errors import BenchError, SuiteError
from haplobench.marked_yaml import read_marked
from haplobench.results.costs import CellCost, read_costs
from haplobench.results.run_folder import RunFolder
from haplobench.scaling.model import (
    Projected,
    TimeModel,
    computing_error,
    fit_model,
    left_out_error,
    project,
)
from haplobench.scaling.points import STAGES, Point, Stage, points_of

_FURTHER = 8
_FEWEST = 3


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
    room : int or None
        Ranks that the machine has cores for; None where it isn't known, or where a cluster
        hands the cores out.
    model : TimeModel or None
        Fitted to the points that had a core for each thread; None where none had.
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
    room: int | None
    model: TimeModel | None
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

    def throughput(self, point: Point | Projected) -> float | None:
        """Haplotypes trained on per second, all epochs counted; of generation alleles per second.

        None where the generator doesn't count its epochs.
        """
        per_haplotype = (
            self.points[0].epochs if self.stage == "training" else self.points[0].n_sites
        )
        return point.amount * per_haplotype / point.seconds if per_haplotype else None

    def oversubscribed(self, point: Point | Projected) -> bool:
        """Whether it was measured with more ranks than the machine has cores for."""
        return isinstance(point, Point) and self.room is not None and point.ranks > self.room

    @property
    def sound(self) -> tuple[Point, ...]:
        """The points whose ranks each had cores of their own."""
        return tuple(point for point in self.points if not self.oversubscribed(point))

    @property
    def computing_error(self) -> float | None:
        """See `haplobench.scaling.model.computing_error`: of the largest oversubscribed size."""
        if self.error is not None or not self.oversubscribed(self.points[-1]):
            return None
        return computing_error(self.sound, self.points[-1])

    @property
    def no_error(self) -> str:
        """Why the projection's error can't be told; empty where it can."""
        if self.error is not None:
            return ""
        sizes = [point.ranks for point in self.sound]
        if len(sizes) == len(self.points):
            return f"takes {_FEWEST} world sizes, measured were {len(sizes)}"
        cores = f"{self.room} rank" + ("s" if self.room != 1 else "")
        return f"takes {_FEWEST} world sizes of a core for each thread, here is room for {cores}"


def scaling_curves(folder: Path, ranks: Sequence[int] = ()) -> list[Curve]:
    """Curves of every generator of a run that was measured at two world sizes or more.

    `ranks` are the world sizes to project to; none: powers of two up to 8 times the largest that
    had a core for each thread. Those that were measured so are left out.
    """
    run = RunFolder(folder)
    room = _room(run)
    curves = []
    for (dataset, generator), costs in by_generator(read_costs(run)).items():
        for stage in STAGES:
            points = points_of(costs, stage)
            if len(points) < 2 or any(not point.seconds for point in points):
                continue
            sound = [point for point in points if room is None or point.ranks <= room]
            weak = costs[0].mode == "weak"
            curves.append(
                Curve(
                    dataset,
                    generator,
                    stage,
                    costs[0].mode,
                    tuple(points),
                    room,
                    fit_model(sound) if sound else None,
                    tuple(project(sound, _ahead(sound, ranks), weak)) if sound else (),
                    left_out_error(sound, weak),
                )
            )
    return curves


def _ahead(points: Sequence[Point], asked: Sequence[int]) -> list[int]:
    """World sizes to project to."""
    most = points[-1].ranks
    wanted = asked or [2**k for k in range(1, 20) if most < 2**k <= most * _FURTHER]
    return sorted(set(wanted) - {point.ranks for point in points})


def _room(run: RunFolder) -> int | None:
    """Ranks that a run's machine has cores for, see `Curve.room`."""
    info = run.info()
    cores = (info.get("hardware") or {}).get("cores")
    try:
        suite = read_marked(run.path / "suite.yaml", "suite.yaml").root
    except SuiteError:
        suite = {}
    executor = suite.get("executor")
    if not cores or (isinstance(executor, dict) and executor.get("name", "local") != "local"):
        return None
    return max(1, int(cores) // int(info.get("threads") or 1))


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
