"""Panels for the tests of sequence and structure metrics."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from haplobench import Panel, Reference, ReferenceSequence, RunContext
from haplobench.data.genome import surrogate_sequence

LENGTH = 200_000


def _simulate() -> Panel:
    msprime = pytest.importorskip("msprime")
    demography = msprime.Demography()
    for name in ("A", "B", "C"):
        demography.add_population(name=name, initial_size=5_000)
    demography.add_population(name="AB", initial_size=5_000)
    demography.add_population(name="ABC", initial_size=5_000)
    demography.add_population_split(time=400, derived=["A", "B"], ancestral="AB")
    demography.add_population_split(time=3_000, derived=["AB", "C"], ancestral="ABC")
    trees = msprime.sim_ancestry(
        {"A": 50, "B": 50, "C": 50},
        demography=demography,
        sequence_length=LENGTH,
        recombination_rate=1e-8,
        random_seed=7,
    )
    trees = msprime.sim_mutations(
        trees, rate=4e-8, model=msprime.BinaryMutationModel(), random_seed=8
    )
    haplotypes = np.ascontiguousarray(trees.genotype_matrix().T.astype(np.int8))
    positions = trees.tables.sites.position.astype(np.int64) + 1
    rng = np.random.default_rng(9)
    reference = rng.integers(0, 4, positions.size)
    letters = np.array(list("ACGT"))
    panel = Panel(
        haplotypes,
        positions,
        "1",
        np.array([f"p{i}" for i in range(150)]),
        ref=letters[reference],
        alt=letters[(reference + rng.integers(1, 4, positions.size)) % 4],
        population=np.repeat(["A", "B", "C"], 50),
        superpopulation=np.repeat(["AB", "AB", "C"], 50),
    )
    return panel.select_sites(panel.maf > 0.02)


@pytest.fixture(scope="session")
def reference() -> Reference:
    """Simulated people of three populations: 90 of them training, 60 held out."""
    panel = _simulate()
    holdout = np.arange(panel.n_samples) % 5 < 2
    return Reference(panel.select_samples(~holdout), panel.select_samples(holdout))


@pytest.fixture(scope="session")
def sequence() -> ReferenceSequence:
    """Surrogate bases under the simulated region."""
    return surrogate_sequence(1, LENGTH, np.random.default_rng(3))


@pytest.fixture
def ctx(tmp_path: Path, sequence: ReferenceSequence) -> RunContext:
    return RunContext(seed=5, artifacts=tmp_path, scratch=tmp_path, sequence=sequence)


@pytest.fixture(scope="session")
def cohorts(reference: Reference) -> dict[str, Panel]:
    """Cohorts of held-out size: a copy, training people (floor), sites drawn one by one."""
    train, holdout = reference.train, reference.holdout
    rng = np.random.default_rng(11)
    rows = [
        rng.choice(np.flatnonzero(train.population == name), (holdout.population == name).sum(),
                   replace=False)
        for name in ("A", "B", "C")
    ]  # fmt: skip
    shape = (holdout.n_haplotypes, train.n_sites)
    return {
        "copy": train.with_haplotypes(
            holdout.haplotypes.copy(),
            population=holdout.population,
            superpopulation=holdout.superpopulation,
        ),
        "floor": train.select_samples(np.concatenate(rows)),
        "independent": train.with_haplotypes(
            (rng.random(shape) < train.frequencies).astype(np.int8)
        ),
    }


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Cut sites into tiny blocks, as a panel of many gigabytes would be."""

    def shrink(alleles: int) -> None:
        monkeypatch.setattr("haplobench_fidelity.cohorts._BLOCK_BYTES", alleles)

    return shrink
