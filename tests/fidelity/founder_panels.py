"""Panels to measure, made of founder segments, and how tests read a metric's result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from haplobench import Measurement, MetricResult, Panel

Measure = Callable[..., MetricResult]


def founders_panel(n_people: int, n_sites: int, seed: int, spacing: int = 400) -> Panel:
    """People whose haplotypes switch between 12 founders every 60 sites or so: LD that decays."""
    fixed = np.random.default_rng(1)
    founders = (fixed.random((12, n_sites)) < fixed.beta(0.6, 1.2, n_sites)).astype(np.int8)
    positions = np.cumsum(fixed.integers(1, 2 * spacing, n_sites))
    rng = np.random.default_rng(seed)
    switches = rng.random((2 * n_people, n_sites)) < 1 / 60
    switches[:, 0] = True
    choice = rng.integers(0, 12, switches.shape)
    last = np.maximum.accumulate(np.where(switches, np.arange(n_sites), 0), axis=1)
    haplotypes = founders[np.take_along_axis(choice, last, axis=1), np.arange(n_sites)]
    labels = np.array(["AAA", "BBB"])[np.arange(n_people) % 2]
    return Panel(
        haplotypes=haplotypes,
        positions=positions,
        contig="1",
        samples=np.array([f"p{seed}_{i}" for i in range(n_people)]),
        population=labels,
        superpopulation=np.char.add("S", labels),
    )


def independent_sites(panel: Panel, n_haplotypes: int, seed: int) -> Panel:
    """Alleles drawn site by site with the panel's frequencies."""
    rng = np.random.default_rng(seed)
    drawn = rng.random((n_haplotypes, panel.n_sites)) < panel.frequencies
    return panel.with_haplotypes(drawn.astype(np.int8))


def independent_windows(panel: Panel, n_haplotypes: int, window: int, seed: int) -> Panel:
    """Real windows of `window` sites, each from other people: LD ends at every border."""
    rng = np.random.default_rng(seed)
    parts = [
        panel.haplotypes[rng.permutation(panel.n_haplotypes)[:n_haplotypes], i : i + window]
        for i in range(0, panel.n_sites, window)
    ]
    return panel.with_haplotypes(np.concatenate(parts, axis=1))


def values(result: MetricResult, name: str) -> dict[tuple[str, ...], float | None]:
    """Values of one submetric by its labels' values."""
    found = result.measurements[name]
    listed = [found] if isinstance(found, Measurement) else found
    return {tuple(item.labels.values()): item.value for item in listed}


def value(result: MetricResult, name: str) -> float:
    """The value of a submetric that has just one."""
    (found,) = values(result, name).values()
    assert found is not None
    return found


def note(result: MetricResult, name: str) -> str:
    found = result.measurements[name]
    return found.note if isinstance(found, Measurement) else found[0].note


def with_missing(panel: Panel, share: float) -> Panel:
    """The panel with a share of its alleles not called."""
    haplotypes = panel.haplotypes.copy()
    haplotypes[np.random.default_rng(4).random(haplotypes.shape) < share] = -1
    return replace(panel, haplotypes=haplotypes)
