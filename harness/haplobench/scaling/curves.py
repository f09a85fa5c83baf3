"""Scaling curves: a run's costs as points, the model fitted to them, and its projection.

T(p) = serial + rate × work of a rank + communication(p), where communication follows the α-β
model of an all-reduce by halving and doubling (Thakur, Rabenseifner & Gropp 2005,
doi:10.1177/1094342005051521): calls × α log2 p + β bytes × 2 (p - 1) / p. `serial` is what
every rank does in full (Amdahl 1967). All coefficients are 0 or more, by least squares
(Lawson & Hanson 1974). Memory of a rank is fitted alike.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median
from typing import Any, Literal

from haplobench.distributed.training import PARTS
from haplobench.errors import BenchError, SuiteError
from haplobench.results.notes import CellCost, read_costs
from haplobench.results.run_folder import RunFolder
from haplobench.suite.source import read_marked


@dataclass(frozen=True)
class TimeModel:
    """Coefficients of the time of a stage.

    Attributes
    ----------
    serial : float
        Seconds that don't depend on the ranks.
    rate : float
        Seconds per haplotype of a rank's share.
    alpha : float
        Seconds of latency: per call and doubling of the ranks.
    beta : float
        Seconds per byte handed over.
    """

    serial: float
    rate: float
    alpha: float
    beta: float

    def computing(self, amount: float, ranks: int) -> float:
        """Seconds of a rank's own work, of `amount` in all."""
        return self.serial + self.rate * amount / ranks

    def communication(self, calls: float, sent: float, ranks: int) -> float:
        """Seconds of all-reduce that are waited for."""
        return self.alpha * calls * math.log2(ranks) + self.beta * sent * 2 * (ranks - 1) / ranks


@dataclass(frozen=True)
class Projected:
    """Time at a world size that was not measured, by the model."""

    ranks: int
    amount: float
    seconds: float
    waited: float


def fit_model(points: Sequence[Point]) -> TimeModel:
    """Fit to measured points; with a single one all time is taken as divisible."""
    computing = [[1.0, point.amount / point.ranks] for point in points]
    if len({row[1] for row in computing}) < 2:
        # Work per rank never changed: nothing tells what is serial.
        computing = [[0.0, row[1]] for row in computing]
    serial, rate = _least_squares(computing, [p.seconds - p.waited for p in points])
    several = [point for point in points if point.ranks > 1 and point.sent]
    rows = [[p.calls * math.log2(p.ranks), p.sent * 2 * (p.ranks - 1) / p.ranks] for p in several]
    if len(several) == 1:
        # One measurement can't tell latency from bandwidth: bandwidth, since messages are large.
        rows = [[0.0, row[1]] for row in rows]
    alpha, beta = _least_squares(rows, [p.waited for p in several]) if rows else (0.0, 0.0)
    return TimeModel(serial, rate, alpha, beta)


def project(points: Sequence[Point], ranks: Sequence[int], weak: bool) -> list[Projected]:
    """Time at other world sizes; in weak scaling the work grows with the ranks."""
    model = fit_model(points)
    last = points[-1]
    found = []
    for size in ranks:
        amount = last.amount * size / last.ranks if weak else last.amount
        talking = _talking(points)
        waited = model.communication(talking[0], talking[1], size)
        found.append(Projected(size, amount, model.computing(amount, size) + waited, waited))
    return found


def left_out_error(points: Sequence[Point], weak: bool) -> float | None:
    """Relative error at the largest measured world size when it's left out of the fit.

    None where fewer than three world sizes were measured.
    """
    if len(points) < _FEWEST:
        return None
    last = points[-1]
    (guess,) = project(points[:-1], [last.ranks], weak)
    return guess.seconds / last.seconds - 1


def computing_error(points: Sequence[Point], crowded: Point) -> float | None:
    """Relative error of a rank's computing at a world size that had too few cores.

    Its wall time tells nothing there, its processor seconds do: those of `points`, fitted as
    serial + rate x work of a rank, against those measured. None with fewer than two points.
    """
    if len(points) < _FEWEST - 1 or not crowded.cpu:
        return None
    rows = [[1.0, point.amount / point.ranks] for point in points]
    if len({row[1] for row in rows}) < 2:
        rows = [[0.0, row[1]] for row in rows]
    serial, rate = _least_squares(rows, [point.cpu for point in points])
    return (serial + rate * crowded.amount / crowded.ranks) / crowded.cpu - 1


def _talking(points: Sequence[Point]) -> tuple[float, float]:
    """Calls and bytes of a rank, where there are several."""
    several = [point for point in points if point.ranks > 1]
    return (several[-1].calls, several[-1].sent) if several else (0.0, 0.0)


def _least_squares(rows: Sequence[Sequence[float]], values: Sequence[float]) -> tuple[float, float]:
    """Two coefficients of 0 or more."""
    import numpy as np
    from scipy.optimize import nnls

    matrix = np.array(rows, np.float64)
    # Columns of very different size (haplotypes, bytes) are brought to one.
    size = np.where((top := np.abs(matrix).max(axis=0)) > 0, top, 1.0)
    found, _ = nnls(matrix / size, np.maximum(np.array(values, np.float64), 0.0))
    first, second = (found / size).tolist()
    return first, second


@dataclass(frozen=True)
class MemoryPoint:
    """What training took at one batch size: of the largest rank, mean over seeds.

    Attributes
    ----------
    dataset : str
        Label in the suite.
    generator : str
        The generator's own name.
    ranks, batch : int
        World size, and haplotypes per step of all ranks together.
    peak : float
        Bytes of resident memory.
    gpu : float or None
        Bytes of GPU memory.
    """

    dataset: str
    generator: str
    ranks: int
    batch: int
    peak: float
    gpu: float | None


def memory_points(costs: Sequence[CellCost]) -> list[MemoryPoint]:
    """Points of trainings that differ in nothing but their parameter `batch_size`, two or more.

    Cells that were profiled are left out: profiling takes memory of its own.
    """
    found: dict[tuple[str, str, int, str], dict[int, list[CellCost]]] = {}
    for cost in costs:
        batch = cost.params.get("batch_size")
        if isinstance(batch, int) and "profile" not in cost.fit:
            others = {name: value for name, value in cost.params.items() if name != "batch_size"}
            asked = json.dumps([others, cost.n_train], sort_keys=True)
            key = (cost.dataset, cost.name, cost.world_size, asked)
            found.setdefault(key, {}).setdefault(batch, []).append(cost)
    return [
        _memory_point(dataset, name, ranks, batch, same)
        for (dataset, name, ranks, _), sizes in found.items()
        if len(sizes) > 1
        for batch, same in sorted(sizes.items())
    ]


def _memory_point(
    dataset: str, name: str, ranks: int, batch: int, costs: Sequence[CellCost]
) -> MemoryPoint:
    peaks = [max(rank["peak_rss"] for rank in cost.fit["ranks"]) for cost in costs]
    gpu = [cost.fit.get("peak_gpu_memory") for cost in costs]
    known = [float(peak) for peak in gpu if peak is not None]
    return MemoryPoint(dataset, name, ranks, batch, fmean(peaks), fmean(known) if known else None)


Stage = Literal["training", "generation"]
STAGES: tuple[Stage, ...] = ("training", "generation")


@dataclass(frozen=True)
class Point:
    """A stage of a generator at one world size; times are those of the slowest rank.

    Attributes
    ----------
    ranks : int
        World size.
    amount : float
        Work: haplotypes fitted on, or haplotypes sampled.
    seconds, low, high : float
        Wall time: median, least and greatest over seeds and draws.
    n : int
        How many of those.
    waited : float
        Seconds of communication that were waited for: in training steps where the trainer
        meters them, else all.
    calls, sent : float
        All-reduces of a rank, and bytes it handed over to them.
    epochs, steps : float
        0 unless trained by `data_parallel`.
    parts : dict
        Seconds of the steps' parts, mean over ranks: data, forward, backward, all_reduce,
        optimiser.
    cpu : float
        Processor seconds of a rank, mean over ranks.
    imbalance : float
        Processor seconds of the busiest rank over the mean, less 1.
    core : float
        Share of a core that a rank had while it didn't wait for others, mean over ranks; 1 on a
        GPU.
    peak_rss : float
        Bytes of the largest rank, at its peak.
    peak_gpu_memory : float or None
    gpu_utilisation : float or None
        Share of the time in which a kernel ran on the rank's GPU, by NVML, mean over ranks.
    n_sites : int
    """

    ranks: int
    amount: float
    seconds: float
    low: float
    high: float
    n: int
    waited: float = 0.0
    calls: float = 0.0
    sent: float = 0.0
    epochs: float = 0.0
    steps: float = 0.0
    parts: Mapping[str, float] = field(default_factory=dict)
    cpu: float = 0.0
    imbalance: float = 0.0
    core: float = 1.0
    peak_rss: float = 0.0
    peak_gpu_memory: float | None = None
    gpu_utilisation: float | None = None
    n_sites: int = 0

    @property
    def shares(self) -> dict[str, float]:
        """The parts' shares of the steps' time; empty where nothing was metered."""
        total = sum(self.parts.values())
        return {name: value / total for name, value in self.parts.items()} if total else {}


def points_of(costs: Sequence[CellCost], stage: Stage) -> list[Point]:
    """A point for each world size, in increasing order, of the cells of one generator."""
    sizes = sorted({cost.world_size for cost in costs})
    return [_point([cost for cost in costs if cost.world_size == size], stage) for size in sizes]


def _point(costs: Sequence[CellCost], stage: Stage) -> Point:
    if stage == "training":
        works = [cost.fit for cost in costs]
        amounts = [float(cost.n_train) for cost in costs]
    else:
        works = [draw for cost in costs for draw in cost.draws]
        amounts = [float(work["n_haplotypes"]) for work in works]
    walls = [float(work["wall"]) for work in works]

    def middle(of: Callable[[Mapping[str, Any]], float]) -> float:
        return median(of(work) for work in works)

    peaks = [work.get("peak_gpu_memory") for work in works]
    gpu = [peak for peak in peaks if peak is not None]
    use = [rank.get("gpu_utilisation") for work in works for rank in work["ranks"]]
    used = [share for share in use if share is not None]
    parts = {name: middle(lambda work, name=name: _step(work, name)) for name in PARTS}  # type: ignore[misc]
    metered = any(parts.values())
    return Point(
        ranks=costs[0].world_size,
        amount=median(amounts),
        seconds=median(walls),
        low=min(walls),
        high=max(walls),
        n=len(walls),
        waited=parts["all_reduce"] if metered else middle(lambda work: _talk(work, "seconds")),
        calls=middle(lambda work: _reduced(work, "calls")),
        sent=middle(lambda work: _reduced(work, "bytes")),
        epochs=middle(lambda work: _step(work, "epochs")),
        steps=middle(lambda work: _step(work, "steps")),
        parts=parts if metered else {},
        cpu=middle(lambda work: fmean(rank["cpu"] for rank in work["ranks"])),
        imbalance=middle(lambda work: imbalance(rank["cpu"] for rank in work["ranks"])),
        core=1.0 if gpu or used else middle(_core),
        peak_rss=middle(lambda work: max(rank["peak_rss"] for rank in work["ranks"])),
        peak_gpu_memory=median(gpu) if gpu else None,
        gpu_utilisation=fmean(used) if used else None,
        n_sites=int(costs[0].draws[0]["n_sites"]) if costs[0].draws else 0,
    )


def _core(work: Mapping[str, Any]) -> float:
    """See `Point.core`."""
    own = float(work["wall"]) - max(_step(work, "all_reduce"), _talk(work, "seconds"))
    busy = fmean(rank["cpu"] for rank in work["ranks"])
    return min(1.0, busy / own) if own > 0 else 1.0


def imbalance(values: Iterable[float]) -> float:
    """The greatest over the mean, less 1; 0 where all are 0."""
    found = list(values)
    mean = sum(found) / len(found)
    return max(found) / mean - 1 if mean else 0.0


def _over_ranks(work: Mapping[str, Any], of: Callable[[Mapping[str, Any]], float]) -> float:
    """Mean over ranks."""
    found = [of(rank["communication"]) for rank in work["ranks"]]
    return sum(found) / len(found)


def _step(work: Mapping[str, Any], name: str) -> float:
    return _over_ranks(work, lambda talk: float((talk.get("steps") or {}).get(name, 0.0)))


def _talk(work: Mapping[str, Any], name: str) -> float:
    return _over_ranks(work, lambda talk: float(talk.get(name, 0.0)))


def _reduced(work: Mapping[str, Any], name: str) -> float:
    return _over_ranks(
        work, lambda talk: float((talk.get("operations") or {}).get("all_reduce", {}).get(name, 0))
    )


_FURTHER = 8
_FEWEST = 3
CORE = 0.95
"""Share of a core that a rank must have had while it didn't wait for others."""
HOLDS = 0.2
"""Greatest error at the largest world size, left out of the fit, of a curve to project from."""


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
        At larger world sizes; empty where the curve doesn't hold (see `HOLDS`).
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
        """Whether ranks shared cores: more than there are, or less than `CORE` of one each."""
        return isinstance(point, Point) and not _sound(point, self.room)

    @property
    def holds(self) -> bool:
        """Whether it may be projected from, as far as can be told."""
        return self.error is None or abs(self.error) <= HOLDS

    @property
    def sound(self) -> tuple[Point, ...]:
        """The points whose ranks each had cores of their own."""
        return tuple(point for point in self.points if not self.oversubscribed(point))

    @property
    def computing_error(self) -> float | None:
        """See `haplobench.scaling.curves.computing_error`: of the largest oversubscribed size."""
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
        if any(point.core < CORE for point in self.points):
            return (
                f"takes {_FEWEST} world sizes of {CORE:.0%} of a core each, {len(sizes)} had that"
            )
        cores = f"{self.room} rank" + ("s" if self.room != 1 else "")
        return f"takes {_FEWEST} world sizes of a core for each thread, here is room for {cores}"


def _sound(point: Point, room: int | None) -> bool:
    """Whether each rank had a core for each of its threads."""
    return (room is None or point.ranks <= room) and point.core >= CORE


def scaling_curves(
    folder: Path, ranks: Sequence[int] = (), costs: Sequence[CellCost] | None = None
) -> list[Curve]:
    """Curves of every generator of a run that was measured at two world sizes or more.

    `ranks` are the world sizes to project to; none: powers of two up to 8 times the largest that
    had a core for each thread. Those that were measured so are left out. `costs` are the run's,
    where they were read already.
    """
    run = RunFolder(folder)
    costs = read_costs(run) if costs is None else costs
    room = _room(run)
    curves = []
    for (dataset, generator), cells in by_generator(costs).items():
        for stage in STAGES:
            points = points_of(cells, stage)
            if len(points) < 2 or any(not point.seconds for point in points):
                continue
            sound = [point for point in points if _sound(point, room)]
            weak = cells[0].mode == "weak"
            error = left_out_error(sound, weak)
            holds = bool(sound) and (error is None or abs(error) <= HOLDS)
            curves.append(
                Curve(
                    dataset,
                    generator,
                    stage,
                    cells[0].mode,
                    tuple(points),
                    room,
                    fit_model(sound) if sound else None,
                    tuple(project(sound, _ahead(sound, ranks), weak)) if holds else (),
                    error,
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


def require_curves(
    folder: Path, ranks: Sequence[int], costs: Sequence[CellCost] | None = None
) -> list[Curve]:
    """As `scaling_curves`; BenchError where there are none."""
    curves = scaling_curves(folder, ranks, costs)
    if not curves:
        raise BenchError(
            f"{folder}: no generator was run at two world sizes or more",
            hint="world_size: [1, 2] on a generator of the suite, as in suites/scaling.yaml",
        )
    return curves
