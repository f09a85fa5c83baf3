"""The scaling figures of a run, dataset by dataset, as a report holds them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from haplobench.report.figures import Figure, figure_style, render_chart, slug
from haplobench.report.load import Run, load_run
from haplobench.results.costs import read_costs
from haplobench.results.run_folder import RunFolder
from haplobench.scaling.charts import draw_all_reduce, draw_memory, draw_shares, draw_speedup
from haplobench.scaling.curves import Curve, scaling_curves
from haplobench.scaling.profiles import draw_profiles, profiles_of

METRIC = "scaling"
_PROJECTED = (
    "Filled: measured, median over seeds. Hollow and dashed: projected, from measured computing "
    "and an α-β model of the all-reduce{error}."
)
_TEXTS = {
    "speed-up": (
        "Speed-up by ranks",
        "Work per second over that of the fewest ranks; dotted: ideal. " + _PROJECTED,
    ),
    "step-shares": (
        "Shares of a training step",
        "Mean over ranks; all-reduce is the communication that was waited for.",
    ),
    "all-reduce": ("All-reduce time by ranks", _PROJECTED),
    "memory": (
        "Memory by batch size",
        "Peak resident memory of the largest rank in training, mean over seeds.",
    ),
    "profile": (
        "Time by operator and by model part",
        "Ten training steps, and ten batches sampled, by torch.profiler: operators' own time; of "
        "model parts the forward pass with all that they call.",
    ),
}


def draw_scaling(run: Run, ranks: Sequence[int] = ()) -> list[Figure]:
    """Figures of every dataset on which a generator ran at several world sizes or batch sizes.

    Raises BenchError if altair or vl-convert are not installed.
    """
    costs = read_costs(RunFolder(run.folder))
    if not costs:
        return []
    curves = scaling_curves(run.folder, ranks)
    style = figure_style(run)
    figures = []
    for dataset in run.datasets:
        here = [curve for curve in curves if curve.dataset == dataset]
        own = [cost for cost in costs if cost.dataset == dataset]
        charts = {
            "speed-up": draw_speedup(here, style),
            "step-shares": draw_shares(here, style),
            "all-reduce": draw_all_reduce(here, style),
            "memory": draw_memory(own, style),
            "profile": draw_profiles(profiles_of(own)),
        }
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
                    caption=caption.format(error=_errors(here)),
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


def _errors(curves: Sequence[Curve]) -> str:
    """How far projections of this dataset were off where they can be checked."""
    found = [curve.error for curve in curves if curve.error is not None]
    if not found:
        return " (its error can't be told from fewer than three world sizes)"
    worst = max(found, key=abs)
    return (
        f" (the largest measured world size, left out of the fit, is projected with an error of "
        f"{worst:+.0%} at worst)"
    )
