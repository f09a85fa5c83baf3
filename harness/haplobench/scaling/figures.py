"""The scaling figures of a run, dataset by dataset, as a report holds them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from haplobench.report.figures import Figure, figure_style, render_chart, slug
from haplobench.report.load import Run, load_run
from haplobench.results.costs import read_costs
from haplobench.results.run_folder import RunFolder
from haplobench.scaling.charts import (
    draw_all_reduce,
    draw_efficiency,
    draw_rates,
    draw_speedup,
)
from haplobench.scaling.curves import Curve, scaling_curves
from haplobench.scaling.losses import TOLERANCE, same_trainings
from haplobench.scaling.memory import memory_points
from haplobench.scaling.profiles import draw_profiles, draw_use, profiles_of
from haplobench.scaling.training_charts import draw_losses, draw_memory, draw_shares

METRIC = "scaling"
_PROJECTED = (
    "Filled: measured, median over seeds{crossed}. Hollow and dashed: projected, from measured "
    "computing and an α-β model of the all-reduce{error}."
)
_PROFILED = "ten training steps, and ten batches sampled, by torch.profiler"
_TEXTS = {
    "speed-up": (
        "Speed-up by ranks",
        "Work per second over that of the fewest ranks; dotted: ideal. " + _PROJECTED,
    ),
    "efficiency": (
        "Efficiency by ranks",
        "Speed-up over how many times more ranks there are; dotted: ideal. " + _PROJECTED,
    ),
    "rates": (
        "Time of an epoch and throughput by ranks",
        "An epoch's training steps; haplotypes trained on, all epochs counted, and alleles "
        "sampled, over the whole stage's time. " + _PROJECTED,
    ),
    "step-shares": (
        "Shares of a training step",
        "Mean over ranks; all-reduce is the communication that was waited for{starred}.",
    ),
    "all-reduce": (
        "All-reduce by ranks",
        "Time that a step waits for it, and bytes that a rank hands over to it, after "
        "compression. " + _PROJECTED,
    ),
    "losses": (
        "The same training by other ranks and back ends",
        "Validation loss, all its parts summed up, and each part's largest relative difference "
        f"from the first training's (1e-9 or less: the same); tolerance {TOLERANCE:g}.",
    ),
    "memory": (
        "Memory by batch size",
        "Peak resident memory of the largest rank in training, and of its GPU (dashed) where "
        "there is one; mean over seeds.",
    ),
    "profile": (
        "Time by operator and by model part",
        f"Of {_PROFILED}: operators' own time; of model parts the forward pass with all that "
        "they call.",
    ),
    "utilisation": (
        "Utilisation by model part",
        f"Share of the time of {_PROFILED}, in which the processor, or a kernel on the GPU, works "
        "for the part's forward pass; a part holds the parts named under it.",
    ),
}


def draw_scaling(run: Run, ranks: Sequence[int] = ()) -> list[Figure]:
    """Figures of every dataset on which a generator ran at several world sizes or batch sizes.

    Raises BenchError if altair or vl-convert are not installed.
    """
    folder = RunFolder(run.folder)
    costs = read_costs(folder)
    if not costs:
        return []
    curves = scaling_curves(run.folder, ranks)
    style = figure_style(run)
    figures = []
    for dataset in run.datasets:
        here = [curve for curve in curves if curve.dataset == dataset]
        own = [cost for cost in costs if cost.dataset == dataset]
        profiles = profiles_of(own)
        charts = {
            "speed-up": draw_speedup(here, style),
            "efficiency": draw_efficiency(here, style),
            "rates": draw_rates(here, style),
            "step-shares": draw_shares(here, style),
            "all-reduce": draw_all_reduce(here, style),
            "losses": draw_losses(same_trainings(folder, own), style),
            "memory": draw_memory(memory_points(own), style),
            "profile": draw_profiles(profiles),
            "utilisation": draw_use(profiles),
        }
        said = _said(here)
        for name, chart in charts.items():
            if chart is None:
                continue
            title, caption = _TEXTS[name]
            figures.append(
                Figure(
                    dataset=dataset,
                    metric=METRIC,
                    name=name,
                    title=title,
                    caption=caption.format(**said),
                    svg=render_chart(chart, style),
                    file=f"{slug(dataset)}/{METRIC}-{name}",
                )
            )
    return figures


def write_scaling_figures(folder: Path, to: Path, ranks: Sequence[int] = ()) -> list[Path]:
    """Write the figures as SVG into `to`; the files."""
    from haplobench.report.svg import clean

    written = []
    for figure in draw_scaling(load_run(folder), ranks):
        path = to / f"{figure.file}.svg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(clean(figure.svg, label=figure.title), encoding="utf-8")
        written.append(path)
    return written


def _said(curves: Sequence[Curve]) -> dict[str, str]:
    """What captions say of a dataset's curves."""
    crowded = any(curve.oversubscribed(point) for curve in curves for point in curve.points)
    return {
        "error": _errors(curves),
        "crossed": " (crosses: with more ranks than cores, not fitted to)" if crowded else "",
        "starred": "; starred: more ranks than cores" if crowded else "",
    }


def _errors(curves: Sequence[Curve]) -> str:
    """How far projections of this dataset were off where they can be checked."""
    found = [curve.error for curve in curves if curve.error is not None]
    if not found:
        # Where some sizes are oversubscribed, that is the reason to tell.
        by_reason = sorted(curves, key=lambda curve: curve.sound == curve.points)
        why = next((curve.no_error for curve in by_reason), "")
        return f" (its error can't be told: that {why}{_computing(curves)})"
    worst = max(found, key=abs)
    return (
        f" (the largest measured world size, left out of the fit, is projected with an error of "
        f"{worst:+.0%} at worst)"
    )


def _computing(curves: Sequence[Curve]) -> str:
    found = [c.computing_error for c in curves if c.computing_error is not None]
    if not found:
        return ""
    worst = max(found, key=abs)
    return f"; of a rank's processor seconds at more ranks than cores it is {worst:+.0%} at worst"
