"""Real haplotypes of five superpopulations: the floor is low, and independent sites are not."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from haplobench import Panel, Params, Reference, RunContext
from haplobench_fidelity.haplotype_words import haplotype_words


@pytest.fixture(scope="module")
def real(data_dir: Path) -> Reference:
    """Chromosome 1, 2,504 people, every fifth held out, MAF above 1 % among the others."""
    cyvcf2 = pytest.importorskip("cyvcf2")
    rows, positions = [], []
    vcf = cyvcf2.VCF(str(data_dir / "1kg_p3_chr1_11.70-11.84Mb.vcf.gz"))
    for record in vcf:
        if record.is_snp and len(record.ALT) == 1:
            rows.append(record.genotype.array()[:, :2].ravel())
            positions.append(record.POS)
    panel = Panel(
        np.ascontiguousarray(np.array(rows, np.int8).T), np.array(positions), "1", vcf.samples
    )
    held_out = np.arange(panel.n_samples) % 5 == 0
    train, holdout = panel.select_samples(~held_out), panel.select_samples(held_out)
    sites = train.maf > 0.01
    return Reference(train.select_sites(sites), holdout.select_sites(sites))


def test_floor_and_independent_sites(real: Reference, ctx: RunContext) -> None:
    def measure(cohort: Panel) -> dict[str, Any]:
        result = haplotype_words(real, cohort, Params(), ctx)
        return dict(result.measurements)

    n = real.holdout.n_haplotypes
    floor = measure(real.train.select_samples(np.arange(0, 4 * (n // 2), 4)))
    rng = np.random.default_rng(1)
    alleles = (rng.random((n, real.train.n_sites)) < real.train.frequencies).astype(np.int8)
    independent = measure(real.train.with_haplotypes(alleles))
    # Measured apart with natural logarithms: .0016 and .107; distinct 1.02 and 10.3.
    assert floor["pooled_jsd_10"].value * math.log(2) < 0.003
    assert 0.09 < independent["pooled_jsd_10"].value * math.log(2) < 0.14
    assert floor["distinct_ratio_20"].value == pytest.approx(1.02, abs=0.06)
    assert independent["distinct_ratio_20"].value == pytest.approx(10.3, abs=1.2)
