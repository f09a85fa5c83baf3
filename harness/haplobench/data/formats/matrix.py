"""Haplotype matrix grown site by site, on disk where it outgrows memory."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haplobench.data.bits import Bits, pack_bits

IN_MEMORY_BYTES = 1 << 28
_TILE_SITES = 4096
_ROW_BLOCK_BYTES = 1 << 26
_SQUARE = 256


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
    result is a read-only `numpy.memmap`; no more than about 200 MiB are held meanwhile. If it
    is known beforehand that there are `at_most` so many sites, tiles go where they will stay: as
    bits, until an allele is missing.
    """

    def __init__(
        self, n_haplotypes: int, scratch: Path | None = None, at_most: int | None = None
    ) -> None:
        self._n = n_haplotypes
        self._scratch = scratch
        self._tiles: list[NDArray[np.int8] | _Spilled] = []
        self._file: Path | None = None
        self._whole: Path | None = None
        self._packed = False
        self._at_most = at_most or 0
        if scratch is not None and at_most is not None and n_haplotypes * at_most > IN_MEMORY_BYTES:
            self._whole = self._new_file(scratch, ".npy")
            self._packed = True
            shape = (n_haplotypes, -(-at_most // 64))
            np.lib.format.open_memmap(self._whole, "w+", np.uint64, shape)
        self._pending = np.empty((_TILE_SITES, n_haplotypes), np.int8)
        self._filled = self._placed = 0
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

    def finish(self, keep: NDArray[np.bool_] | None = None) -> NDArray[np.int8] | Bits:
        """The matrix, (n_haplotypes, n_sites) int8, of the sites that `keep` marks (or of all).

        As bits where they went into their place so.
        """
        self._flush()
        if self._whole is not None and self._packed:
            bits = Bits(np.load(self._whole, mmap_mode="r"), self._at_most)
            chosen = np.arange(self.n_sites) if keep is None else np.flatnonzero(keep)
            return bits if chosen.size == self._at_most else bits.columns(chosen)
        if self._whole is not None:
            whole: NDArray[np.int8] = np.load(self._whole, mmap_mode="r")
            if whole.shape[1] == self.n_sites and (keep is None or keep.all()):
                return whole
            self._tiles, self._file = [whole[:, : self.n_sites]], self._whole
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
        path = self._file.with_suffix(".kept.npy")
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
        widths = [
            tile.n_sites if isinstance(tile, _Spilled) else tile.shape[1] for tile in self._tiles
        ]
        marks = np.split(keep, np.cumsum(widths)[:-1]) if widths else []
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
        if self._whole is not None:
            if self._packed and (self._pending[: self._filled] < 0).any():
                self._unpack(self._whole)
            self._place(self._whole)
        else:
            tile = np.empty((self._n, self._filled), np.int8)
            for low, band in self._bands():
                tile[low : low + band.shape[0]] = band
            self._tiles.append(tile)
        self._placed += self._filled
        self._filled = 0
        if self._scratch is None or self._whole is not None:
            return
        if self._file is None:
            if self.n_sites * self._n <= IN_MEMORY_BYTES:
                return
            self._file = self._new_file(self._scratch, ".raw")
        self._tiles = [self._spill(tile, self._file) for tile in self._tiles]

    def _bands(self) -> Iterator[tuple[int, NDArray[np.int8]]]:
        """Yield (first haplotype, some haplotypes' pending sites), which the next one overwrites.

        They are transposed square by square: half the time of all at once.
        """
        pending = self._pending[: self._filled]
        band = np.empty((_SQUARE, self._filled), np.int8)
        for low in range(0, self._n, _SQUARE):
            rows = band[: min(_SQUARE, self._n - low)]
            for site in range(0, self._filled, _SQUARE):
                square = pending[site : site + _SQUARE, low : low + _SQUARE]
                rows[:, site : site + _SQUARE] = square.T
            yield low, rows

    def _place(self, path: Path) -> None:
        """Write the pending sites where they will stay.

        Not through a mapping: a disk that is full would end the process there.
        """
        whole = np.load(path, mmap_mode="r")
        width = whole.shape[1] * whole.itemsize
        column = self._placed // 8 if self._packed else self._placed
        with path.open("r+b", buffering=0) as file:
            for low, band in self._bands():
                rows: NDArray[Any] = pack_bits(band) if self._packed else band
                for row, sites in enumerate(rows, low):
                    offset = whole.offset + row * width + column
                    if os.pwrite(file.fileno(), memoryview(sites), offset) < sites.nbytes:
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    def _unpack(self, path: Path) -> None:
        """A byte an allele from now on, in another file: some are missing."""
        bits = Bits(np.load(path, mmap_mode="r"), self._at_most)
        self._whole, self._packed = self._new_file(path.parent, ".npy"), False
        whole = np.lib.format.open_memmap(self._whole, "w+", np.int8, bits.shape)
        offset, n_sites = whole.offset, whole.shape[1]
        del whole
        with self._whole.open("r+b", buffering=0) as file:
            for low in range(0, self._n, _SQUARE) if self._placed else ():
                rows = bits.unpacked(slice(low, low + _SQUARE), slice(0, self._placed))
                for row, sites in enumerate(rows, low):
                    place = offset + row * n_sites
                    if os.pwrite(file.fileno(), memoryview(sites), place) < sites.size:
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._whole))
        path.unlink()

    @staticmethod
    def _new_file(folder: Path, suffix: str) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix="haplotypes-", suffix=suffix, dir=folder)
        os.close(handle)
        return Path(name)

    @staticmethod
    def _spill(tile: NDArray[np.int8] | _Spilled, path: Path) -> _Spilled:
        if isinstance(tile, _Spilled):
            return tile
        with path.open("ab") as handle:
            spilled = _Spilled(path, handle.tell(), tile.shape[1])
            tile.tofile(handle)
        return spilled
