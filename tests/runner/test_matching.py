"""Sites that two panels share."""

from __future__ import annotations

import numpy as np

from haplobench import Panel
from haplobench.data.sites import match_sites


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


def test_other_contigs_share_nothing() -> None:
    assert match_sites(panel("20", "10AC"), panel("21", "10AC")).n == 0
