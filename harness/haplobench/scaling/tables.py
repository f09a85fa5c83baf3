"""Scaling curves as rows of plain values, for CSV and the terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from haplobench.distributed.training import PARTS
from haplobench.scaling.curves import Curve
from haplobench.scaling.losses import Trained
from haplobench.scaling.model import Projected
from haplobench.scaling.points import Point

_THROUGHPUT = {"training": "haplotypes_per_second", "generation": "alleles_per_second"}


def rows_of(curve: Curve) -> list[dict[str, Any]]:
    """A row for each world size, measured and projected; None where a number doesn't exist."""
    rows = []
    points: list[Point | Projected] = [*curve.points, *curve.projected]
    for point in points:
        row: dict[str, Any] = {
            "dataset": curve.dataset,
            "generator": curve.generator,
            "stage": curve.stage,
            "mode": curve.mode,
            "ranks": point.ranks,
            "kind": "measured" if isinstance(point, Point) else "projected",
            "haplotypes": point.amount,
            "seconds": point.seconds,
            "speedup": curve.speedup(point),
            "efficiency": curve.efficiency(point),
            "oversubscribed": curve.oversubscribed(point),
            _THROUGHPUT[curve.stage]: curve.throughput(point),
            "waited_seconds": point.waited,
            "left_out_error": curve.error,
            "computing_error": curve.computing_error,
        }
        row |= _measured(point) if isinstance(point, Point) else {}
        rows.append(row)
    return rows


def _measured(point: Point) -> dict[str, Any]:
    per_step = point.steps or None
    epochs = point.epochs or None
    in_steps = sum(point.parts.values())
    return {
        "n": point.n,
        "seconds_low": point.low,
        "seconds_high": point.high,
        "seconds_per_epoch": in_steps / epochs if epochs else None,
        "seconds_per_step": in_steps / per_step if per_step else None,
        "all_reduce_seconds_per_step": point.waited / per_step if per_step else None,
        "bytes_per_step": point.sent / per_step if per_step else None,
        "bytes_per_epoch": point.sent / epochs if epochs else None,
        **{f"share_{name}": point.shares.get(name) for name in PARTS},
        "cpu_utilisation": point.cpu / point.seconds,
        "gpu_utilisation": point.gpu_utilisation,
        "imbalance": point.imbalance,
        "peak_rss": point.peak_rss,
        "peak_gpu_memory": point.peak_gpu_memory,
    }


def render_csv(curves: Sequence[Curve]) -> str:
    """All rows as CSV; what doesn't exist is empty."""
    return _csv([row for curve in curves for row in rows_of(curve)])


def render_losses(groups: Sequence[Sequence[Trained]]) -> str:
    """Trainings that ask for the same, a row each, as CSV; groups are numbered from 1."""
    return _csv(
        [
            {
                "group": number,
                "dataset": one.dataset,
                "generator": one.generator,
                "seed": one.seed,
                "ranks": one.ranks,
                "backend": one.backend,
                "seconds": one.seconds,
                "seconds_per_step": one.step,
                "share_all_reduce": one.all_reduce,
                "last_loss": one.last,
                "difference_from_first": one.from_first,
                "difference_from_torch": one.from_torch,
            }
            for number, group in enumerate(groups, 1)
            for one in group
        ]
    )


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _cell(value) for name, value in row.items()})
    return text.getvalue()


def _cell(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value
