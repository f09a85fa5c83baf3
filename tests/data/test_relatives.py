"""Duplicates and relatives whom a panel shows, and strangers whom it must not call so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from haplobench import Panel
from haplobench.data.formats import read_panel
from haplobench.data.relatives import (
    FIRST_DEGREE,
    NO_OPPOSITE,
    SAME_GENOTYPES,
    SECOND_DEGREE,
    WHOLE_HAPLOTYPE,
    Evidence,
    find_relatives,
    relatives_text,
)
from haplobench.datasets import EmbeddedParams
from haplobench.datasets.embedded import Embedded
from haplobench.testing import example_context, example_panel

Pairs = set[tuple[int, int]]


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Panel:
    """300 people, 3 Mb of chromosome 20."""
    ctx = example_context(tmp_path_factory.mktemp("ctx"), example_panel(4, n_sites=4))
    return Embedded().load(EmbeddedParams(), ctx).panel


def with_people(panel: Panel, haplotypes: NDArray[np.int8]) -> Panel:
    n = haplotypes.shape[0] // panel.ploidy
    names = [*panel.samples.tolist(), *(f"new{panel.n_samples + i}" for i in range(n))]
    return panel.with_haplotypes(np.concatenate([panel.haplotypes, haplotypes]), samples=names)


def copies(panel: Panel, people: NDArray[np.int64], errors: float, missing: float) -> Panel:
    """The panel with some people twice: again with phase swapped, typing errors, missing calls."""
    rng = np.random.default_rng(5)
    again = panel.select_samples(people).haplotypes.reshape(people.size, 2, -1)[:, ::-1]
    again = again.reshape(2 * people.size, -1).copy()
    again[rng.random(again.shape) < errors] ^= 1
    again[np.repeat(rng.random((people.size, panel.n_sites)) < missing, 2, axis=0)] = -1
    return with_people(panel, again)


def meiosis(
    panel: Panel, parents: NDArray[np.int64], rng: np.random.Generator, block: int
) -> NDArray[np.int8]:
    """A gamete of each parent that changes between the two haplotypes every `block` sites."""
    pairs = panel.haplotypes.reshape(panel.n_samples, 2, panel.n_sites)[parents]
    n_blocks = -(-panel.n_sites // block)
    side = np.repeat(rng.integers(0, 2, (parents.size, n_blocks)), block, axis=1)
    side = side[:, None, : panel.n_sites]
    return np.take_along_axis(pairs, side, axis=1)[:, 0]


def children(
    panel: Panel,
    mothers: NDArray[np.int64],
    fathers: NDArray[np.int64],
    block: int,
    seed: int = 1,
) -> Panel:
    rng = np.random.default_rng(seed)
    both = [meiosis(panel, parents, rng, block) for parents in (mothers, fathers)]
    return with_people(panel, np.stack(both, axis=1).reshape(-1, panel.n_sites))


def by_kind(panel: Panel) -> dict[str, Evidence]:
    return {one.kind: one for one in find_relatives(panel).evidence}


def told(evidence: Evidence) -> Pairs:
    return {(int(i), int(j)) for i, j in evidence.pairs}


def test_strangers_of_a_short_region(strangers: Panel) -> None:
    evidence = by_kind(strangers)
    assert not any(told(one) for one in evidence.values())
    assert evidence[SAME_GENOTYPES].told
    assert evidence[WHOLE_HAPLOTYPE].told
    # Taken for kinship of genomes, hundreds of pairs would be of the first degree.
    assert not evidence[FIRST_DEGREE].told
    assert not evidence[SECOND_DEGREE].told
    assert evidence[FIRST_DEGREE].noise > 0.1


@pytest.mark.parametrize(("errors", "missing"), [(0.0, 0.0), (0.001, 0.05)])
def test_people_under_two_names(strangers: Panel, errors: float, missing: float) -> None:
    people = np.arange(0, 300, 6)
    panel = copies(strangers, people, errors, missing)
    expected = {(int(i), 300 + at) for at, i in enumerate(people)}
    for one in (panel, replace(panel, phased=False)):
        evidence = by_kind(one)
        assert told(evidence[SAME_GENOTYPES]) == expected
    assert by_kind(panel)[SAME_GENOTYPES].chance < 1
    lone = by_kind(copies(strangers, people[:1], errors, missing))
    assert told(lone[SAME_GENOTYPES]) == {(0, 300)}


def test_parents_and_children_on_a_short_region(strangers: Panel) -> None:
    mothers, fathers = np.arange(0, 60, 2), np.arange(1, 61, 2)
    panel = children(strangers, mothers, fathers, block=strangers.n_sites)
    expected = {(int(p), 300 + at) for side in (mothers, fathers) for at, p in enumerate(side)}
    evidence = by_kind(panel)
    assert told(evidence[WHOLE_HAPLOTYPE]) == expected
    assert evidence[WHOLE_HAPLOTYPE].chance < 5
    unphased = by_kind(replace(panel, phased=False))
    assert expected <= told(unphased[NO_OPPOSITE])
    assert len(told(unphased[NO_OPPOSITE])) < 1.2 * len(expected)


def independent_sites(n_people: int, n_sites: int, seed: int) -> Panel:
    rng = np.random.default_rng(seed)
    frequencies = rng.uniform(0.1, 0.9, n_sites)
    haplotypes = (rng.random((2 * n_people, n_sites)) < frequencies).astype(np.int8)
    names = np.array([f"p{i:03}" for i in range(n_people)])
    return Panel(haplotypes, np.arange(1, n_sites + 1) * 1000, "1", names)


def test_degrees_where_the_region_is_long_enough() -> None:
    founders = independent_sites(80, 12_000, seed=2)
    mothers = np.array([0, 0, 1, 2])
    fathers = np.array([10, 10, 11, 12])
    family = children(founders, mothers, fathers, block=40)
    # Children of person 0 with somebody else: half-siblings of the first two.
    family = children(family, np.array([0]), np.array([20]), block=40, seed=2)
    evidence = by_kind(family)
    parents = {(int(p), 80 + at) for side in (mothers, fathers) for at, p in enumerate(side)}
    parents |= {(0, 84), (20, 84)}
    assert told(evidence[FIRST_DEGREE]) == parents | {(80, 81)}
    assert told(evidence[SECOND_DEGREE]) == {(80, 84), (81, 84)}
    assert not told(evidence[SAME_GENOTYPES])
    assert not told(evidence[WHOLE_HAPLOTYPE])
    assert not any(told(one) for one in by_kind(founders).values())


def test_clones_are_not_taken_for_one_family() -> None:
    # No recombination: five haplotypes, as of a mitochondrion, among 80 people.
    rng = np.random.default_rng(8)
    kinds = rng.integers(0, 2, (5, 60)).astype(np.int8)
    haplotypes = kinds[rng.integers(0, 5, 160)]
    panel = replace(independent_sites(80, 60, 1), haplotypes=haplotypes)
    haploid = Panel(haplotypes, panel.positions, "MT", np.arange(160).astype(str), ploidy=1)
    for one in (panel, replace(panel, phased=False), haploid):
        relatives = find_relatives(one)
        assert not relatives.pairs.size
        assert not all(evidence.told for evidence in relatives.evidence)


def test_haploid_people(strangers: Panel) -> None:
    names = np.array([f"h{i}" for i in range(strangers.n_haplotypes)])
    haploid = Panel(strangers.haplotypes, strangers.positions, "20", names, ploidy=1)
    assert not find_relatives(haploid).pairs.size
    twice = with_people(haploid, haploid.haplotypes[[3, 70]])
    relatives = find_relatives(twice)
    assert relatives.pairs.tolist() == [[3, 600], [70, 601]]
    assert [one.kind for one in relatives.evidence] == [SAME_GENOTYPES]


def test_between_two_panels(strangers: Panel) -> None:
    one, other = (strangers.select_samples(part) for part in (np.arange(200), np.arange(150, 300)))
    pairs = find_relatives(one, other).pairs
    assert pairs.tolist() == [[150 + i, i] for i in range(50)]


def test_what_is_too_little_or_too_much_is_said(strangers: Panel) -> None:
    few = find_relatives(strangers.select_sites(np.arange(30)))
    assert "30 sites" in few.reason or "sites with a MAF" in few.reason
    assert not few.evidence
    assert not few.pairs.size
    facts = few.facts() | {"setting": "warn", "declared": 0}
    facts |= {"families": 0, "people": 0, "across": 0}
    assert relatives_text(facts).startswith("relatives not looked for: ")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("1kg_p3_chr1_11.70-11.84Mb.vcf.gz", marks=pytest.mark.slow),
        "1kg_p3_chr4_93.1-94.7Mb_EUR297_AFR268.vcf.gz",
    ],
)
def test_strangers_of_the_1000_genomes(data_dir: Path, name: str) -> None:
    panel, _ = read_panel(data_dir / name)
    assert not find_relatives(panel).pairs.size
    people = np.arange(0, panel.n_samples, panel.n_samples // 50)[:50]
    pairs = find_relatives(copies(panel, people, 0.0, 0.0)).pairs
    assert pairs.tolist() == [[int(i), panel.n_samples + at] for at, i in enumerate(people)]
