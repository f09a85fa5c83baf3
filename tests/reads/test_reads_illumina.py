"""The built-in simulator: reads come from where they say, in the right orientation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from haplobench_reads.illumina import (
    CHUNK,
    Fragments,
    Reads,
    _indels,
    draw_fragments,
    n_fragments,
    simulate,
)
from haplobench_reads.specs import BuiltinReadsParams

LENGTH = 20_000
COMPLEMENT = bytes.maketrans(b"ACGTN", b"TGCAN")


def params(**changes: Any) -> BuiltinReadsParams:
    small = {"read_length": 50, "fragment_mean": 200, "fragment_sd": 20}
    return BuiltinReadsParams.model_validate(small | changes)


@pytest.fixture(scope="module")
def haplotype() -> NDArray[np.uint8]:
    return np.frombuffer(b"ACGT", np.uint8)[np.random.default_rng(0).integers(0, 4, LENGTH)]


def run(
    haplotype: NDArray[np.uint8], coverage: float, seed: int = 0, **changes: Any
) -> tuple[Fragments, list[Reads]]:
    """All chunks as one."""
    chunks = list(simulate(haplotype, coverage, params(**changes), np.random.default_rng(seed)))
    fragments = Fragments(
        *(
            np.concatenate([getattr(f, name) for f, _ in chunks])
            for name in ("start", "end", "reverse")
        )
    )
    mates = [
        Reads(
            np.concatenate([reads[m].bases for _, reads in chunks]),
            np.concatenate([reads[m].qualities for _, reads in chunks]),
        )
        for m in range(len(chunks[0][1]))
    ]
    return fragments, mates


def revcomp(sequence: bytes) -> bytes:
    return sequence.translate(COMPLEMENT)[::-1]


def test_error_free_pairs_are_the_ends_of_their_fragment_facing_inwards(
    haplotype: NDArray[np.uint8],
) -> None:
    fragments, (first, second) = run(haplotype, 2, error_free=True)
    sequence = haplotype.tobytes()
    for i in range(0, fragments.start.size, 7):
        fragment = sequence[fragments.start[i] : fragments.end[i]]
        if fragments.reverse[i]:
            fragment = revcomp(fragment)
        assert first.bases[i].tobytes() == fragment[:50]
        assert second.bases[i].tobytes() == revcomp(fragment)[:50]
    assert 0.4 < fragments.reverse.mean() < 0.6


def test_single_reads_are_of_both_strands(haplotype: NDArray[np.uint8]) -> None:
    fragments, mates = run(haplotype, 2, paired=False, error_free=True)
    assert len(mates) == 1
    sequence = haplotype.tobytes()
    for i in range(0, fragments.start.size, 7):
        fragment = sequence[fragments.start[i] : fragments.end[i]]
        expected = revcomp(fragment) if fragments.reverse[i] else fragment
        assert mates[0].bases[i].tobytes() == expected[:50]


@pytest.mark.parametrize("paired", [True, False])
def test_coverage_is_as_asked_and_even(haplotype: NDArray[np.uint8], paired: bool) -> None:
    fragments, mates = run(haplotype, 40, paired=paired, error_free=True)
    bases = sum(mate.bases.size for mate in mates)
    assert bases / LENGTH == pytest.approx(40, rel=0.01)
    assert n_fragments(LENGTH, 40, params(paired=paired)) == fragments.start.size
    # Starts are uniform over where a fragment of that size fits.
    place = fragments.start / (LENGTH - (fragments.end - fragments.start))
    assert stats.kstest(place, "uniform").pvalue > 1e-4


def test_fragment_lengths_are_normal_and_hold_a_read() -> None:
    drawn = draw_fragments(10**7, 20_000, params(), np.random.default_rng(0))
    size = drawn.end - drawn.start
    assert size.mean() == pytest.approx(200, abs=1)
    assert size.std() == pytest.approx(20, rel=0.03)
    short = draw_fragments(
        300, 1000, params(fragment_mean=100, fragment_sd=80), np.random.default_rng(0)
    )
    assert (short.end - short.start).min() == 50
    assert (short.end - short.start).max() <= 300
    assert short.start.min() >= 0
    assert short.end.max() <= 300


def test_mismatches_of_every_cycle_are_as_many_as_the_qualities_say(
    haplotype: NDArray[np.uint8],
) -> None:
    none = (0.0, 0.0)
    changes = {"insertion_rates": none, "deletion_rates": none, "quality_shift": -12}
    fragments, mates = run(haplotype, 100, **changes)
    sequence = np.stack([haplotype, np.frombuffer(revcomp(haplotype.tobytes()), np.uint8)])
    for m, mate in enumerate(mates):
        from_end = fragments.reverse != (m == 1)
        start = np.where(from_end, LENGTH - fragments.end, fragments.start)
        template = sequence[from_end.astype(int)[:, None], start[:, None] + np.arange(50)]
        wrong = mate.bases != template
        p = 10 ** (mate.qualities / -10.0)
        z = (wrong - p).sum(axis=0) / np.sqrt((p * (1 - p)).sum(axis=0))
        assert stats.chi2(50).sf((z**2).sum()) > 1e-5


@settings(deadline=None)
@given(seed=st.integers(0, 500))
def test_indels_displace_the_template_as_in_a_walk_along_it(seed: int) -> None:
    n, length = 6, 12
    source = np.broadcast_to(np.arange(length, dtype=np.int64), (n, length))
    displaced, inserted = _indels(source, 0.08, 0.08, np.random.default_rng(seed))
    is_inserted = np.zeros((n, length), bool)
    is_inserted[inserted[0], inserted[1]] = True
    for row in range(n):
        place = -1  # the last template base used up
        for cycle in range(length):
            if is_inserted[row, cycle]:
                # The offset is unused, but the next base read must not skip one for it.
                place += displaced[row, cycle] - place - 1
                continue
            assert displaced[row, cycle] - place in (1, 2)  # 2: one base deleted
            place = displaced[row, cycle]


def test_indels_are_as_frequent_as_asked() -> None:
    source = np.broadcast_to(np.arange(100, dtype=np.int64), (50_000, 100))
    displaced, inserted = _indels(source, 2e-4, 5e-4, np.random.default_rng(0))
    assert inserted.shape[1] == pytest.approx(1000, abs=5 * np.sqrt(1000))
    is_inserted = np.zeros(source.shape, bool)
    is_inserted[inserted[0], inserted[1]] = True
    # Bases skipped over the whole read, but for insertions, which hold the template back.
    deleted = displaced[:, -1] - 99 + is_inserted[:, :-1].sum(axis=1)
    assert deleted.min() >= 0
    assert deleted.sum() == pytest.approx(2500, abs=5 * np.sqrt(2500))


def test_n_is_read_as_n_of_low_quality_and_reads_mostly_n_are_left_out() -> None:
    sequence = np.full(6000, ord("A"), np.uint8)
    sequence[2000:4000] = ord("N")
    _, mates = run(sequence, 40)
    for mate in mates:
        unknown = mate.bases == ord("N")
        assert unknown.any()
        assert (mate.qualities[unknown] == 2).all()
        assert unknown.mean(axis=1).max() < 0.5


def test_a_large_region_is_simulated_in_chunks_of_bounded_size() -> None:
    sequence = np.full(100_000, ord("C"), np.uint8)
    chunks = simulate(sequence, 40, params(), np.random.default_rng(0))
    sizes = [fragments.start.size for fragments, _ in chunks]
    assert sizes == [CHUNK, CHUNK, 40_000 - 2 * CHUNK]
