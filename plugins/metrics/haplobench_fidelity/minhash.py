"""Mash distance: MinHash sketches that equal the `mash` program's (Ondov et al. 2016)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import uint64
from numpy.typing import NDArray

from haplobench import Measurement, MetricResult, Panel, Reference, RunContext
from haplobench.kernels import compiled
from haplobench.memory import remember
from haplobench_fidelity.cohorts import require_complete
from haplobench_fidelity.kmers import (
    PlacedCohort,
    digest,
    invariant_chunks,
    place_real,
    place_synthetic,
    variant_spectrum,
)
from haplobench_fidelity.specs_haplotypes import MASH, MashParams

_SEED = 42
# Mash hashes to 32 bits where 4**k k-mers fit in them.
_LONGEST_32_BIT = 16
_LETTERS = np.frombuffer(b"ACGT", np.uint8).astype(np.uint64)
_C1 = uint64(0x87C37B91114253D5)
_C2 = uint64(0x4CF5AD432745937F)


def mash(reference: Reference, cohort: Panel, params: MashParams, ctx: RunContext) -> MetricResult:
    """Mash distance and Jaccard index of two cohorts, each the pooled set of its k-mers.

    Raises PanelError on missing alleles.
    """
    holdout, n = reference.holdout, cohort.n_haplotypes
    require_complete("mash", holdout=holdout, synthetic=cohort)
    real = place_real(holdout, ctx)
    if real is None:
        return MASH.not_applicable("no reference sequence", n)
    k, size = params.k, params.sketch_size
    synthetic = place_synthetic(cohort, holdout, ctx)
    real_sketch = remember(
        ("mash", holdout.digest, digest(real.bases), k, size), lambda: sketch(real, k, size)
    )
    jaccard = sketch_jaccard(real_sketch, sketch(synthetic, k, size), size)
    if jaccard is None:
        return MASH.not_applicable("the region holds no k-mer", n)
    return MetricResult(
        {
            "distance": Measurement(mash_distance(jaccard, k), n, note=synthetic.note),
            "jaccard": Measurement(jaccard, n, note=synthetic.note),
        }
    )


def sketch(cohort: PlacedCohort, k: int, size: int) -> NDArray[np.uint64]:
    """The smallest distinct hashes of a cohort's canonical k-mers: (<= size,) uint64, increasing.

    All haplotypes of the cohort are pooled, as `mash sketch` pools the records of a file.
    """
    masked = cohort.masked()

    def invariant() -> NDArray[np.uint64]:
        smallest = np.empty(0, np.uint64)
        for codes in invariant_chunks(masked, k):
            smallest = _smallest(smallest, hash_kmers(codes, k), size)
        return smallest

    shared = remember(("mash invariant", digest(masked), k, size), invariant)
    return _smallest(shared, hash_kmers(variant_spectrum(cohort, k).codes, k), size)


def sketch_jaccard(
    first: NDArray[np.uint64], second: NDArray[np.uint64], size: int
) -> float | None:
    """Share of the `size` smallest hashes of the union that are in both; None if there are none."""
    union = np.union1d(first, second)[:size]
    if not union.size:
        return None
    shared = np.isin(union, first, assume_unique=True) & np.isin(union, second, assume_unique=True)
    return float(shared.mean())


def mash_distance(jaccard: float, k: int) -> float:
    """Mash distance in [0, 1] for a Jaccard index (Ondov et al. 2016, equation 4)."""
    if jaccard <= 0:
        return 1.0
    return min(1.0, max(0.0, -math.log(2 * jaccard / (1 + jaccard)) / k))


def hash_kmers(codes: NDArray[np.int64], k: int) -> NDArray[np.uint64]:
    """Mash's hash of k-mers given as two-bit codes: (n,) uint64.

    The low 64 bits (32 where k <= 16) of MurmurHash3_x64_128, seed 42, of the ASCII k-mer.
    """
    hashes: NDArray[np.uint64] = _murmur(codes, k, _LETTERS)
    return hashes if k > _LONGEST_32_BIT else hashes & np.uint64(0xFFFFFFFF)


def _smallest(kept: NDArray[np.uint64], more: NDArray[np.uint64], size: int) -> NDArray[np.uint64]:
    if kept.size >= size:
        more = more[more < kept[-1]]
    if more.size > 4 * size:
        # Distinct hashes repeat where k-mers do, so cut generously before the exact step.
        cut = np.partition(more, 4 * size)[: 4 * size]
        if np.unique(cut).size >= size:
            more = cut
    return np.union1d(kept, more)[:size]


@compiled
def _rotate(x: Any, r: int) -> Any:
    return (x << uint64(r)) | (x >> uint64(64 - r))


@compiled
def _mix(h: Any) -> Any:
    h ^= h >> uint64(33)
    h *= uint64(0xFF51AFD7ED558CCD)
    h ^= h >> uint64(33)
    h *= uint64(0xC4CEB9FE1A85EC53)
    h ^= h >> uint64(33)
    return h


@compiled
def _murmur(codes: NDArray[np.int64], k: int, letters: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """MurmurHash3_x64_128 (Appleby, public domain), first half, for keys of 1 to 31 bytes."""
    hashes = np.empty(codes.size, np.uint64)
    words = np.empty(4, np.uint64)
    for i in range(codes.size):
        words[:] = uint64(0)
        code = codes[i]
        for at in range(k - 1, -1, -1):
            words[at >> 3] |= letters[code & 3] << uint64(8 * (at & 7))
            code >>= 2
        h1 = uint64(_SEED)
        h2 = uint64(_SEED)
        tail = 0
        if k >= 16:
            k1 = _rotate(words[0] * _C1, 31) * _C2
            h1 = (_rotate(h1 ^ k1, 27) + h2) * uint64(5) + uint64(0x52DCE729)
            k2 = _rotate(words[1] * _C2, 33) * _C1
            h2 = (_rotate(h2 ^ k2, 31) + h1) * uint64(5) + uint64(0x38495AB5)
            tail = 2
        # An empty rest is zero and mixes to zero, so it needs no branch.
        h2 ^= _rotate(words[tail + 1] * _C2, 33) * _C1
        h1 ^= _rotate(words[tail] * _C1, 31) * _C2
        h1 ^= uint64(k)
        h2 ^= uint64(k)
        h1 += h2
        h2 += h1
        h1 = _mix(h1)
        h2 = _mix(h2)
        hashes[i] = h1 + h2
    return hashes
