"""Haplotype matrix grown site by site, on disk where it outgrows memory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

IN_MEMORY_BYTES = 1 << 28
_TILE_SITES = 4096
_ROW_BLOCK_BYTES = 1 << 26


@dataclass(frozen=True)
class _Spilled:
    """A tile in a file: (n_haplotypes, n_sites) int8 from `offset` on."""

    path: Path
    offset: int
    n_sites: int

    def rows(self, low: int, high: int) -> NDArray[np.int8]:
        """Read some of its rows: they lie together."""
        count = (high - low) * self.n_sites
        flat = np.fromfile(self.path, np.int8, count, offset=self.offset + low * self.n_sites)
        return flat.reshape(high - low, self.n_sites)


class HaplotypeMatrix:
    """Turns blocks of sites into an (n_haplotypes, n_sites) int8 matrix.

    Sites come in blocks of (n, n_haplotypes); tiles of some thousand sites are transposed
    at once. With a `scratch` folder, a matrix past 256 MiB is kept in files there, and the
    result is a read-only `numpy.memmap`; no more than about 200 MiB are held meanwhile.
    """

    def __init__(self, n_haplotypes: int, scratch: Path | None = None) -> None:
        self._n = n_haplotypes
        self._scratch = scratch
        self._tiles: list[NDArray[np.int8] | _Spilled] = []
        self._file: Path | None = None
        self._pending = np.empty((_TILE_SITES, n_haplotypes), np.int8)
        self._filled = 0
        self.n_sites = 0

    def append(self, sites: NDArray[np.int8]) -> None:
        """Add sites: (n, n_haplotypes) int8."""
        self.n_sites += sites.shape[0]
        while sites.shape[0]:
            room = min(_TILE_SITES - self._filled, sites.shape[0])
            self._pending[self._filled : self._filled + room] = sites[:room]
            self._filled += room
            sites = sites[room:]
            if self._filled == _TILE_SITES:
                self._flush()

    def finish(self, keep: NDArray[np.bool_] | None = None) -> NDArray[np.int8]:
        """The matrix, (n_haplotypes, n_sites) int8, of the sites that `keep` marks (or of all)."""
        self._flush()
        if keep is None:
            keep = np.ones(self.n_sites, np.bool_)
        shape = (self._n, int(keep.sum()))
        blocks = self._row_blocks(keep, shape[1])
        if self._file is None:
            matrix = np.empty(shape, np.int8)
            for row, block in blocks:
                matrix[row : row + block.shape[0]] = block
            self._tiles.clear()
            return matrix
        path = self._file.with_suffix(".npy")
        with path.open("wb") as out:
            head = {"descr": "|i1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(out, head)
            for _, block in blocks:
                block.tofile(out)
        self._tiles.clear()
        self._file.unlink()
        opened: NDArray[np.int8] = np.load(path, mmap_mode="r")
        return opened

    def _row_blocks(
        self, keep: NDArray[np.bool_], total: int
    ) -> Iterator[tuple[int, NDArray[np.int8]]]:
        """Yield (first row, rows) of the whole matrix, gathered from all tiles."""
        marks = [keep[start : start + _TILE_SITES] for start in range(0, keep.size, _TILE_SITES)]
        step = max(1, _ROW_BLOCK_BYTES // max(1, total))
        for low in range(0, self._n, step):
            high = min(self._n, low + step)
            block = np.empty((high - low, total), np.int8)
            column = 0
            for tile, mark in zip(self._tiles, marks, strict=True):
                kept = tile.rows(low, high) if isinstance(tile, _Spilled) else tile[low:high]
                if not mark.all():
                    kept = kept[:, mark]
                block[:, column : column + kept.shape[1]] = kept
                column += kept.shape[1]
            yield low, block

    def _flush(self) -> None:
        if not self._filled:
            return
        # A copy always: of one haplotype the transpose is contiguous as it is.
        self._tiles.append(np.array(self._pending[: self._filled].T, order="C"))
        self._filled = 0
        if self._scratch is None:
            return
        if self._file is None:
            if self.n_sites * self._n <= IN_MEMORY_BYTES:
                return
            self._scratch.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix="haplotypes-", suffix=".raw", dir=self._scratch)
            os.close(handle)
            self._file = Path(name)
        self._tiles = [self._spill(tile, self._file) for tile in self._tiles]

    @staticmethod
    def _spill(tile: NDArray[np.int8] | _Spilled, path: Path) -> _Spilled:
        if isinstance(tile, _Spilled):
            return tile
        with path.open("ab") as handle:
            spilled = _Spilled(path, handle.tell(), tile.shape[1])
            tile.tofile(handle)
        return spilled
