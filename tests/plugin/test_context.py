"""RunContext and SampleRequest: randomness keyed by what, not by who."""

from __future__ import annotations

from pathlib import Path

import hypothesis.strategies as st
import numpy as np
from hypothesis import given

from haplobench import RunContext, SampleRequest


def context(seed: int = 1) -> RunContext:
    return RunContext(seed=seed, artifacts=Path("a"), scratch=Path("s"))


def test_a_key_and_a_seed_decide_the_draws() -> None:
    assert np.array_equal(context().rng("fit", 1).random(5), context().rng("fit", 1).random(5))
    seeds = {
        context(1).seed_for("fit"),
        context(2).seed_for("fit"),
        context(1).seed_for("sample"),
        context(1).seed_for("sample", 1),
        context(1).seed_for("sample", "1"),
        context(1).seed_for("sample1"),
    }
    assert len(seeds) == 6
    assert all(0 <= seed < 2**63 for seed in seeds)


@given(st.integers(0, 700), st.integers(1, 700), st.integers(1, 300))
def test_blocks_tile_a_request_once_in_order(start: int, n: int, size: int) -> None:
    request = SampleRequest(n_haplotypes=n, start=start)
    seen = []
    filled = []
    for block, within, rows in request.blocks(size):
        assert 0 <= within.start < within.stop <= size
        assert within.stop - within.start == rows.stop - rows.start
        seen += list(range(block * size + within.start, block * size + within.stop))
        filled += list(range(rows.start, rows.stop))
    assert seen == list(range(start, start + n))
    assert filled == list(range(n))


@given(st.integers(0, 700), st.integers(1, 700), st.integers(1, 300))
def test_batches_hold_the_haplotypes_asked_for(start: int, n: int, batch: int) -> None:
    request = SampleRequest(n_haplotypes=n, start=start, batch_size=batch)
    everything = np.arange(1536, dtype=np.int16)[:, None]
    batches = list(request.batches(lambda block: everything[block * 256 : (block + 1) * 256]))
    assert max(map(len, batches)) <= batch
    assert np.concatenate(batches)[:, 0].tolist() == list(range(start, start + n))
