"""The same people in two panels: under other names, phases, with missing calls and errors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import poisson

from haplobench import Panel
from haplobench.data.formats import ReadOptions, read_panel
from haplobench.data.identity import _at_least, exact_copies, nearness, same_people
from haplobench.testing import example_panel

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


def with_rows(panel: Panel, rows: np.ndarray) -> Panel:
    return renamed(panel.with_haplotypes(np.ascontiguousarray(rows), samples=panel.samples), "s{i}")


def test_one_person_copied_whole_is_found_and_no_chance() -> None:
    rng = np.random.default_rng(1)
    train, strangers, others = (example_panel(30, n_sites=200, seed=seed) for seed in (1, 2, 3))
    none = exact_copies(renamed(strangers), train, None)
    assert (none.people.shape, none.haplotypes) == ((0, 2), 0)
    assert none.people_by_chance
    assert none.haplotypes_by_chance
    rows = strangers.haplotypes.copy()
    rows[[4, 5]] = train.haplotypes[[21, 20]]  # person 10, the haplotypes the other way round
    for beside in (None, others):
        found = exact_copies(with_rows(strangers, rows), train, beside)
        assert (found.people.tolist(), found.haplotypes) == ([[2, 10]], 2)
        assert not found.people_by_chance
        assert found.haplotypes_by_chance  # two are no evidence by themselves
    # Without phase, and missing alleles equal nobody's.
    mine = with_rows(strangers, rows)
    found = exact_copies(replace(mine, phased=False), train, None)
    assert (found.people.tolist(), found.haplotypes) == ([[2, 10]], 0)
    rows[4, rng.integers(200)] = -1
    assert exact_copies(with_rows(strangers, rows), train, None).people.size == 0


def test_haplotypes_dealt_anew_to_people_are_counted(train: Panel, strangers: Panel) -> None:
    order = np.random.default_rng(3).permutation(train.n_haplotypes)
    found = exact_copies(with_rows(train, train.haplotypes[order]), train, strangers)
    assert found.haplotypes == train.n_haplotypes
    few = exact_copies(renamed(strangers), train, None)
    assert few.haplotypes_by_chance  # a short region: half of the strangers' are there
    assert not found.haplotypes_by_chance


def test_copies_in_a_short_region_are_no_wonder(train: Panel, strangers: Panel) -> None:
    sites = np.arange(20)
    found = exact_copies(renamed(strangers).select_sites(sites), train.select_sites(sites))
    same = (strangers.dosages()[:, None, :20] == train.dosages()[None, :, :20]).all(axis=2)
    assert np.unique(found.people[:, 0]).tolist() == np.flatnonzero(same.any(axis=1)).tolist()
    assert found.people.size
    assert found.people_by_chance
    assert found.haplotypes_by_chance


def mosaic(panel: Panel, n: int, seed: int) -> Panel:
    """People whose haplotypes are pieced together from a panel's, seven pieces each."""
    rng = np.random.default_rng(seed)
    rows = np.empty((2 * n, panel.n_sites), np.int8)
    for row in rows:
        piece = np.searchsorted(np.sort(rng.integers(0, panel.n_sites, 6)), np.arange(row.size))
        row[:] = panel.haplotypes[
            rng.integers(0, panel.n_haplotypes, 7)[piece], np.arange(row.size)
        ]
    return panel.with_haplotypes(rows)


def test_a_mosaic_is_nearer_to_those_whom_it_copies(train: Panel, strangers: Panel) -> None:
    for phased in (True, False):
        people = [
            replace(panel, phased=phased) for panel in (mosaic(train, 30, 1), train, strangers)
        ]
        near = nearness(*people, seed=1)
        assert near.near > near.expected
        assert near.p < (1e-3 if phased else 0.05)
        assert nearness(people[0], people[2], people[1], seed=1).p == 1.0


def test_real_people_are_seldom_nearer_to_either_panel(train: Panel, strangers: Panel) -> None:
    everybody = mosaic(train, 0, 0).with_haplotypes(
        np.concatenate([train.haplotypes, strangers.haplotypes])
    )
    rng = np.random.default_rng(2)
    chances = []
    for seed in range(20):
        parts = np.split(rng.permutation(everybody.n_samples), [30, 60])
        chances.append(nearness(*(everybody.select_samples(part) for part in parts), seed=seed).p)
    assert min(chances) > 1e-3
    assert sum(chance < 0.5 for chance in chances) <= 16


def test_nothing_is_dealt_anew_between_populations(train: Panel, strangers: Panel) -> None:
    one, other = (
        replace(panel, population=np.full(panel.n_samples, name))
        for panel, name in ((train, "FIN"), (strangers, "YRI"))
    )
    assert nearness(mosaic(train, 30, 1), one, other, seed=1).p == 1.0
