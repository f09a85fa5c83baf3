"""The same people in two panels: under other names, phases, with missing calls and errors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import poisson

from haplobench import Panel
from haplobench.data.formats import ReadOptions, read_panel
from haplobench.data.identity import _at_least, same_people

CASES = Path(__file__).parents[1] / "runner" / "cases"


@pytest.fixture(scope="module")
def train() -> Panel:
    return read_panel(CASES / "ev_train.vcf.gz")[0]


@pytest.fixture(scope="module")
def strangers() -> Panel:
    return read_panel(CASES / "ev_real.vcf.gz")[0]


def renamed(panel: Panel, names: str = "x{i}") -> Panel:
    old = panel.samples.tolist()
    return replace(
        panel, samples=np.array([names.format(i=i, old=name) for i, name in enumerate(old)])
    )


def worn(panel: Panel, *, error: float = 0.0, missing: float = 0.0, seed: int = 0) -> Panel:
    """A panel typed again: alleles in error, calls missing."""
    rng = np.random.default_rng(seed)
    rows = panel.haplotypes.copy()
    wrong = rng.random(rows.shape) < error
    rows[wrong] = 1 - rows[wrong]
    rows[np.repeat(rng.random((panel.n_samples, panel.n_sites)) < missing, 2, axis=0)] = -1
    return replace(panel, haplotypes=rows)


def unordered(panel: Panel) -> Panel:
    """Every genotype the other way round, at random."""
    rng = np.random.default_rng(1)
    people = panel.haplotypes.reshape(panel.n_samples, 2, -1)
    swap = rng.random((panel.n_samples, 1, panel.n_sites)) < 0.5
    rows = np.where(swap, people[:, ::-1], people).reshape(panel.haplotypes.shape)
    return replace(panel, haplotypes=np.ascontiguousarray(rows), phased=False)


@pytest.mark.parametrize(
    ("error", "missing", "phased"),
    [(0, 0, True), (0, 0, False), (0, 0.03, True), (0.005, 0.01, False), (0.005, 0, True)],
)
def test_everybody_is_found_under_any_name(
    train: Panel, error: float, missing: float, phased: bool
) -> None:
    order = np.random.default_rng(3).permutation(train.n_samples)
    again = worn(train.select_samples(order), error=error, missing=missing)
    again = renamed(again if phased else unordered(again))
    found = same_people(again, train).pairs
    assert found.shape[0] >= 0.95 * train.n_samples
    assert (order[found[:, 0]] == found[:, 1]).mean() > 0.85  # others may be as alike


@pytest.mark.parametrize("names", ["{old}", "{old}_{old}", "fam7_{old}"])
def test_a_few_are_found_by_their_names_and_genotypes(
    train: Panel, strangers: Panel, names: str
) -> None:
    few = renamed(worn(train.select_samples(np.arange(5, 8)), error=0.005, missing=0.01), names)
    mixed = replace(
        strangers,
        haplotypes=np.concatenate([few.haplotypes, strangers.haplotypes[6:]]),
        samples=np.concatenate([few.samples, strangers.samples[3:]]),
    )
    assert same_people(mixed, train).pairs.tolist() == [[0, 5], [1, 6], [2, 7]]


def test_names_without_genotypes_are_nobody(train: Panel, strangers: Panel) -> None:
    assert not same_people(renamed(strangers), renamed(train)).pairs.size
    assert not same_people(strangers, train).pairs.size
    few = strangers.select_sites(np.arange(20))  # too few to compare
    assert not same_people(few, renamed(train.select_sites(np.arange(20)))).pairs.size


@pytest.mark.parametrize(
    ("file", "region"),
    [
        ("1kg_p3_chr1_11.70-11.84Mb.vcf.gz", ""),
        # Of so short a region many strangers have the same genotypes.
        ("1kg_p3_chr4_93.1-94.7Mb_EUR297_AFR268.vcf.gz", "4:93099792-93300000"),
        ("1kg_p3_chr20_1-4Mb_EUR300.vcf.gz", "20:1000000-1150000"),
    ],
)
def test_honest_splits_have_nobody_in_common(file: str, region: str, data_dir: Path) -> None:
    panel, _ = read_panel(data_dir / file, ReadOptions(region=region))
    panel = renamed(panel)
    for seed in range(6):
        order = np.random.default_rng(seed).permutation(panel.n_samples)[:400]
        n = (40, 100, order.size // 2)[seed % 3]
        real, train = (panel.select_samples(np.sort(part)) for part in (order[:n], order[n:]))
        assert not same_people(renamed(real), renamed(train)).pairs.size
        everybody = renamed(worn(train.select_samples(np.arange(n)), missing=0.02))
        if seed < 3 and "chr4" not in file:
            assert same_people(everybody, train).pairs.shape[0] >= 0.95 * min(n, train.n_samples)


@pytest.mark.parametrize(("n", "expected"), [(1, 0.2), (3, 0.2), (10, 4.0), (60, 1.3), (40, 55.0)])
def test_at_least_is_scipy_s_poisson(n: int, expected: float) -> None:
    assert _at_least(n, expected) == pytest.approx(poisson.sf(n - 1, expected), rel=1e-6, abs=1e-14)
