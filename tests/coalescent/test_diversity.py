"""Theta of filtered panels, against simulations of known theta and scikit-allel."""

from __future__ import annotations

from dataclasses import replace

import allel
import numpy as np
import pytest
from coalescent_cases import neutral_panel

from haplobench import PluginError
from haplobench_coalescent.constant import estimate

NE, SPAN, MU = 10_000, 100_000, 1.25e-8
THETA = 4 * NE * MU * SPAN


@pytest.fixture(scope="module")
def panels():
    return [neutral_panel(NE, SPAN, 40, seed) for seed in range(1, 121)]


@pytest.mark.parametrize("estimator", ["pi", "segregating-sites"])
@pytest.mark.parametrize("min_maf", [0.0, 0.05, 0.2])
def test_unbiased_whatever_the_filter(panels, estimator, min_maf):
    found = []
    for panel in panels:
        kept = panel.select_sites(panel.maf >= min_maf)
        found.append(estimate(kept, min_maf, estimator).theta)
    error = np.std(found) / np.sqrt(len(found))
    assert np.mean(found) == pytest.approx(THETA, abs=3.5 * error)
    assert error < 0.06 * THETA


def test_the_usual_estimators_are_not(panels):
    """What the correction is for: Watterson's loses half of theta to a 5 % filter."""
    kept = [panel.select_sites(panel.maf >= 0.05) for panel in panels]
    assert np.mean([estimate(p, 1 / 80, "pi").theta for p in kept]) == pytest.approx(
        np.mean([estimate(p, 0.05, "pi").theta for p in kept])
    ), "the rarest site shows that the panel was filtered"
    naive = np.mean([p.n_sites / (1 / np.arange(1, 80)).sum() for p in kept])
    assert naive < 0.75 * THETA


def test_unfiltered_against_scikit_allel(panels):
    panel = next(p for p in panels if p.allele_counts[0].min() == 1)
    counts = allel.HaplotypeArray(panel.haplotypes.T).count_alleles()
    pi = allel.mean_pairwise_difference(counts).sum()
    assert estimate(panel, 0, "pi").theta == pytest.approx(pi)
    span = (int(panel.positions[0]), int(panel.positions[-1]))
    watterson = allel.watterson_theta(panel.positions, counts, *span) * panel.span
    assert estimate(panel, 0, "segregating-sites").theta == pytest.approx(watterson)


def test_missing_alleles_are_left_out(panels):
    panel = panels[0]
    holes = panel.haplotypes.copy()
    holes[np.random.default_rng(0).random(holes.shape) < 0.1] = -1
    theta = estimate(replace(panel, haplotypes=holes), 0).theta
    assert theta == pytest.approx(estimate(panel, 0).theta, rel=0.1)


def test_effective_size(panels):
    diversity = estimate(panels[0], 0)
    assert diversity.effective_size(MU) == pytest.approx(diversity.theta / 4 / MU / diversity.span)
    assert diversity.effective_size(2 * MU) == diversity.effective_size(MU) / 2


def test_nothing_polymorphic(panels):
    fixed = panels[0].with_haplotypes(np.zeros_like(panels[0].haplotypes))
    with pytest.raises(PluginError, match="polymorphic.*set ne"):
        estimate(fixed, 0.01)
