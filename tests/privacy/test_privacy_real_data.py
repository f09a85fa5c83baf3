"""Privacy metrics on real people: figures measured independently before."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from haplobench import Panel, Reference
from haplobench.registry import resolve
from haplobench.testing import example_context
from haplobench_privacy.specs_attacks import (
    AUDIT,
    LEAK_LIST,
    MEMBERSHIP_INFERENCE,
    MEMBERSHIP_LIKELIHOOD,
)
from haplobench_privacy.specs_distances import ADVERSARIAL_ACCURACY, KINSHIP, NEAREST_NEIGHBOURS


@pytest.fixture(scope="module")
def chr1(data_dir: Path) -> Reference:
    """Phase 3 chr1 region, 80/20 by person within population, MAF > 1 % on train."""
    cyvcf2 = pytest.importorskip("cyvcf2")
    vcf = cyvcf2.VCF(str(data_dir / "1kg_p3_chr1_11.70-11.84Mb.vcf.gz"))
    rows = (data_dir / "1kg_p3.panel.tsv").read_text().splitlines()
    population = dict(row.split("\t")[:2] for row in rows)
    alleles, positions = [], []
    for record in vcf:
        alleles.append(record.genotype.array()[:, :2].ravel())
        positions.append(record.POS)
    samples = np.array(vcf.samples)
    panel = Panel(
        haplotypes=np.ascontiguousarray(np.array(alleles, np.int8).T),
        positions=np.array(positions),
        contig="1",
        samples=samples,
        population=np.array([population[name] for name in samples]),
    )
    rng = np.random.default_rng(0)
    held = np.zeros(panel.n_samples, bool)
    for name in np.unique(panel.population):
        members = np.flatnonzero(panel.population == name)
        held[rng.permutation(members)[: round(0.2 * members.size)]] = True
    train = panel.select_samples(~held)
    common = train.maf > 0.01
    return Reference(train.select_sites(common), panel.select_samples(held).select_sites(common))


def measure(spec: Any, reference: Reference, synthetic: Panel, folder: Path) -> dict[str, float]:
    ctx = example_context(folder, reference.train)
    result = resolve(spec.target)(reference, synthetic, spec.params(), ctx)
    return {name: one.value for name, one in result.measurements.items()}


def test_floor_independent_sites_and_copies(chr1: Reference, tmp_path: Path) -> None:
    train, holdout = chr1.train, chr1.holdout
    rng = np.random.default_rng(1)
    floor = [
        measure(
            ADVERSARIAL_ACCURACY,
            chr1,
            train.select_samples(rng.choice(train.n_samples, holdout.n_samples, replace=False)),
            tmp_path,
        )
        for _ in range(5)
    ]
    # Measured before: .488 and .494.
    assert np.mean([one["aa_truth"] for one in floor]) == pytest.approx(0.488, abs=0.03)
    assert np.mean([one["aa_syn"] for one in floor]) == pytest.approx(0.494, abs=0.03)

    # Measured before: 1.00 and .152; attack .506.
    names, labels = np.unique(train.population), holdout.haplotype_populations
    table = np.array([train.haplotypes[train.haplotype_populations == n].mean(0) for n in names])
    drawn = (
        rng.random((holdout.n_haplotypes, train.n_sites)) < table[np.searchsorted(names, labels)]
    )
    independent = train.with_haplotypes(drawn.astype(np.int8))
    found = measure(ADVERSARIAL_ACCURACY, chr1, independent, tmp_path)
    assert found["aa_truth"] > 0.99
    assert found["aa_syn"] == pytest.approx(0.152, abs=0.05)
    attack = measure(MEMBERSHIP_INFERENCE, chr1, independent, tmp_path)
    assert attack["auc"] == pytest.approx(0.506, abs=0.04)

    # Measured before: held-out people with an exact copy in train, 9.8 %.
    copies = train.with_haplotypes(
        train.haplotypes[rng.choice(train.n_haplotypes, holdout.n_haplotypes, replace=False)]
    )
    nearest = measure(NEAREST_NEIGHBOURS, chr1, copies, tmp_path)
    assert nearest["exact_copies"] == 1
    assert nearest["holdout_exact_copies"] == pytest.approx(0.098, abs=0.035)
    attack = measure(MEMBERSHIP_INFERENCE, chr1, copies, tmp_path)
    assert attack["auc"] > 0.62
    assert attack["tpr_at_low_fpr"] > 0.05


def test_attacks_order_copies_mixtures_and_unseen_people(chr1: Reference, tmp_path: Path) -> None:
    """A cohort of train's size: all copies, copies and unseen people half and half, unseen."""
    train, holdout = chr1.train, chr1.holdout
    halves = np.arange(holdout.n_samples) % 2 == 0
    unseen, others = holdout.select_samples(halves), holdout.select_samples(~halves)
    reference = Reference(train, others)
    mixed = np.concatenate([train.haplotypes[: train.n_samples], unseen.haplotypes])
    found = [
        {
            spec.name: measure(spec, reference, train.with_haplotypes(cohort), tmp_path)
            for spec in (MEMBERSHIP_INFERENCE, MEMBERSHIP_LIKELIHOOD, KINSHIP, LEAK_LIST, AUDIT)
        }
        for cohort in (train.haplotypes, mixed, unseen.haplotypes)
    ]

    def column(metric: str, submetric: str) -> list[float]:
        return [one[metric][submetric] for one in found]

    copy, half, none = column("membership-inference", "auc")
    assert copy >= 0.99
    assert 0.65 < half < 0.85
    assert none == pytest.approx(0.5, abs=0.05)
    for metric, submetric in (
        ("membership-likelihood", "auc_candidates"),
        ("kinship", "excess_duplicates"),
        ("leak-list", "flagged"),
        ("audit", "epsilon_lower"),
    ):
        copy, half, none = column(metric, submetric)
        assert copy > half >= none, (metric, copy, half, none)
    assert column("audit", "epsilon_lower")[2] == 0
    assert column("leak-list", "flagged") == [train.n_samples, found[1]["leak-list"]["flagged"], 0]
    assert found[0]["audit"]["epsilon_lower"] > 0.9 * found[0]["audit"]["epsilon_ceiling"]
