"""What is asked of the Hamming distances between all haplotypes of two panels.

Haplotypes come bit-packed, see `haplobench.data.distances`; nothing of size (n, m) is ever held.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haplobench.data.distances import four_rows
from haplobench.kernels import compiled


@compiled
def _nearest(a: Any, columns: Any) -> Any:
    n, m = a.shape[0], columns.shape[1]
    distances = np.empty((4, m), np.int64)
    best = np.empty(n, np.int64)
    for first in range(0, n, 4):
        four_rows(a, first, columns, distances, 0)
        for r in range(min(4, n - first)):
            best[first + r] = distances[r].min()
    return best


@compiled
def _between(left_a: Any, right_a: Any, left_b: Any, right_b: Any, ploidy: int) -> Any:
    n, m = left_a.shape[0], left_b.shape[1]
    left, right = np.empty((2, 4, m), np.int64)
    of_rows = np.empty((4, n), np.int64)
    of_columns = np.full((3, m), 64 * (left_a.shape[1] + right_a.shape[1]) + 1, np.int64)
    nearest_of, next_of, owner_of = of_columns[0], of_columns[1], of_columns[2]
    owner_of[:] = -1
    for first in range(0, n, 4):
        four_rows(left_a, first, left_b, left, 0)
        four_rows(right_a, first, right_b, right, 0)
        for r in range(min(4, n - first)):
            one, other = left[r], right[r]
            least, least_other = one.min(), other.min()
            owner = (first + r) // ploidy
            nearest, both, ties, other_ties = one[0] + other[0], 0, 0, 0
            for j in range(m):
                whole = one[j] + other[j]
                nearest = min(nearest, whole)
                # The next is another owner's: the larger of what was nearest and what comes.
                candidate = min(next_of[j], max(nearest_of[j], whole))
                next_of[j] = next_of[j] if owner_of[j] == owner else candidate
                owner_of[j] = owner if whole < nearest_of[j] else owner_of[j]
                nearest_of[j] = min(nearest_of[j], whole)
                ties += one[j] == least
                other_ties += other[j] == least_other
                both += (one[j] == least) & (other[j] == least_other)
            of_rows[0, first + r] = nearest
            of_rows[1, first + r] = both
            of_rows[2, first + r] = ties
            of_rows[3, first + r] = other_ties
    return of_rows, of_columns


@compiled
def _counts(a: Any, columns: Any, thresholds: Any, within: bool) -> Any:
    n, m = a.shape[0], columns.shape[1]
    distances = np.empty((4, m), np.int64)
    counts = np.zeros((2, n), np.int64)
    for first in range(0, n, 4):
        four_rows(a, first, columns, distances, 0)
        for r in range(min(4, n - first)):
            i = first + r
            if within:
                distances[r, i] = 64 * a.shape[1] + 1
            row = distances[r]
            threshold = thresholds[i]
            below, equal = 0, 0
            for j in range(m):
                below += row[j] < threshold
                equal += row[j] == threshold
            counts[0, i] = below
            counts[1, i] = below + equal
    return counts


@compiled
def _counts_between(a: Any, columns: Any, of_rows: Any, of_columns: Any) -> Any:
    n, m = a.shape[0], columns.shape[1]
    distances = np.empty((4, m), np.int64)
    rows, others = np.zeros((2, n), np.int64), np.zeros((2, m), np.int64)
    below_of, within_of = others[0], others[1]
    for first in range(0, n, 4):
        four_rows(a, first, columns, distances, 0)
        for r in range(min(4, n - first)):
            row, threshold = distances[r], of_rows[first + r]
            below, within = 0, 0
            for j in range(m):
                below += row[j] < threshold
                within += row[j] <= threshold
                below_of[j] += row[j] < of_columns[j]
                within_of[j] += row[j] <= of_columns[j]
            rows[0, first + r] = below
            rows[1, first + r] = within
    return rows, others


@compiled
def _expected_nearest(a: Any, columns: Any, absent: Any) -> Any:
    n, m = a.shape[0], columns.shape[1]
    distances = np.empty((4, m), np.int64)
    histogram = np.zeros(64 * a.shape[1] + 1, np.int64)
    expected = np.zeros(n)
    for first in range(0, n, 4):
        four_rows(a, first, columns, distances, 0)
        for r in range(min(4, n - first)):
            histogram[:] = 0
            for j in range(m):
                histogram[distances[r, j]] += 1
            # E[D] = sum over d >= 0 of P(D > d), and D > d where none within d is drawn.
            seen, d, total = histogram[0], 0, 0.0
            while absent[seen] > 1e-12:
                total += absent[seen]
                d += 1
                seen += histogram[d]
            expected[first + r] = total
    return expected


@dataclass(frozen=True, eq=False)
class Between:
    """Nearest rows of two sets, whole and in two halves of their sites.

    Attributes
    ----------
    nearest : (n,) int64
        Distance of each row of the first set to the nearest of the second, in sites.
    linked : (n,) int64
        Rows of the second set that are nearest (ties together) by the first half of the sites
        and by the second half.
    halves : (2, n) int64
        Rows of the second set that are nearest by each half alone.
    of_others : (m,) int64
        Distance of each row of the second set to the nearest of the first.
    next_of_others : (m,) int64
        The same to the nearest of another person of the first set; more than all sites where
        there is none.
    owner : (m,) int64
        Whose the nearest is: rows `ploidy` * i and following are person i.
    """

    nearest: NDArray[np.int64]
    linked: NDArray[np.int64]
    halves: NDArray[np.int64]
    of_others: NDArray[np.int64]
    next_of_others: NDArray[np.int64]
    owner: NDArray[np.int64]

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(array.nbytes for array in vars(self).values())


def between(a: NDArray[np.uint64], b: NDArray[np.uint64], ploidy: int) -> Between:
    """Compare every row of `a` with every row of `b`, once for all that is asked of them.

    The first half are the first words // 2 words (64 sites each); a person of `a` has `ploidy`
    rows.
    """
    middle = a.shape[1] // 2
    left, right = (np.ascontiguousarray(part) for part in (a[:, :middle], a[:, middle:]))
    others = [np.ascontiguousarray(part.T) for part in (b[:, :middle], b[:, middle:])]
    of_rows, of_columns = _between(left, right, others[0], others[1], ploidy)
    return Between(of_rows[0], of_rows[1], of_rows[2:], *of_columns)


@compiled
def _block(a: Any, columns: Any, first: int, n: int) -> Any:
    out = np.empty((n, columns.shape[1]), np.int64)
    distances = np.empty((4, columns.shape[1]), np.int64)
    for low in range(0, n, 4):
        four_rows(a, first + low, columns, distances, 0)
        high = min(4, n - low)
        out[low : low + high] = distances[:high]
    return out


def block(
    a: NDArray[np.uint64], columns: NDArray[np.uint64], first: int, n: int
) -> NDArray[np.int64]:
    """Distances of rows `first` to `first + n` - 1 of `a` to all columns: (n, m) int64.

    `columns` (n_words, m) is the other panel transposed, contiguous.
    """
    return np.asarray(_block(a, columns, first, n))


def keys(rows: NDArray[np.uint64]) -> NDArray[np.void]:
    """Packed haplotypes as one value each: equal where they are."""
    rows = np.ascontiguousarray(rows)
    return rows.view(np.dtype((np.void, rows.shape[1] * rows.itemsize))).ravel()


def nearest(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Hamming distance of each row of `a` to the nearest row of `b`: (n,) int64, in sites."""
    return np.asarray(_nearest(a, np.ascontiguousarray(b.T)))


def counts_within(
    a: NDArray[np.uint64],
    b: NDArray[np.uint64] | None,
    thresholds: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Rows of `b` nearer than, and at most as far as, a threshold per row: (2, n) int64.

    `b` None: the other rows of `a`.
    """
    columns = np.ascontiguousarray((a if b is None else b).T)
    return np.asarray(_counts(a, columns, np.ascontiguousarray(thresholds, np.int64), b is None))


def counts_between(
    a: NDArray[np.uint64],
    b: NDArray[np.uint64],
    of_a: NDArray[np.int64],
    of_b: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """As `counts_within`, of rows of `a` among `b` and of rows of `b` among `a`, in one pass."""
    rows, others = _counts_between(a, np.ascontiguousarray(b.T), of_a, of_b)
    return np.asarray(rows), np.asarray(others)


def expected_nearest(
    a: NDArray[np.uint64], b: NDArray[np.uint64], size: int
) -> NDArray[np.float64]:
    """Expected distance to the nearest of `size` rows of `b` drawn without replacement.

    Exact over all subsets: (n,) float64, in sites. With `size` all of `b`, `nearest`.
    """
    return np.asarray(
        _expected_nearest(a, np.ascontiguousarray(b.T), absence(b.shape[0], size)), np.float64
    )


def absence(total: int, drawn: int) -> NDArray[np.float64]:
    """P(none of k marked rows among `drawn` of `total`), k = 0..total: (total + 1,) float64.

    C(total - k, drawn) / C(total, drawn), the hypergeometric probability of no success.
    """
    k = np.arange(total, dtype=np.float64)
    factors = np.maximum(total - k - drawn, 0) / (total - k)
    return np.concatenate([[1.0], np.cumprod(factors)])
