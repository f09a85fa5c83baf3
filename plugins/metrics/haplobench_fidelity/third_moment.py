"""Third central moments of triplets of sites: what is correlated beyond pairs."""

from __future__ import annotations

from functools import reduce

import numpy as np
from numpy.typing import NDArray

from haplobench_fidelity.site_bits import SiteBits

_TILE_SITES = 16384


def third_moments(bits: SiteBits, gap: int) -> NDArray[np.float64]:
    """E[(a - Ea)(b - Eb)(c - Ec)] of sites (i, i + gap, i + 2 gap): (n_sites - 2 gap,) float64.

    The connected three-point correlation of Yelmen et al. 2021, over haplotypes or over
    people's dosages, as packed; with missing alleles, over what is called at all three sites.
    Empty where the sites hold no such triplet.
    """
    n_triplets = max(0, bits.n_sites - 2 * gap)
    found = np.zeros(n_triplets)
    for start in range(0, n_triplets, _TILE_SITES):
        stop = min(start + _TILE_SITES, n_triplets)
        found[start:stop] = _tile(bits, gap, start, stop)
    return found


def _tile(bits: SiteBits, gap: int, start: int, stop: int) -> NDArray[np.float64]:
    rows = [slice(start + k * gap, stop + k * gap) for k in range(3)]
    a, b, c = (bits.alternate[row] for row in rows)
    called = [bits.called[row] for row in rows] if bits.called.size else []
    swapped = [bits.swapped[row] for row in rows] if bits.dosages else []
    n: float | NDArray[np.float64] = float(bits.n)
    if called:
        n = np.maximum(_count(*called) / (2 if swapped else 1), 1)
    sum_a, sum_b, sum_c = _count(a, *called), _count(b, *called), _count(c, *called)
    sum_ab, sum_ac, sum_bc = _count(a, b, *called), _count(a, c, *called), _count(b, c, *called)
    sum_abc = _count(a, b, c)
    if swapped:
        # A person's product of dosages: each allele against both alleles of the other sites.
        _, other_b, other_c = swapped
        sum_ab = sum_ab + _count(a, other_b, *called)
        sum_ac = sum_ac + _count(a, other_c, *called)
        sum_bc = sum_bc + _count(b, other_c, *called)
        sum_abc = (
            sum_abc + _count(a, b, other_c) + _count(a, other_b, c) + _count(a, other_b, other_c)
        )
    lower = (sum_a * sum_bc + sum_b * sum_ac + sum_c * sum_ab) / n
    moment: NDArray[np.float64] = (sum_abc - lower + 2 * sum_a * sum_b * sum_c / n**2) / n
    return moment


def _count(*rows: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Bits set in all of some (sites, words) arrays, per site."""
    shared = reduce(np.bitwise_and, rows)
    counts: NDArray[np.float64] = np.bitwise_count(shared).sum(axis=1, dtype=np.int64).astype(float)
    return counts
