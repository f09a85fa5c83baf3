"""The built-in read simulator: fragments of a haplotype, sequenced from one or both ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from haplobench_reads.params import BuiltinReadsParams
from haplobench_reads.profile import LOWEST_QUALITY, N_CODE, QualityProfile, substitute

# Fragments simulated at once: some 100 MiB at 150 bp, whatever the region.
CHUNK = 16_384

_CODES = np.full(256, N_CODE, np.uint8)
_CODES[np.frombuffer(b"ACGT", np.uint8)] = np.arange(4)
_LETTERS = np.frombuffer(b"ACGTN", np.uint8)
_COMPLEMENT = np.array([3, 2, 1, 0, 4], np.uint8)


@dataclass(frozen=True, eq=False)
class Fragments:
    """Where reads come from, in offsets into one haplotype.

    Attributes
    ----------
    start, end : (n,) int64
        First base, and one past the last.
    reverse : (n,) bool
        Whether the first read is of the reverse strand.
    """

    start: NDArray[np.int64]
    end: NDArray[np.int64]
    reverse: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Reads:
    """Reads of one mate.

    Attributes
    ----------
    bases : (n, read_length) uint8
        ASCII.
    qualities : (n, read_length) uint8
        Phred, without an offset.
    """

    bases: NDArray[np.uint8]
    qualities: NDArray[np.uint8]


def n_fragments(length: int, coverage: float, params: BuiltinReadsParams) -> int:
    """Fragments that cover `length` bp so many times by their reads."""
    per_fragment = params.read_length * (2 if params.paired else 1)
    return round(coverage * length / per_fragment)


def simulate(
    haplotype: NDArray[np.uint8],
    coverage: float,
    params: BuiltinReadsParams,
    rng: np.random.Generator,
) -> Iterator[tuple[Fragments, tuple[Reads, ...]]]:
    """Yield fragments of a haplotype and their reads (one or two mates), in chunks.

    `haplotype` (length,) uint8 ASCII, at least as long as a read; `coverage` of it.
    Fragments start uniformly; those whose reads would be mostly N are left out, as ART does.
    """
    codes = _CODES[haplotype]
    profiles = [
        QualityProfile.illumina(params.read_length, mate, params.quality_shift)
        for mate in range(2 if params.paired else 1)
    ]
    left = n_fragments(haplotype.size, coverage, params)
    while left > 0:
        n = min(left, CHUNK)
        fragments = draw_fragments(haplotype.size, n, params, rng)
        sequenced = [
            _sequence(codes, fragments, mate, profile, params, rng)
            for mate, profile in enumerate(profiles)
        ]
        readable = np.all([(bases == N_CODE).mean(axis=1) < 0.5 for bases, _ in sequenced], axis=0)
        yield (
            Fragments(
                fragments.start[readable], fragments.end[readable], fragments.reverse[readable]
            ),
            tuple(Reads(_LETTERS[bases[readable]], q[readable]) for bases, q in sequenced),
        )
        left -= n


def draw_fragments(
    length: int, n: int, params: BuiltinReadsParams, rng: np.random.Generator
) -> Fragments:
    """Draw fragments of normal length (between read length and `length`), uniform in place."""
    drawn = np.rint(rng.normal(params.fragment_mean, params.fragment_sd, n)).astype(np.int64)
    size = np.clip(drawn, params.read_length, length)
    start = rng.integers(0, length - size, endpoint=True)
    return Fragments(start, start + size, rng.random(n) < 0.5)


def _sequence(
    codes: NDArray[np.uint8],
    fragments: Fragments,
    mate: int,
    profile: QualityProfile,
    params: BuiltinReadsParams,
    rng: np.random.Generator,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Codes and qualities of one mate, each (n, read_length) uint8.

    The first mate is read from one end of the fragment, the second from the other, each
    towards the inside (FR).
    """
    n, length = fragments.start.size, params.read_length
    qualities = profile.draw(n, rng)
    # A first read of the reverse strand and a second read of the forward one start at the end.
    from_end = fragments.reverse != (mate == 1)
    source = np.broadcast_to(np.arange(length, dtype=np.int64), (n, length))
    inserted = np.empty((2, 0), np.int64)
    if not params.error_free:
        source, inserted = _indels(
            source, params.insertion_rates[mate], params.deletion_rates[mate], rng
        )
    first = np.where(from_end, fragments.end - 1, fragments.start)
    places = np.where(from_end, -1, 1)[:, None] * source
    places += first[:, None]
    # A deletion at the very end of the haplotype would run past it.
    bases = codes[np.clip(places, 0, codes.size - 1, out=places)]
    bases = np.where(from_end[:, None], _COMPLEMENT[bases], bases)
    bases[inserted[0], inserted[1]] = rng.integers(0, 4, inserted.shape[1])
    if not params.error_free:
        substitute(bases, qualities, rng)
    qualities[bases == N_CODE] = LOWEST_QUALITY
    return bases, qualities


def _indels(
    source: NDArray[np.int64], insertion: float, deletion: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Displace the template offsets of the few reads that have indel errors.

    Returns the offset of each cycle, (n, read_length) int64, and the (row, cycle) of inserted
    bases, (2, n_inserted) int64.
    """
    n, length = source.shape
    insertions, deletions = (
        np.stack(np.divmod(np.unique(rng.integers(0, n * length, count)), length))
        for count in rng.binomial(n * length, [insertion, deletion])
    )
    touched = np.union1d(insertions[0], deletions[0])
    shift = np.zeros((touched.size, length + 1), np.int64)
    # An inserted base doesn't use up the template: later cycles read one base earlier.
    np.add.at(shift, (np.searchsorted(touched, insertions[0]), insertions[1] + 1), -1)
    np.add.at(shift, (np.searchsorted(touched, deletions[0]), deletions[1]), 1)
    displaced = source.copy()
    displaced[touched] += shift[:, :length].cumsum(axis=1)
    return displaced, insertions
