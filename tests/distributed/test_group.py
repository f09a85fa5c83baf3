"""Shards: together everything once, in order, as even as can be; shares of a batch."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haplobench.distributed import batch_part, shard


@given(n=st.integers(0, 500), size=st.integers(1, 9), align=st.integers(1, 40))
def test_shards_are_everything_once_in_order(n: int, size: int, align: int) -> None:
    parts = [shard(n, rank, size, align=align) for rank in range(size)]
    assert [i for part in parts for i in range(n)[part]] == list(range(n))
    assert all(part.start % align == 0 or part.start == n for part in parts)
    blocks = [-(-(part.stop - part.start) // align) for part in parts]
    assert max(blocks) - min(blocks) <= 1


@given(n=st.integers(1, 200), size=st.integers(1, 9))
def test_shares_sum_to_one_and_weigh_rows_alike(n: int, size: int) -> None:
    parts = [batch_part(n, rank, size) for rank in range(size)]
    assert sum(share for _, share in parts) == pytest.approx(1.0)
    seen = []
    for rows, share in parts:
        assert rows.stop > rows.start
        if share:
            assert share == (rows.stop - rows.start) / n
            seen += list(range(n)[rows])
    assert seen == list(range(n))


def test_a_rank_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="rank is 3, expected 0 to 2"):
        shard(10, 3, 3)
    with pytest.raises(ValueError, match="at least one"):
        batch_part(0, 0, 1)
