"""Fixtures: a reference of founder segments, a way to measure, the real chr1 region."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ld_panels import Measure, founders_panel

from haplobench import MetricResult, Panel, RecombinationMap, Reference, RunContext
from haplobench.registry import load_registry, resolve


@pytest.fixture(scope="session")
def reference() -> Reference:
    return Reference(train=founders_panel(200, 600, seed=2), holdout=founders_panel(150, 600, 3))


@pytest.fixture
def ctx(tmp_path: Path) -> RunContext:
    return RunContext(seed=0, artifacts=tmp_path, scratch=tmp_path, min_maf=0.01)


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
