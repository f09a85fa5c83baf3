"""Rare alleles: hand-made panels, scikit-allel's counts, and pairs of people counted one by one."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from structured_people import (
    context,
    independent,
    only,
    people,
    random_sequence,
    value,
    with_missing,
)

from haplobench import MetricResult, Panel, Reference
from haplobench.testing.panels import haploid, without_labels
from haplobench_utility.rare_variants import count_alleles, rare_variants
from haplobench_utility.specs_structure import RARE_VARIANTS, RareVariantsParams


def everything() -> Reference:
    """80 training, 40 held-out people of each population, rare sites among them."""
    panel = people()
    held_out = np.arange(panel.n_samples) % 3 == 0
    return Reference(panel.select_samples(~held_out), panel.select_samples(held_out))


def real_people(seed: int) -> Panel:
    train = everything().train
    rng = np.random.default_rng(seed)
    rows = [
        rng.choice(np.flatnonzero(train.population == name), 20, replace=False)
        for name in ("A", "B", "C")
    ]
    return train.select_samples(np.concatenate(rows))


def measure(
    cohort: Panel, folder: Path, real: Reference | None = None, **params: Any
) -> MetricResult:
    real = real or everything()
    return rare_variants(real, cohort, RareVariantsParams(**params), context(folder, real.train))


def private(result: MetricResult) -> dict[str, float | None]:
    found = result.measurements["private_ratio"]
    assert not hasattr(found, "value")
    return {next(iter(m.labels.values())): m.value for m in found}  # type: ignore[union-attr]


def test_counts_equal_those_taken_one_by_one() -> None:
    allel = pytest.importorskip("allel")
    panel = people(20)
    turned = panel.frequencies > 0.5
    dosages = np.where(turned, 2 - panel.dosages(), panel.dosages())
    labels, groups = panel.population, np.array(["A", "B", "C"])
    rare = panel.maf < 0.05
    carriers = {str(g): (dosages[labels == g] > 0).any(axis=0) for g in groups}
    found = count_alleles(dosages, rare, labels, groups, carriers)
    counts = allel.GenotypeArray(
        panel.haplotypes.reshape(panel.n_samples, 2, -1).transpose(2, 0, 1)
    ).count_alleles()
    minor = np.sort(counts, axis=1)[:, 0]
    np.testing.assert_array_equal(found.copies, minor)
    assert (found.copies == 1).sum() == counts.count_singleton(0) + counts.count_singleton(1)
    assert (found.copies == 2).sum() == counts.count_doubleton(0) + counts.count_doubleton(1)
    np.testing.assert_array_equal(found.carried, [(g[rare] > 0).sum() for g in dosages])
    shared: Counter[tuple[str, str]] = Counter()
    for first, second in combinations(range(panel.n_samples), 2):
        both = (dosages[first] == 1) & (dosages[second] == 1) & (found.copies == 2)
        shared[labels[first], labels[second]] += int(both.sum())
    for i, one in enumerate(groups):
        for j, other in enumerate(groups):
            assert found.shared[i, j] == shared[one, other]
    assert found.homozygous == ((found.copies == 2) & (dosages == 2).any(axis=0)).sum()
    alone = [carriers["A"] & ~carriers["B"] & ~carriers["C"]]
    assert found.private["A"] == alone[0].sum()


@pytest.mark.parametrize("block", [1 << 25, 24])
def test_a_panel_made_by_hand(block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # All sites at once, and two at a time.
    monkeypatch.setattr("haplobench_utility.rare_variants._BLOCK_BYTES", block)
    # Six people of two populations; sites: a singleton, a doubleton within A, one between A and
    # B, one in one person, and one whose alternate allele is the commoner one.
    haplotypes = np.zeros((12, 5), np.int8)
    haplotypes[0, 0] = 1
    haplotypes[[0, 2], 1] = 1
    haplotypes[[1, 8], 2] = 1
    haplotypes[[10, 11], 3] = 1
    haplotypes[:, 4] = 1
    haplotypes[[3, 5], 4] = 0
    panel = Panel(
        haplotypes,
        np.arange(1, 6) * 100,
        "1",
        np.array(list("abcdef")),
        population=np.repeat(["A", "B"], 3),
        superpopulation=np.repeat(["AA", "BB"], 3),
    )
    real = Reference(panel, panel)
    small = {"max_maf": 0.5, "min_people": 1, "least_sites": 1}
    same = measure(panel, tmp_path, real, **small)
    for submetric in RARE_VARIANTS.submetrics:
        if submetric.name != "private_ratio":
            assert value(same, submetric.name) == submetric.ideal
    assert private(same) == {"AA": 1, "BB": 1}
    cohort = np.array(haplotypes)
    cohort[2, 0] = 1  # the singleton becomes a doubleton within A
    cohort[[1, 8], 2] = 0  # and the one between the populations is gone
    other = measure(replace(panel, haplotypes=cohort), tmp_path, real, **small)
    assert value(other, "singletons_ratio") == 0
    assert value(other, "doubletons_ratio") == 1
    # Within A 2 of 3 then 3 of 3; between them 1 of 3 then none.
    assert value(other, "sharing_within_difference") == pytest.approx(1 / 3)
    assert value(other, "sharing_distance") == pytest.approx(1 / 3)
    assert value(other, "recall") == pytest.approx(4 / 5)
    ratio = sum(_carried(cohort)) / sum(_carried(haplotypes))
    assert value(other, "carried_ratio") == pytest.approx(ratio)


def _carried(haplotypes: np.ndarray) -> list[int]:
    dosages = haplotypes.reshape(6, 2, 5).sum(axis=1)
    dosages[:, 4] = 2 - dosages[:, 4]
    return [int((g > 0).sum()) for g in dosages]


def test_real_people_are_at_the_ideal_and_controls_are_not(tmp_path: Path) -> None:
    floor = [measure(real_people(seed), tmp_path) for seed in range(4)]
    for name, ideal, far in (
        ("singletons_ratio", 1, 0.15),
        ("doubletons_ratio", 1, 0.35),
        ("carried_ratio", 1, 0.15),
        ("sharing_within_difference", 0, 0.1),
    ):
        mean = np.mean([value(result, name) for result in floor])
        assert mean == pytest.approx(ideal, abs=far), name
    assert np.mean([private(result)["C"] for result in floor]) == pytest.approx(1, abs=0.35)
    noise = measure(random_sequence(real_people(0)), tmp_path)
    assert value(noise, "singletons_ratio") < 0.1
    assert value(noise, "carried_ratio") > 5
    # Sites on their own keep the counts, and share with anybody.
    alone = measure(independent(everything().train), tmp_path)
    assert "fewer than two labels" in only(alone, "sharing_distance").note
    rows = np.random.default_rng(3).permutation(60)
    dealt = real_people(0)
    dealt = replace(
        dealt, population=dealt.population[rows], superpopulation=dealt.superpopulation[rows]
    )
    mixed = measure(dealt, tmp_path)
    assert value(mixed, "sharing_within_difference") < -0.1
    assert value(mixed, "sharing_distance") > max(value(r, "sharing_distance") for r in floor)


def test_what_can_not_be_told_says_why(tmp_path: Path) -> None:
    common = everything().train.common_sites(0.2)
    real = Reference(
        everything().train.select_sites(common), everything().holdout.select_sites(common)
    )
    result = measure(real_people(0).select_sites(common), tmp_path, real)
    assert "so rare" in only(result, "carried_ratio").note
    assert "so rare" in only(result, "recall").note
    gaps = measure(with_missing(real_people(0)), tmp_path)
    assert only(gaps, "singletons_ratio").note.startswith("missing alleles (synthetic)")
    one = measure(real_people(0).select_samples(np.arange(1)), tmp_path)
    assert only(one, "carried_ratio").note == "1 people a side"
    bare = measure(without_labels(real_people(0)), tmp_path)
    assert "fewer than two labels" in only(bare, "private_ratio").note
    halves = Reference(haploid(everything().train), haploid(everything().holdout))
    assert value(measure(haploid(real_people(0)), tmp_path, halves), "singletons_ratio") > 0.7
    assert "one ploidy" in only(measure(haploid(real_people(0)), tmp_path), "recall").note
    cohort = real_people(0)
    flat = measure(replace(cohort, haplotypes=np.zeros_like(cohort.haplotypes)), tmp_path)
    assert value(flat, "singletons_ratio") == 0
    assert "fewer than 10 doubletons" in only(flat, "sharing_distance").note
