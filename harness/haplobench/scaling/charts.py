"""Curves against ranks: speed-up, efficiency, time of an epoch, throughput, communication."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from haplobench.scaling.curves import Curve
from haplobench.scaling.lines import Chart, Panel, draw_lines, grid, looks
from haplobench.scaling.model import Projected
from haplobench.scaling.points import STAGES, Point

if TYPE_CHECKING:
    from haplobench.report.style import FigureStyle

_MODES = ("strong", "weak")


def draw_speedup(curves: Sequence[Curve], style: FigureStyle) -> Chart | None:
    """Speed-up against ranks, a panel per stage and mode; ideal dotted."""
    labels = looks(curves, style)
    panels = []
    for mode in _MODES:
        for stage in STAGES:
            here = _of(curves, stage, mode)
            first = min((curve.points[0].ranks for curve in here), default=1)
            panel = Panel(f"{stage.capitalize()}, {mode} scaling", "Speed-up", log=2, top=True)
            panels.append(
                draw_lines(here, Curve.speedup, panel, labels, lambda ranks, of=first: ranks / of)  # type: ignore[misc]
            )
    return grid(panels)


def draw_efficiency(curves: Sequence[Curve], style: FigureStyle) -> Chart | None:
    """Efficiency against ranks, a panel per stage and mode; ideal dotted."""
    return grid(
        [
            draw_lines(
                _of(curves, stage, mode),
                Curve.efficiency,
                Panel(f"{stage.capitalize()}, {mode} scaling", "Efficiency", format=".0%"),
                looks(curves, style),
                lambda ranks: 1.0,
            )
            for mode in _MODES
            for stage in STAGES
        ]
    )


def draw_rates(curves: Sequence[Curve], style: FigureStyle) -> Chart | None:
    """Time of an epoch, and throughput of training and of generation, against ranks."""
    titles = {
        "training": ("Training", "Haplotypes per second"),
        "generation": ("Generation", "Alleles per second"),
    }
    labels = looks(curves, style)
    panels = []
    for mode in _MODES:
        title = f"An epoch, {mode} scaling"
        # Weak scaling at its best is level.
        log = 10 if mode == "strong" else 0
        epochs = Panel(title, "Seconds per epoch", log=log, format=".2~g")
        panels.append(draw_lines(_of(curves, "training", mode), _epoch, epochs, labels))
        for stage in STAGES:
            name, axis = titles[stage]
            panel = Panel(f"{name}, {mode} scaling", axis, log=10, format=".2~s", top=True)
            panels.append(draw_lines(_of(curves, stage, mode), Curve.throughput, panel, labels))
    return grid(panels)


def draw_all_reduce(curves: Sequence[Curve], style: FigureStyle) -> Chart | None:
    """All-reduce that a training step waits for, and what it sends, against ranks."""
    metered = [c for c in curves if c.stage == "training" and c.points[-1].steps]
    waits = Panel("All-reduce waited for in a training step", "ms per step")
    bytes_ = Panel("Handed to the all-reduce", "Bytes per step of a rank")
    labels = looks(metered, style)
    return grid(
        [draw_lines(metered, _waited, waits, labels), draw_lines(metered, _sent, bytes_, labels)]
    )


def _of(curves: Sequence[Curve], stage: str, mode: str) -> list[Curve]:
    return [curve for curve in curves if (curve.stage, curve.mode) == (stage, mode)]


def _epoch(curve: Curve, point: Point | Projected) -> float | None:
    """Seconds of an epoch's steps; None where it wasn't metered, or projected."""
    if not isinstance(point, Point) or not point.epochs:
        return None
    return sum(point.parts.values()) / point.epochs or None


def _waited(curve: Curve, point: Point | Projected) -> float:
    steps = point.steps if isinstance(point, Point) else curve.points[-1].steps
    return point.waited / steps * 1e3


def _sent(curve: Curve, point: Point | Projected) -> float | None:
    return point.sent / point.steps if isinstance(point, Point) else None
