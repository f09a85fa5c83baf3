"""Figures of the privacy metrics: small, with every generator and without anybody's name."""

from pathlib import Path

import pytest

from haplobench import CohortSeries, Panel, Reference
from haplobench.registry import load_registry, resolve
from haplobench.report.style import FigureStyle
from haplobench.testing import example_context
from haplobench_privacy.figures import (
    draw_adversarial_accuracy,
    draw_copied_tracts,
    draw_kinship,
    draw_leak_list,
    draw_nearest_distances,
    draw_roc,
)


def test_figures_render_within_their_size(
    people: tuple[Panel, Panel, Panel], tmp_path: Path
) -> None:
    vl_convert = pytest.importorskip("vl_convert")
    train, holdout, unseen = people
    reference, ctx = Reference(train, holdout), example_context(tmp_path, train)
    metrics = load_registry(["haplobench_privacy"]).metrics
    labels = tuple(f"generator-{i}" for i in range(14))
    for draw, name in (
        (draw_adversarial_accuracy, "adversarial-accuracy"),
        (draw_nearest_distances, "nearest-neighbours"),
        (draw_copied_tracts, "copied-tracts"),
        (draw_kinship, "kinship"),
        (draw_roc, "membership-likelihood"),
        (draw_leak_list, "leak-list"),
    ):
        spec = metrics[name]
        result = resolve(spec.target)(reference, unseen, spec.params(), ctx)
        cohorts = [CohortSeries("floor", "floor", 0, i, result.series) for i in range(3)]
        cohorts += [
            CohortSeries(label, "generator", seed, 0, result.series)
            for label in labels
            for seed in range(3)
        ]
        chart = draw(cohorts, FigureStyle(order=labels))
        assert chart is not None
        svg = vl_convert.vegalite_to_svg(chart.to_dict())
        assert len(svg) < 130_000
        assert all(label in svg for label in labels)
        assert not any(str(name) in svg for name in train.samples)
        assert draw([], FigureStyle(order=())) is None
