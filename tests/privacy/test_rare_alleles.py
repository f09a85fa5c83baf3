"""Rare alleles: counts against loops, planted ones found, unseen people not accused."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haplobench import Measurement, MetricResult, Panel, Reference
from haplobench.testing import example_context
from haplobench_privacy.rare_alleles import rare_alleles
from haplobench_privacy.specs_attacks import RareAlleleParams


def panel_of(alleles: np.ndarray, name: str = "p") -> Panel:
    n = alleles.shape[0] // 2
    return Panel(
        haplotypes=alleles.astype(np.int8),
        positions=np.arange(1, alleles.shape[1] + 1),
        contig="1",
        samples=np.array([f"{name}{i}" for i in range(n)]),
    )


def attack(reference: Reference, cohort: Panel, folder: Path) -> MetricResult:
    ctx = example_context(folder, reference.train)
    return rare_alleles(reference, cohort, RareAlleleParams(), ctx)


def of(result: MetricResult, name: str) -> Measurement:
    one = result.measurements[name]
    assert isinstance(one, Measurement)
    return one


def region(n_people: int, n_sites: int, rng: np.random.Generator) -> Panel:
    """People with the rare alleles of a neutral spectrum, sites independent."""
    n = 2 * n_people
    counts = np.minimum(1 / rng.random(n_sites), n - 1).astype(int)
    alleles = np.zeros((n, n_sites), np.int8)
    for site, count in enumerate(counts):
        alleles[rng.choice(n, count, replace=False), site] = 1
    return panel_of(alleles)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1))
def test_private_alleles_and_pairs_are_those_of_a_loop(
    seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rng = np.random.default_rng(seed)
    panel = panel_of(rng.random((70, 90)) < rng.choice([0.01, 0.04, 0.98], 90))
    train, holdout = panel.select_samples(np.arange(25)), panel.select_samples(np.arange(25, 35))
    cohort = panel.with_haplotypes((rng.random((50, 90)) < 0.04).astype(np.int8))
    with pytest.MonkeyPatch.context() as patch:
        # The loop knows no sites chosen by one side.
        patch.setattr("haplobench_privacy.rare_alleles._refusal", lambda data: "")
        found = attack(Reference(train, holdout), cohort, tmp_path_factory.getbasetemp())

    carried = panel.haplotypes.astype(bool)
    carried ^= carried.mean(axis=0) > 0.5
    synthetic = cohort.haplotypes.astype(bool) ^ (panel.haplotypes.mean(axis=0) > 0.5)
    people = [set(np.flatnonzero(column) // 2) for column in carried.T]
    copies = carried.sum(axis=0)
    private = [j for j in range(90) if copies[j] in (1, 2) and len(people[j]) == 1]
    assert of(found, "private_alleles").value == len(private)
    if private:
        assert of(found, "held_private").value == synthetic[:, private].any(axis=0).mean()

    least = 1.5 * 70 / 50 * min(carried[:50, j].sum() for j in range(90) if 0 < copies[j] <= 3)
    usable = [j for j in range(90) if max(1, least) <= copies[j] <= max(2, 0.05 * 70)]
    pairs = []
    for row in carried:
        own = [j for j in usable if row[j]]
        pairs += [(i, j) for i, j in pairwise(own) if (carried[:, i] & carried[:, j]).sum() == 1]
    assert of(found, "private_pairs").value == len(pairs)
    if pairs:
        held = [bool((synthetic[:, i] & synthetic[:, j]).any()) for i, j in pairs]
        assert of(found, "held_pairs").value == pytest.approx(np.mean(held))


def test_rare_alleles_alone_give_their_people_away(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    people = region(150, 3000, rng)
    train, holdout = (
        people.select_samples(np.arange(110)),
        people.select_samples(np.arange(110, 150)),
    )
    rare = people.allele_counts[0] <= 5
    cohort = rng.permuted(train.haplotypes, axis=0)
    cohort[:, rare] = train.haplotypes[:, rare]
    found = attack(Reference(train, holdout), train.with_haplotypes(cohort), tmp_path)
    for name in ("auc", "auc_pairs"):
        auc = of(found, name)
        assert auc.value is not None
        assert auc.value > 0.99, name
        assert auc.p is not None
        assert auc.p < 1e-10, name
    assert (of(found, "people_with_private").value or 0) > 0.9


@pytest.mark.slow
def test_pairs_do_not_accuse_who_draws_every_allele_by_its_frequency(tmp_path: Path) -> None:
    """Such a cohort holds alleles that only training people have, and no more of anybody."""
    rng = np.random.default_rng(8)
    people = region(150, 400, rng)
    told, held = 0, []
    for _ in range(100):
        train, holdout = (
            people.select_samples(part) for part in np.split(rng.permutation(150), [100])
        )
        drawn = (rng.random(train.haplotypes.shape) < train.frequencies).astype(np.int8)
        found = attack(Reference(train, holdout), train.with_haplotypes(drawn), tmp_path)
        p = of(found, "auc_pairs").p
        assert p is not None
        told += p <= 0.05
        held.append(of(found, "people_with_private").value or 0)
    assert told <= 100 * (0.05 + 3 * np.sqrt(0.05 * 0.95 / 100))
    assert min(held) > 0.2


@pytest.mark.slow
def test_p_values_of_unseen_people_are_uniform(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    people = region(150, 1200, rng)
    p: dict[str, list[float]] = {"auc": [], "auc_pairs": [], "people_with_private": []}
    for _ in range(200):
        order = rng.permutation(150)
        train, holdout, unseen = (
            people.select_samples(part) for part in np.split(order, [60, 100])
        )
        found = attack(Reference(train, holdout), unseen, tmp_path)
        for name, values in p.items():
            value = of(found, name).p
            assert value is not None
            values.append(value)
    for name, values in p.items():
        # 5 % of 200, and three standard errors.
        assert np.mean(np.array(values) <= 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200), name
    assert abs(np.mean(p["auc"]) - 0.5) < 3 * np.sqrt(1 / 12 / 200) + 0.02


def test_a_panel_without_rare_alleles_says_so(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    alleles = rng.random((80, 300)) < 0.3
    people = panel_of(alleles)
    reference = Reference(
        people.select_samples(np.arange(30)), people.select_samples(np.arange(30, 40))
    )
    found = attack(reference, reference.train, tmp_path)
    assert of(found, "auc").value is None
    assert "one or two copies among the real people" in of(found, "auc").note


def test_sites_chosen_among_training_people_are_no_evidence(tmp_path: Path) -> None:
    """Where every rare allele is a training person's, only they can have private ones."""
    people = region(100, 1500, np.random.default_rng(7))
    train, holdout = people.select_samples(np.arange(70)), people.select_samples(np.arange(70, 100))
    seen = train.allele_counts[0] > 0
    reference = Reference(train.select_sites(seen), holdout.select_sites(seen))
    found = attack(reference, reference.train, tmp_path)
    assert of(found, "auc").value is None
    assert "chosen among training people" in of(found, "auc").note
