"""Haplotype matrix grown site by site, on disk where it outgrows memory."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

IN_MEMORY_BYTES = 1 << 28
_TILE_SITES = 4096
_ROW_BLOCK_BYTES = 1 << 26


class HaplotypeMatrix:
    """Turns blocks of sites into an (n_haplotypes, n_sites) int8 matrix.

    Sites come in blocks of (n, n_haplotypes); tiles of some thousand sites are transposed
    at once. With a `scratch` folder, a matrix past 256 MiB is kept in files there, and the
    result is a read-only `numpy.memmap`.
    """

    def __init__(self, n_haplotypes: int, scratch: Path | None = None) -> None:
        self._n = n_haplotypes
        self._scratch = scratch
        self._tiles: list[NDArray[np.int8]] = []
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
        total = int(keep.sum())
        marks = [keep[start : start + _TILE_SITES] for start in range(0, self.n_sites, _TILE_SITES)]
        if self._file is None:
            matrix = np.empty((self._n, total), np.int8)
            self._gather(matrix, marks)
            self._tiles.clear()
            return matrix
        path = self._file.with_suffix(".npy")
        mapped = np.lib.format.open_memmap(path, "w+", np.int8, (self._n, total))
        self._gather(mapped, marks)
        mapped.flush()
        del mapped
        self._tiles.clear()
        self._file.unlink()
        opened: NDArray[np.int8] = np.load(path, mmap_mode="r")
        return opened

    def _gather(self, matrix: NDArray[np.int8], marks: list[NDArray[np.bool_]]) -> None:
        step = max(1, _ROW_BLOCK_BYTES // max(1, matrix.shape[1]))
        for row in range(0, self._n, step):
            column = 0
            for tile, mark in zip(self._tiles, marks, strict=True):
                kept = tile[row : row + step]
                if not mark.all():
                    kept = kept[:, mark]
                matrix[row : row + step, column : column + kept.shape[1]] = kept
                column += kept.shape[1]

    def _flush(self) -> None:
        if not self._filled:
            return
        # A copy always: of one haplotype the transpose is contiguous as it is.
        tile = np.array(self._pending[: self._filled].T, order="C")
        self._filled = 0
        self._tiles.append(tile)
        if self._scratch is None or (
            self._file is None and self.n_sites * self._n <= IN_MEMORY_BYTES
        ):
            return
        if self._file is None:
            self._scratch.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix="haplotypes-", suffix=".raw", dir=self._scratch)
            open(handle, "wb").close()
            self._file = Path(name)
        self._tiles = [self._spilled(tile) for tile in self._tiles]

    def _spilled(self, tile: NDArray[np.int8]) -> NDArray[np.int8]:
        assert self._file is not None
        if isinstance(tile, np.memmap):
            return tile
        with self._file.open("ab") as handle:
            offset = handle.tell()
            tile.tofile(handle)
        return np.memmap(self._file, np.int8, "r", offset, tile.shape)
