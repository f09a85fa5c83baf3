"""Scaling on the terminal: curves, steps, the same training side by side, memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from haplobench.distributed.training import PARTS
from haplobench.files import csv_text
from haplobench.scaling.curves import CORE, HOLDS, Curve, MemoryPoint, Point, Projected
from haplobench.scaling.losses import TOLERANCE, Trained
from haplobench.units import format_size

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


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
        "core_share": point.core,
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
    shown = ({name: _cell(value) for name, value in row.items()} for row in rows)
    return csv_text(names, shown)


def _cell(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value


_BAR = 12
_WIDE = 110  # columns that a terminal needs for bars
_ROUND_UP = 0.9995  # three digits of more than this are 1


def print_curves(curves: Sequence[Curve], console: Console) -> None:
    """Print every curve, measured rows and then projected ones, dim; below it the steps' parts."""
    wide = console.width >= _WIDE
    for curve in curves:
        title = f"{curve.dataset} · {curve.generator} · {curve.stage}, {curve.mode} scaling"
        training = curve.stage == "training"
        rows = rows_of(curve)
        on_gpu = any(row.get("gpu_utilisation") is not None for row in rows)
        names = ["ranks", "time", "speed-up", "efficiency", *([""] if wide else [])]
        names += ["an\nepoch", "haplotypes\nper s"] if training else ["alleles\nper s"]
        names += ["memory\nof a rank", *(["imbalance"] if wide else []), "CPU"]
        table = _table(title, [*names, *(["GPU"] if on_gpu else [])], left=("",))
        for row in rows:
            table.add_row(*_cells(row, training, wide, on_gpu), style=_style(row))
        console.print(table)
        for warning in warnings(curve):
            console.print(f"warning: {warning}", style="yellow", highlight=False, soft_wrap=True)
        console.print(_said(curve), style="dim", highlight=False, soft_wrap=True)
        console.print()
        if any(row.get("seconds_per_step") for row in rows):
            console.print(_steps(curve.generator, rows))
            console.print()


def print_losses(groups: Sequence[Sequence[Trained]], console: Console) -> None:
    """Print trainings that ask for the same, by ranks and back end, and how far they differ."""
    for group in groups:
        first = group[0]
        title = f"{first.dataset} · the same training of {first.name}, by ranks and back end"
        names = ["generator", "ranks", "back end", "training", "a step", "all-\nreduce"]
        names += ["last\nloss", f"from\n{first.text}", "from\ntorch"]
        table = _table(title, names, left=("generator", "back end"))
        for one in group:
            table.add_row(
                one.generator,
                str(one.ranks),
                one.backend or "–",
                _time(one.seconds),
                _time(one.step),
                "–" if one.all_reduce is None else f"{one.all_reduce:.1%}",
                "–" if one.last is None else f"{one.last:.6g}",
                _far(one.from_first),
                _far(one.from_torch),
            )
        console.print(table)
        far = [d for one in group for d in (one.from_first, one.from_torch) if d is not None]
        if far:
            worst = max(far)
            verdict = "within" if worst <= TOLERANCE else "BEYOND"
            console.print(
                f"validation losses of all epochs: largest relative difference {worst:.2g}, "
                f"{verdict} {TOLERANCE:g}",
                style="dim" if worst <= TOLERANCE else "bold red",
                highlight=False,
                soft_wrap=True,
            )
        console.print()


def print_memory(points: Sequence[MemoryPoint], console: Console) -> None:
    """Print peak memory of a rank against batch size."""
    if not points:
        return
    names = [
        "dataset",
        "generator",
        "ranks",
        "haplotypes\nper step",
        "memory\nof a rank",
        "of its\nGPU",
    ]
    table = _table("Peak memory in training by batch size", names, left=("dataset", "generator"))
    for point in points:
        gpu = "–" if point.gpu is None else format_size(round(point.gpu))
        table.add_row(
            point.dataset,
            point.generator,
            str(point.ranks),
            f"{point.batch:,}",
            format_size(round(point.peak)),
            gpu,
        )
    console.print(table)
    console.print()


def _table(title: str, names: Sequence[str], left: Sequence[str]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), title_justify="left", box=None, pad_edge=False)
    for name in names:
        table.add_column(
            name,
            justify="left" if name in left else "right",
            min_width=_BAR if not name else None,
            no_wrap=True,
        )
    return table


def _style(row: dict[str, Any]) -> str:
    if row["kind"] == "projected":
        return "dim italic"
    return "yellow" if row["oversubscribed"] else ""


def _cells(row: dict[str, Any], training: bool, wide: bool, on_gpu: bool) -> list[str]:
    measured = row["kind"] == "measured"
    rate = row["haplotypes_per_second" if training else "alleles_per_second"]
    cells = [
        f"{row['ranks']}{'*' if row['oversubscribed'] else ''}",
        _time(row["seconds"]) + (_range(row) if wide and measured else ""),
        f"{row['speedup']:.2f}×",
        f"{row['efficiency']:.0%}",
    ]
    if wide:
        cells.append(("█" if measured else "░") * round(_BAR * min(1.0, row["efficiency"])))
    if training:
        cells.append(_time(row.get("seconds_per_epoch")))
    cells.append("–" if rate is None else _amount(rate))
    if not measured:
        return [*cells, "projected"]
    cells.append(format_size(round(row["peak_rss"])))
    if wide:
        cells.append(f"{row['imbalance']:.1%}")
    cells.append(f"{row['cpu_utilisation']:.0%}")
    gpu = row["gpu_utilisation"]
    return [*cells, "–" if gpu is None else f"{gpu:.0%}"] if on_gpu else cells


def _range(row: dict[str, Any]) -> str:
    """Least and greatest time over seeds and draws."""
    if row["n"] < 2:
        return ""
    return f" ({row['seconds_low']:.3g}–{row['seconds_high']:.3g})"


def _steps(generator: str, rows: Sequence[dict[str, Any]]) -> Table:
    names = ["data", "forward", "backward", "all-\nreduce", "opti-\nmiser"]
    columns = ["ranks", "a step", *names, "all-reduce\nper step", "sent per\nstep"]
    table = _table(f"{generator}: where a training step's time goes", columns, left=())
    for row in rows:
        if row["kind"] != "measured" or not row["seconds_per_step"]:
            continue
        several = row["ranks"] > 1
        sent = row["bytes_per_step"]
        table.add_row(
            f"{row['ranks']}{'*' if row['oversubscribed'] else ''}",
            _time(row["seconds_per_step"]),
            *(f"{row[f'share_{name}']:.1%}" for name in PARTS),
            _time(row["all_reduce_seconds_per_step"]) if several else "–",
            format_size(round(sent)) if several and sent else "–",
            style=_style(row),
        )
    return table


def _amount(rate: float) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if rate >= size * _ROUND_UP:
            return f"{rate / size:.3g} {unit}"
    return f"{rate:.3g}"


def _far(difference: float | None) -> str:
    return "–" if difference is None else f"{difference:.1e}" if difference else "0"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    return f"{seconds * 1e3:.3g} ms" if seconds < _ROUND_UP else f"{seconds:.3g} s"


def warnings(curve: Curve) -> list[str]:
    """What speaks against reading a curve as one of scaling."""
    starved = [point for point in curve.points if point.core < CORE]
    found = []
    if starved:
        least = min(starved, key=lambda point: point.core)
        sizes = ", ".join(str(point.ranks) for point in starved)
        found.append(
            f"ranks had less than {CORE:.0%} of a core at {sizes} (at {least.ranks}: "
            f"{least.core:.0%}): the machine wasn't quiet; nothing is projected from that"
        )
    if not curve.holds:
        found.append(
            f"the curve doesn't hold: without the largest world size it is off by "
            f"{curve.error:+.0%} there, over {HOLDS:.0%}; nothing is projected"
        )
    return found


def _said(curve: Curve) -> str:
    """What the projection rests on."""
    model = curve.model
    parts = []
    if any(curve.oversubscribed(point) for point in curve.points):
        room = "" if curve.room is None else f" ({curve.room})"
        parts.append(f"* more ranks than the machine has cores for{room}, or less than {CORE:.0%} "
                     "of one each: not fitted to")  # fmt: skip
    if model is not None:
        base = curve.sound[0]
        whole = model.computing(base.amount, base.ranks)
        if whole:
            ranks = f"{base.ranks} rank" + ("s" if base.ranks > 1 else "")
            parts.append(f"serial {model.serial / whole:.1%} of the time at {ranks}")
        if model.alpha or model.beta:
            parts.append(
                f"all-reduce α {model.alpha * 1e6:.3g} µs, 1/β "
                + (f"{1 / model.beta / 1e9:.3g} GB/s" if model.beta else "not seen")
            )
    error = curve.no_error if curve.error is None else f"{curve.error:+.1%}"
    parts.append(f"error of the projection to the largest world size, left out: {error}")
    if curve.computing_error is not None:
        parts.append(
            f"of a rank's processor seconds at {curve.points[-1].ranks} ranks: "
            f"{curve.computing_error:+.1%}"
        )
    return "; ".join(parts)
