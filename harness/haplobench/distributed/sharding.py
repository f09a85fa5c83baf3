"""Who does what: contiguous shards of a batch, of windows, of haplotypes, by rank.

A shard depends on rank and world size, the union never does. So with the global batch fixed
and randomness keyed by sample, the result is the same whatever the world size, up to the
order in which floating-point sums are taken.
"""

from __future__ import annotations


def shard(n: int, rank: int, size: int, *, align: int = 1) -> slice:
    """A rank's contiguous part of `n` things; parts differ by at most `align`.

    Parts begin at multiples of `align` (of a block of randomness, or of the ploidy), which the
    last block may not fill. A part is empty where there are fewer blocks than ranks.

    >>> [shard(10, rank, 3) for rank in range(3)]
    [slice(0, 4, None), slice(4, 7, None), slice(7, 10, None)]
    """
    if not 0 <= rank < size:
        raise ValueError(f"rank is {rank}, expected 0 to {size - 1}")
    blocks = -(-n // align)
    each, more = divmod(blocks, size)
    first = rank * each + min(rank, more)
    last = first + each + (rank < more)
    return slice(min(n, first * align), min(n, last * align))


def batch_parts(n: int, rank: int, size: int, accumulate: int = 1) -> list[tuple[slice, float]]:
    """A rank's micro-batches of a global batch of `n` rows: slices of it, and each one's share.

    Shares (rows over `n`) sum to 1 over all ranks and micro-batches, so that the sum of
    share x mean loss is the mean over the global batch, however unequal the parts. Every rank
    gets exactly `accumulate` of them, since all must take part in communication: where there
    are fewer rows than parts, some get a row of the batch with share 0.
    """
    if n < 1:
        raise ValueError(f"a batch has {n} rows, expected at least one")
    own = shard(n, rank, size)
    parts = []
    for i in range(accumulate):
        inner = shard(own.stop - own.start, i, accumulate)
        rows = slice(own.start + inner.start, own.start + inner.stop)
        share = (rows.stop - rows.start) / n
        if share == 0.0:
            at = min(own.start, n - 1)
            rows = slice(at, at + 1)
        parts.append((rows, share))
    return parts
