"""Haplotypes as bits, an eighth of their size: rows of 64-bit words, cut and turned in blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PACKED_FROM = 1 << 26
_BLOCK_BYTES = 1 << 25
_WORD = 64


@dataclass(frozen=True, eq=False)
class Bits:
    """A matrix of 0 and 1 as bits.

    Attributes
    ----------
    words : (n_rows, ceil(n_columns / 64)) uint64
        Little-endian: column c is bit c % 64 of word c // 64. Bits past the last column are 0. May
        be mapped from a file.
    n_columns : int
    """

    words: NDArray[np.uint64]
    n_columns: int

    @classmethod
    def of(cls, matrix: NDArray[np.int8]) -> Bits:
        """Pack a matrix (n_rows, n_columns) of 0 and 1."""
        words = np.empty((matrix.shape[0], -(-matrix.shape[1] // _WORD)), np.uint64)
        step = max(1, _BLOCK_BYTES // max(1, matrix.shape[1]))
        for low in range(0, matrix.shape[0], step):
            words[low : low + step] = pack_bits(matrix[low : low + step])
        return cls(words, matrix.shape[1])

    @property
    def shape(self) -> tuple[int, int]:
        """Of the matrix."""
        return self.words.shape[0], self.n_columns

    def unpacked(self, rows: Any = slice(None), columns: slice = slice(None)) -> NDArray[np.int8]:
        """The alleles (int8) of some rows, by slice or indices, at adjacent columns."""
        low, high, _ = columns.indices(self.n_columns)
        if high <= low:
            return np.empty((self.words[rows].shape[0], 0), np.int8)
        cut = np.ascontiguousarray(self.words[rows, low // _WORD : -(-high // _WORD)])
        first = low - low // _WORD * _WORD
        alleles = np.unpackbits(
            cut.astype("<u8", copy=False).view(np.uint8),
            axis=1,
            count=first + high - low,
            bitorder="little",
        )
        return np.ascontiguousarray(alleles[:, first:]).view(np.int8)

    def cut(self, rows: Any = slice(None), columns: slice = slice(None)) -> NDArray[np.uint64]:
        """Some rows, by slice or indices, at adjacent columns, as words: as `words` of these."""
        low, high, _ = columns.indices(self.n_columns)
        first, shift = divmod(low, _WORD)
        words = self.words[rows, first : -(-max(low, high) // _WORD)]
        n = max(0, high - low)
        if not shift and high == self.n_columns:
            return words
        out = words[:, : -(-n // _WORD)] >> np.uint64(shift)
        if shift:
            rest = words[:, 1 : 1 + out.shape[1]]
            out[:, : rest.shape[1]] |= rest << np.uint64(_WORD - shift)
        if n % _WORD:
            out[:, -1] &= np.uint64((1 << n % _WORD) - 1)
        return out

    def take(self, rows: NDArray[np.int64]) -> Bits:
        """Some rows, copied."""
        return Bits(np.ascontiguousarray(self.words[rows]), self.n_columns)

    def columns(self, chosen: NDArray[np.int64]) -> Bits:
        """Some columns, by increasing indices, copied."""
        words = np.empty((self.words.shape[0], -(-chosen.size // _WORD)), np.uint64)
        for low, block in self.blocks():
            some = np.take(block, chosen, axis=1)
            words[low : low + block.shape[0]] = pack_bits(some)
        return Bits(words, chosen.size)

    def blocks(self) -> Iterator[tuple[int, NDArray[np.int8]]]:
        """Yield (first row, rows of int8) in blocks of at most 32 MiB."""
        step = max(1, _BLOCK_BYTES // max(1, self.n_columns))
        for low in range(0, self.words.shape[0], step):
            yield low, self.unpacked(slice(low, low + step))

    def turned(self, columns: slice = slice(None)) -> NDArray[np.uint64]:
        """Some adjacent columns as rows: (n, ceil(n_rows / 64)) uint64, bits past the last 0."""
        low, high, _ = columns.indices(self.n_columns)
        n_words = -(-self.words.shape[0] // _WORD)
        if high <= low:
            return np.empty((0, n_words), np.uint64)
        first = low // _WORD
        # A copy, so that the kernel isn't compiled again for read-only memory maps.
        part = np.array(self.words[:, first : -(-high // _WORD)], order="C")
        out = np.zeros((part.shape[1] * _WORD, n_words), np.uint64)
        _kernels()[0](part, out)
        return out[low - first * _WORD : high - first * _WORD]

    def turned_blocks(self) -> Iterator[tuple[int, NDArray[np.uint64]]]:
        """Yield (first column, columns as rows) in blocks of at most 32 MiB."""
        words = -(-self.words.shape[0] // _WORD)
        step = max(1, _BLOCK_BYTES // (8 * _WORD * max(1, words))) * _WORD
        for low in range(0, self.n_columns, step):
            yield low, self.turned(slice(low, low + step))

    def counts(self) -> NDArray[np.int64]:
        """Ones by column: (n_columns,) int64."""
        total = np.empty(self.n_columns, np.int64)
        for low, block in self.turned_blocks():
            total[low : low + block.shape[0]] = np.bitwise_count(block).sum(axis=1, dtype=np.int64)
        return total


def kept_as_bits(n_haplotypes: int, n_sites: int) -> bool:
    """Whether a panel is so large that it is stored as bits, if none of its alleles is missing."""
    return n_haplotypes * n_sites >= _PACKED_FROM


def stored_bytes(n_haplotypes: int, n_sites: int) -> int:
    """Bytes that a panel without missing alleles takes on disk."""
    packed = kept_as_bits(n_haplotypes, n_sites)
    return n_haplotypes * (-(-n_sites // _WORD) * 8 if packed else n_sites)


def pack_bits(matrix: NDArray[np.int8]) -> NDArray[np.uint64]:
    """Pack 0/1 rows into little-endian 64-bit words: (rows, ceil(columns / 64)) uint64."""
    packed = np.packbits(matrix.view(np.uint8), axis=1, bitorder="little")
    words = np.zeros((matrix.shape[0], -(-matrix.shape[1] // _WORD) * 8), np.uint8)
    words[:, : packed.shape[1]] = packed
    return words.view("<u8").astype(np.uint64, copy=False)


@cache
def _kernels() -> tuple[Any]:
    """Compiled when a matrix is first turned: panels themselves need no numba."""
    from haplobench.kernels import compiled

    return (compiled(_turn),)


def _turn(words: NDArray[np.uint64], out: NDArray[np.uint64]) -> None:
    """Transpose 64 by 64 bits at a time (Warren, Hacker's Delight, 7-3) into zeroed `out`."""
    n, n_words = words.shape
    square = np.empty(64, np.uint64)
    for row in range(0, n, 64):
        height = min(64, n - row)
        for word in range(n_words):
            for i in range(height):
                square[i] = words[row + i, word]
            for i in range(height, 64):
                square[i] = np.uint64(0)
            width = 32
            mask = np.uint64(0x00000000FFFFFFFF)
            while width:
                shift = np.uint64(width)
                for start in range(0, 64, 2 * width):
                    for i in range(start, start + width):
                        change = ((square[i] >> shift) ^ square[i + width]) & mask
                        square[i] ^= change << shift
                        square[i + width] ^= change
                width >>= 1
                mask ^= mask << np.uint64(max(width, 1))
            for i in range(64):
                out[word * 64 + i, row // 64] = square[i]
