"""Panels for the tests of fidelity metrics: simulated people, founder segments, the chr1 region."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from founder_panels import Measure, founders_panel

from haplobench import (
    MetricResult,
    Panel,
    RecombinationMap,
    Reference,
    ReferenceSequence,
    RunContext,
)
from haplobench.data.genome import surrogate_sequence
from haplobench.registry import load_registry, resolve

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
    return RunContext(seed=5, artifacts=tmp_path, scratch=tmp_path, sequence=sequence, min_maf=0.01)


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


@pytest.fixture(scope="session")
def founders() -> Reference:
    """People made of 12 founders' segments: 200 of them training, 150 held out."""
    return Reference(train=founders_panel(200, 600, seed=2), holdout=founders_panel(150, 600, 3))


@pytest.fixture
def measure(ctx: RunContext) -> Measure:
    """`measure(name, reference, cohort, **params)`, as the harness does it."""
    metrics = load_registry(["haplobench_fidelity"]).metrics

    def run(
        name: str,
        reference: Reference,
        cohort: Panel,
        context: RunContext | None = None,
        **params: Any,
    ) -> MetricResult:
        spec = metrics[name]
        result: MetricResult = resolve(spec.target)(
            reference, cohort, spec.params(**params), context or ctx
        )
        return result

    return run


@pytest.fixture(scope="session")
def chr1(data_dir: Path) -> Mapping[str, Any]:
    """The real chr1 region: people split 80/20 within populations, SNPs with MAF > 1 % in train."""
    cyvcf2 = pytest.importorskip("cyvcf2")
    reader = cyvcf2.VCF(str(data_dir / "1kg_p3_chr1_11.70-11.84Mb.vcf.gz"))
    lines = (data_dir / "1kg_p3.panel.tsv").read_text().splitlines()[1:]
    labels = {line.split("\t")[0]: line.split("\t")[1:3] for line in lines}
    rows, positions = [], []
    for record in reader:
        if not positions or positions[-1] < record.POS:
            rows.append(record.genotype.array()[:, :2].reshape(-1).astype(np.int8))
            positions.append(record.POS)
    panel = Panel(
        haplotypes=np.ascontiguousarray(np.array(rows).T),
        positions=np.array(positions),
        contig="1",
        samples=np.array(reader.samples),
        population=np.array([labels[name][0] for name in reader.samples]),
        superpopulation=np.array([labels[name][1] for name in reader.samples]),
    )
    rng = np.random.default_rng(0)
    held_out = np.zeros(panel.n_samples, bool)
    for population in np.unique(panel.population):
        people = rng.permutation(np.flatnonzero(panel.population == population))
        held_out[people[: round(0.2 * people.size)]] = True
    train, holdout = panel.select_samples(~held_out), panel.select_samples(held_out)
    common = train.maf > 0.01
    train, holdout = train.select_sites(common), holdout.select_sites(common)
    chosen = [
        rng.permutation(np.flatnonzero(train.population == population))[
            : (holdout.population == population).sum()
        ]
        for population in np.unique(panel.population)
    ]
    return {
        "reference": Reference(train, holdout),
        "floor": train.select_samples(np.concatenate(chosen)),
        "map": RecombinationMap.read(data_dir / "chr1.b37.gmap.gz", "1"),
    }
