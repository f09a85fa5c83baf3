"""What the tests of the coalescent generators share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msprime
import numpy as np
from numpy.typing import NDArray

from haplobench import Panel, RunContext, SampleRequest
from haplobench.registry import load_registry, resolve

REGISTRY = load_registry(["haplobench_coalescent"])
MU = 1.25e-8


def fitted(name: str, train: Panel, ctx: RunContext, **params: Any) -> Any:
    spec = REGISTRY.generator(name)
    return resolve(spec.target)().fit(train, spec.params(**params), ctx)


def sampled(
    generator: Any,
    ctx: RunContext,
    n: int,
    start: int = 0,
    populations: NDArray[np.str_] | None = None,
) -> Panel:
    (panel,) = generator.sample(SampleRequest(n, start, populations=populations), ctx)
    assert isinstance(panel, Panel)
    return panel


def context(folder: Path, seed: int = 1, **changes: Any) -> RunContext:
    return RunContext(seed=seed, artifacts=folder, scratch=folder, **changes)


def region_panel(start: int, end: int, **changes: Any) -> Panel:
    """Four people at two sites: enough to say where a region is."""
    return Panel(
        haplotypes=np.eye(2, dtype=np.int8)[np.arange(8) % 2],
        positions=np.array([start, end]),
        contig="chr7",
        build="GRCh38",
        samples=np.array(["a", "b", "c", "d"]),
        **changes,
    )


def neutral_panel(ne: float, span: int, n_people: int, seed: int, rate: float = MU) -> Panel:
    """People of a population of constant size, simulated by msprime with 1 cM/Mb."""
    return people_of(msprime.Demography.isolated_model([ne]), n_people, span, seed, rate)


def people_of(
    history: msprime.Demography,
    samples: int | dict[str, int],
    span: float,
    seed: int,
    rate: float = MU,
) -> Panel:
    """People simulated under a history, 1 cM/Mb, at their polymorphic sites."""
    trees = msprime.sim_ancestry(
        samples,
        demography=history,
        sequence_length=span,
        recombination_rate=1e-8,
        random_seed=seed,
    )
    trees = msprime.sim_mutations(
        trees, rate=rate, model=msprime.BinaryMutationModel(), random_seed=seed
    )
    alleles = trees.genotype_matrix().T.astype(np.int8)
    positions = 1 + trees.sites_position.astype(np.int64)
    keep = np.flatnonzero((alleles.mean(0) > 0) & (alleles.mean(0) < 1))
    keep = keep[np.flatnonzero(np.diff(positions[keep], prepend=0) > 0)]
    return Panel(
        haplotypes=np.ascontiguousarray(alleles[:, keep]),
        positions=positions[keep],
        contig="1",
        samples=np.array([f"p{i}" for i in range(alleles.shape[0] // 2)]),
    )
