"""Simulated people of three populations, and cohorts of them, for the tests of structure."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from haplobench import Measurement, MetricResult, Panel, RecombinationMap, Reference, RunContext

LENGTH = 400_000
RATE = 1e-8


@cache
def people(n: int = 60, seed: int = 7, size: float = 5_000) -> Panel:
    """`n` people of each of A and B (superpopulation AB, 1,500 generations apart) and of C."""
    msprime = pytest.importorskip("msprime")
    demography = msprime.Demography()
    for name in ("A", "B", "C", "AB", "ABC"):
        demography.add_population(name=name, initial_size=size)
    demography.add_population_split(time=1_500, derived=["A", "B"], ancestral="AB")
    demography.add_population_split(time=6_000, derived=["AB", "C"], ancestral="ABC")
    trees = msprime.sim_ancestry(
        {"A": n, "B": n, "C": n},
        demography=demography,
        sequence_length=LENGTH,
        recombination_rate=RATE,
        random_seed=seed,
    )
    model = msprime.BinaryMutationModel()
    trees = msprime.sim_mutations(trees, rate=2e-8, model=model, random_seed=seed + 1)
    panel = Panel(
        np.ascontiguousarray(trees.genotype_matrix().T.astype(np.int8)),
        trees.tables.sites.position.astype(np.int64) + 1,
        "1",
        np.array([f"p{i}" for i in range(3 * n)]),
        ref=np.full(trees.num_sites, "A"),
        alt=np.full(trees.num_sites, "C"),
        population=np.repeat(["A", "B", "C"], n),
        superpopulation=np.repeat(["AB", "AB", "C"], n),
    )
    return panel.select_sites((panel.maf > 0) & (panel.maf <= 0.5))


@cache
def reference() -> Reference:
    """120 training and 60 held-out people of `people()` at sites with MAF of 1 % or more."""
    panel = people()
    held_out = np.arange(panel.n_samples) % 3 == 0
    train = panel.select_samples(~held_out)
    common = train.common_sites(0.01)
    return Reference(
        train.select_sites(common), panel.select_samples(held_out).select_sites(common)
    )


def real_cohort(n_each: int = 20, seed: int = 0) -> Panel:
    """Training people, as many of each population."""
    train = reference().train
    rng = np.random.default_rng(seed)
    rows = [
        rng.choice(np.flatnonzero(train.population == name), n_each, replace=False)
        for name in ("A", "B", "C")
    ]
    return train.select_samples(np.concatenate(rows))


def independent(panel: Panel, seed: int = 0) -> Panel:
    """As many people without labels, every site on its own at the panel's frequencies."""
    rng = np.random.default_rng(seed)
    drawn = rng.random(panel.haplotypes.shape) < panel.frequencies
    return panel.with_haplotypes(drawn.astype(np.int8))


def random_sequence(panel: Panel, seed: int = 0) -> Panel:
    """As many people with the same labels, every allele a fair coin."""
    drawn = np.random.default_rng(seed).integers(0, 2, panel.haplotypes.shape).astype(np.int8)
    return replace(panel, haplotypes=drawn)


def with_missing(panel: Panel, share: float = 0.02) -> Panel:
    """The panel with a share of its alleles not called."""
    haplotypes = np.array(panel.haplotypes)
    haplotypes[np.random.default_rng(4).random(haplotypes.shape) < share] = -1
    return replace(panel, haplotypes=haplotypes)


def context(folder: Path, panel: Panel, seed: int = 1, **changes: Any) -> RunContext:
    """A context with a map of the simulated rate."""
    start, end = int(panel.positions[0]), int(panel.positions[-1])
    fields: dict[str, Any] = {
        "artifacts": folder,
        "scratch": folder,
        "recombination_map": RecombinationMap.uniform(start, end, cm_per_mb=RATE * 1e8),
        "min_maf": 0.01,
    }
    return RunContext(seed=seed, **(fields | changes))


def only(result: MetricResult, name: str) -> Measurement:
    """The one measurement of a submetric."""
    found = result.measurements[name]
    assert isinstance(found, Measurement), name
    return found


def value(result: MetricResult, name: str) -> float:
    """The value of a submetric that has just one."""
    found = only(result, name).value
    assert found is not None, (name, only(result, name).note)
    return found
