"""Sites that two panels share."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from haplobench import Panel
from haplobench.runner.given_sites import common_shift, match_sites


def people(n: int, seed: int = 0, **more: Any) -> Panel:
    rng = np.random.default_rng(seed)
    return Panel(
        rng.integers(0, 2, (2 * n, 9)).astype(np.int8),
        10 * np.arange(1, 10),
        "20",
        np.array([f"p{seed}_{i}" for i in range(n)]),
        ref=np.full(9, "A"),
        alt=np.full(9, "G"),
        population=np.array(["FIN", "GBR", "GBR"] * n)[:n],
        **more,
    )


@given(st.integers(0, 2**16))
@settings(max_examples=50, deadline=None)
def test_sites_match_by_position_and_alleles_either_way_round(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first = people(3)
    kept = np.flatnonzero(rng.random(9) < 0.7)
    second = first.select_sites(kept)
    flip = rng.random(kept.size) < 0.3
    haplotypes = np.where(flip, 1 - second.haplotypes, second.haplotypes).astype(np.int8)
    turned = Panel(
        haplotypes,
        second.positions,
        "chr20",
        second.samples,
        ref=np.where(flip, second.alt, second.ref),
        alt=np.where(flip, second.ref, second.alt),
    )
    matched = match_sites(first, turned)
    np.testing.assert_array_equal(matched.first, kept)
    np.testing.assert_array_equal(matched.swapped, flip)
    back = matched.second_at(turned)
    np.testing.assert_array_equal(back.haplotypes, second.haplotypes)
    np.testing.assert_array_equal(back.ref, second.ref)


def test_other_alleles_and_other_contigs_do_not_match() -> None:
    first = people(2)
    other = Panel(
        first.haplotypes,
        first.positions,
        "20",
        first.samples,
        ref=np.array(["A"] * 8 + ["N"]),
        alt=np.array(["G"] * 6 + ["T"] * 2 + ["N"]),
    )
    matched = match_sites(first, other)
    assert matched.first.tolist() == [0, 1, 2, 3, 4, 5, 8]
    assert matched.other_alleles == 2
    elsewhere = Panel(first.haplotypes, first.positions, "21", first.samples)
    assert match_sites(first, elsewhere).n == 0


def panel(contig: str, *sites: str) -> Panel:
    """A panel of one person with sites such as `10AC`."""
    return Panel(
        haplotypes=np.array([[0] * len(sites), [1] * len(sites)], np.int8),
        positions=np.array([int(site[:-2]) for site in sites]),
        contig=contig,
        samples=np.array(["P"]),
        ref=np.array([site[-2] for site in sites]),
        alt=np.array([site[-1] for site in sites]),
    )


def test_other_alleles_and_the_other_strand_are_told_apart() -> None:
    first = panel("23", "10AC", "20AC", "30AG", "40AT", "50AC", "60CT")
    second = panel("chrX", "10AC", "20CA", "30TC", "40TA", "50AG", "60AG", "70AC")
    matched = match_sites(first, second)
    assert matched.first.tolist() == [0, 1, 3]
    assert matched.swapped.tolist() == [False, True, True]
    assert (matched.other_alleles, matched.other_strand) == (3, 2)
    assert matched.ambiguous == 1  # 40: A and T are each other's complements


def test_positions_of_another_build_are_found_by_their_common_shift() -> None:
    rng = np.random.default_rng(1)
    real = np.sort(rng.choice(np.arange(1_000_000, 4_000_000), 9_000, replace=False))
    mine = np.sort(rng.choice(real, 2_000, replace=False))
    assert common_shift(real, mine + 19_359) == (19_359, 300)
    assert common_shift(real, mine) == (0, 300)
    other = np.sort(rng.choice(np.arange(1_000_000, 4_000_000), 2_000, replace=False))
    assert common_shift(real, other)[1] < 30


def test_other_contigs_share_nothing() -> None:
    assert match_sites(panel("20", "10AC"), panel("21", "10AC")).n == 0
