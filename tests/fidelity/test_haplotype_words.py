"""Haplotype words against counting word by word."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from haplobench import Panel, Params, Reference, RunContext
from haplobench_fidelity.haplotype_words import haplotype_words, sorted_words


def measure(reference: Reference, cohort: Panel, ctx: RunContext) -> tuple[dict[str, Any], Any]:
    result = haplotype_words(reference, cohort, Params(), ctx)
    return dict(result.measurements), result.series


def words(panel: Panel, length: int) -> list[list[str]]:
    """Words of each window as strings; the first window begins half a window in, if it can."""
    first = length // 2 if panel.n_sites >= length + length // 2 else panel.n_sites - length
    return [
        ["".join(map(str, row)) for row in panel.haplotypes[:, at : at + length]]
        for at in range(max(first, 0), panel.n_sites - length + 1, length)
    ]


def divergence(first: list[str], second: list[str]) -> float:
    a, b = Counter(first), Counter(second)
    union = sorted(a | b)
    return float(jensenshannon([a[w] for w in union], [b[w] for w in union], base=2) ** 2)


@pytest.mark.parametrize("name", ["floor", "independent"])
@pytest.mark.parametrize("length", [10, 20])
def test_measurements_equal_counting(
    name: str,
    length: int,
    reference: Reference,
    cohorts: dict[str, Panel],
    ctx: RunContext,
) -> None:
    found, series = measure(reference, cohorts[name], ctx)
    real, synthetic = words(reference.holdout, length), words(cohorts[name], length)
    known = [set(a) | set(b) for a, b in zip(real, words(reference.train, length), strict=True)]
    n = reference.holdout.n_haplotypes
    windows = list(zip(real, synthetic, known, strict=True))
    expected = {
        "jsd": np.mean([divergence(r, s) for r, s, _ in windows]),
        "pooled_jsd": divergence([*chain(*real)], [*chain(*synthetic)]),
        "coverage": np.mean([sum(w in set(s) for w in r) / n for r, s, _ in windows]),
        "novel": np.mean([sum(w not in k for w in s) / n for _, s, k in windows]),
        "distinct_ratio": sum(len(set(s)) for s in synthetic) / sum(len(set(r)) for r in real),
    }
    for key, value in expected.items():
        assert found[f"{key}_{length}"].value == pytest.approx(value, abs=1e-12), key
    assert series[f"windows-{length}"]["start_bp"].tolist() == [
        reference.holdout.positions[length // 2 + i * length] for i in range(len(real))
    ]


def test_copy_is_ideal_and_independent_sites_are_bad(
    reference: Reference, cohorts: dict[str, Panel], ctx: RunContext
) -> None:
    copy, _ = measure(reference, cohorts["copy"], ctx)
    for length in (10, 20):
        assert copy[f"jsd_{length}"].value == copy[f"pooled_jsd_{length}"].value == 0
        assert copy[f"coverage_{length}"].value == copy[f"distinct_ratio_{length}"].value == 1
        assert copy[f"novel_{length}"].value == 0
    floor, _ = measure(reference, cohorts["floor"], ctx)
    independent, _ = measure(reference, cohorts["independent"], ctx)
    assert independent["jsd_10"].value > 5 * floor["jsd_10"].value
    assert independent["distinct_ratio_20"].value > 2
    assert floor["distinct_ratio_20"].value == pytest.approx(1, abs=0.15)
    assert floor["novel_20"].value == 0 < independent["novel_20"].value


@pytest.mark.parametrize("window", [20, 60, 100])
def test_windows_of_round_size_drawn_apart_are_seen(
    window: int, reference: Reference, ctx: RunContext
) -> None:
    holdout = reference.holdout
    rng = np.random.default_rng(1)
    shuffled = holdout.haplotypes.copy()
    for at in range(0, holdout.n_sites, window):
        shuffled[:, at : at + window] = rng.permutation(shuffled[:, at : at + window])
    found, _ = measure(reference, holdout.with_haplotypes(shuffled), ctx)
    for length in (10, 20):
        assert found[f"jsd_{length}"].value > 0.005
        assert found[f"distinct_ratio_{length}"].value > 1


def test_a_larger_cohort_is_compared_at_equal_numbers(
    reference: Reference, ctx: RunContext
) -> None:
    holdout = reference.holdout
    twice = holdout.with_haplotypes(np.repeat(holdout.haplotypes, 2, axis=0))
    found, _ = measure(reference, twice, ctx)
    assert found["jsd_10"].n == holdout.n_haplotypes
    # Half of a doubled cohort lacks some of the words: distinct words can't exceed the real.
    assert 0.5 < found["distinct_ratio_20"].value < 1
    again, _ = measure(reference, twice, ctx)
    assert again["jsd_10"].value == found["jsd_10"].value
    few, _ = measure(reference, holdout.select_samples(np.arange(10)), ctx)
    assert few["jsd_10"].n == 20


def test_too_few_sites_say_so(
    reference: Reference, cohorts: dict[str, Panel], ctx: RunContext
) -> None:
    sites = np.arange(15)
    short = Reference(reference.train.select_sites(sites), reference.holdout.select_sites(sites))
    found, _ = measure(short, cohorts["copy"].select_sites(sites), ctx)
    assert found["jsd_10"].value == 0
    assert found["jsd_20"].value is None
    assert "fewer than 20 sites" in found["jsd_20"].note


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 24), st.integers(1, 60), st.integers(1, 5), st.randoms())
def test_words_are_the_alleles_as_binary_numbers(
    length: int, n_sites: int, n_people: int, random: Any
) -> None:
    alleles = [[random.randint(0, 1) for _ in range(n_sites)] for _ in range(2 * n_people)]
    panel = Panel(
        np.array(alleles, np.int8),
        np.arange(1, n_sites + 1),
        "1",
        np.array([f"p{i}" for i in range(n_people)]),
    )
    expected = [sorted(int(word, 2) for word in window) for window in words(panel, length)]
    assert sorted_words(panel, length).tolist() == expected


def test_blocks_of_sites_give_the_same_words(
    reference: Reference, small_blocks: Callable[[int], None]
) -> None:
    whole = sorted_words(reference.holdout, 10)
    small_blocks(4 * reference.holdout.n_haplotypes * 25)
    np.testing.assert_array_equal(sorted_words(reference.holdout, 10), whole)


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


def test_floor_and_independent_sites_of_real_people(real: Reference, ctx: RunContext) -> None:
    def numbers(cohort: Panel) -> dict[str, Any]:
        return measure(real, cohort, ctx)[0]

    n = real.holdout.n_haplotypes
    floor = numbers(real.train.select_samples(np.arange(0, 4 * (n // 2), 4)))
    rng = np.random.default_rng(1)
    alleles = (rng.random((n, real.train.n_sites)) < real.train.frequencies).astype(np.int8)
    independent = numbers(real.train.with_haplotypes(alleles))
    # Measured apart with natural logarithms: .0016 and .107; distinct 1.02 and 10.3.
    assert floor["pooled_jsd_10"].value * math.log(2) < 0.003
    assert 0.09 < independent["pooled_jsd_10"].value * math.log(2) < 0.14
    assert floor["distinct_ratio_20"].value == pytest.approx(1.02, abs=0.06)
    assert independent["distinct_ratio_20"].value == pytest.approx(10.3, abs=1.2)
