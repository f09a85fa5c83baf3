"""BGZF blocks and tabix indices: SAM/BAM and tabix format specifications (samtools.github.io)."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from haplobench.errors import FormatError

MAX_BLOCK = 1 << 16
_BINS = 37449
_DEEPEST = 10  # levels below the coarsest: the numbers of their bins fit 32 bits
_BLOCK_MAGIC = b"\x1f\x8b\x08\x04"
# Bins of the levels, coarsest first: 1 of 512 Mb, 8 of 64 Mb, … 32,768 of 16 kb.
_LEVELS = tuple((((1 << 3 * level) - 1) // 7, 1 << (29 - 3 * level)) for level in range(6))


@dataclass(frozen=True)
class Offset:
    """Where a record starts: file offset of its block, and offset in the block's text."""

    block: int
    within: int

    @classmethod
    def of(cls, virtual: int) -> Offset:
        """From the 64-bit virtual offset of an index."""
        return cls(virtual >> 16, virtual & 0xFFFF)


@dataclass(frozen=True)
class Tabix:
    """A tabix index: where the records of each contig lie.

    Attributes
    ----------
    contigs : tuple of str
    first : Offset
        Of the first record in the file: the header ends there.
    chunks : dict
        By contig: (bin, virtual begin, virtual end) of each chunk. A bin holds records that
        lie wholly in its stretch of the contig.
    """

    contigs: tuple[str, ...]
    first: Offset
    chunks: dict[str, list[tuple[int, int, int]]]

    @classmethod
    def read(cls, path: Path) -> Tabix:
        """Read a `.tbi` file; raises FormatError if it isn't a whole one."""
        try:
            data = gzip.decompress(path.read_bytes())
            return cls.parse(data)
        except (OSError, EOFError, zlib.error, struct.error, ValueError) as error:
            raise FormatError(f"{path}: not a whole tabix index: {error}") from None

    @classmethod
    def parse(cls, data: bytes) -> Tabix:
        """From a `.tbi` file's text; raises ValueError or struct.error if it isn't a whole one."""
        magic, n_contigs = struct.unpack_from("<4si", data)
        if magic != b"TBI\x01":
            raise ValueError(f"starts with {magic!r}")
        length = _count(data, 32, 1)
        place = 36
        contigs = tuple(data[place : place + length].decode().rstrip("\0").split("\0"))
        if len(contigs) != n_contigs:
            raise ValueError(f"names {len(contigs)} contigs, expected {n_contigs}")
        place += length
        chunks: dict[str, list[tuple[int, int, int]]] = {}
        for contig in contigs:
            mine = chunks.setdefault(contig, [])
            n_bins = _count(data, place, 8)
            place += 4
            for _ in range(n_bins):
                (number,) = struct.unpack_from("<I", data, place)
                n_chunks = _count(data, place + 4, 16)
                place += 8
                for _ in range(n_chunks):
                    begin, end = struct.unpack_from("<QQ", data, place)
                    place += 16
                    if number < _BINS:  # past them: counts, not places
                        mine.append((number, begin, end))
            place += 4 + 8 * _count(data, place, 8)
        begins = [begin for mine in chunks.values() for _, begin, _ in mine]
        if not begins:
            raise ValueError("no records")
        return cls(contigs, Offset.of(min(begins)), chunks)

    def span(self, contig: str, start: int, end: int | None) -> tuple[Offset, Offset] | None:
        """Where all records with positions in `start` to `end` (bp, 1-based) lie; None if nowhere.

        Records are sorted: those from `start` on come after the last record of any bin that
        ends before it, those up to `end` before the first record of any bin that starts
        after it. Records that lie in wider bins between are caught with them.
        """
        mine = self.chunks.get(contig, [])
        if not mine:
            return None
        begin, stop = min(each[1] for each in mine), max(each[2] for each in mine)
        for number, chunk_begin, chunk_end in mine:
            bin_start, bin_end = _stretch(number)
            if bin_end < start:
                begin = max(begin, chunk_end)
            elif end is not None and bin_start > end:
                stop = min(stop, chunk_begin)
        return None if begin >= stop else (Offset.of(begin), Offset.of(stop))


def _count(data: bytes, place: int, size: int) -> int:
    """The int32 at a place, which counts items of `size` bytes or more that come after it.

    Raises ValueError, or struct.error, if there isn't room for them: htslib would ask for the
    memory first.
    """
    (n,) = struct.unpack_from("<i", data, place)
    room = (len(data) - place - 4) // size
    if not 0 <= n <= room:
        raise ValueError(f"counts {n} items at byte {place}, where there is room for {room}")
    return int(n)


def check_index(path: Path, index: Path) -> None:
    """Raise FormatError unless a tabix or CSI index is of this BGZF file, and of all of it.

    By its content, since copies lose times: every place that it names (256 of them, where
    there are more) is the start of a block, and no record comes after its last.
    """
    with path.open("rb") as handle:
        if handle.read(4) != _BLOCK_MAGIC:
            return
    offsets = index_offsets(index)
    if not offsets:
        return
    begins = sorted({begin >> 16 for begin, _ in offsets})
    begins = begins[:: max(1, len(begins) // 256)]
    last = Offset.of(max(end for _, end in offsets))
    with path.open("rb") as handle:
        wrong = any(_block_at(handle, begin) is None for begin in begins)
        wrong |= last.block > path.stat().st_size
        block = last.block
        within = last.within
        while not wrong and (found := _block_at(handle, block)) is not None:
            size, length = found
            wrong = length > within
            block, within = block + size, 0
        wrong |= block < path.stat().st_size
    if wrong:
        raise FormatError(
            f"{index}: isn't the index of {path.name} as it is now, but of an earlier or a shorter "
            "one",
            hint=f"bcftools index -f {path.name} makes it anew",
        )


def _block_at(handle: BinaryIO, offset: int) -> tuple[int, int] | None:
    """Sizes of a BGZF block, compressed and not; None if there is none at the offset."""
    handle.seek(offset)
    head = handle.read(18)
    if len(head) < 18 or head[:4] != _BLOCK_MAGIC or head[12:14] != b"BC":
        return None
    size = struct.unpack_from("<H", head, 16)[0] + 1
    handle.seek(offset + size - 4)
    tail = handle.read(4)
    return (size, struct.unpack("<I", tail)[0]) if len(tail) == 4 else None


def index_offsets(path: Path) -> list[tuple[int, int]]:
    """Virtual begin and end of every chunk of a `.tbi` or `.csi` file.

    Raises FormatError if it isn't a whole one.
    """
    try:
        data = gzip.decompress(path.read_bytes())
        if data[:4] == b"TBI\x01":
            chunks = Tabix.parse(data).chunks.values()
            return [(begin, end) for mine in chunks for _, begin, end in mine]
        if data[:4] != b"CSI\x01":
            raise ValueError(f"starts with {data[:4]!r}")
        (depth,) = struct.unpack_from("<i", data, 8)
        if not 0 <= depth <= _DEEPEST:
            raise ValueError(f"has bins of {depth} levels")
        places = ((1 << 3 * (depth + 1)) - 1) // 7  # bins past them hold counts
        at = 16 + _count(data, 12, 1)
        n_contigs = _count(data, at, 4)
        at += 4
        offsets: list[tuple[int, int]] = []
        for _ in range(n_contigs):
            n_bins = _count(data, at, 16)
            at += 4
            for _ in range(n_bins):
                (number,) = struct.unpack_from("<I", data, at)
                n_chunks = _count(data, at + 12, 16)
                at += 16
                if number < places:
                    offsets += struct.iter_unpack("<QQ", data[at : at + 16 * n_chunks])
                at += 16 * n_chunks
        return offsets
    except (OSError, EOFError, zlib.error, struct.error, ValueError) as error:
        raise FormatError(
            f"{path}: not a whole index: {error}", hint="bcftools index -f makes it anew"
        ) from None


def _stretch(number: int) -> tuple[int, int]:
    """First and last position of a bin (bp, 1-based)."""
    first, length = next(level for level in reversed(_LEVELS) if number >= level[0])
    start = (number - first) * length
    return start + 1, start + length


def blocks(path: Path, start: int = 0) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield (offset, compressed block, its text) of a BGZF file; an unfinished last one is left.

    `start` is what the offsets count from. Every block's checksum and length are verified.
    Raises FormatError naming the offset.
    """
    with path.open("rb") as handle:
        offset = start
        while True:
            head = handle.read(18)
            if len(head) < 18:
                return
            if head[:4] != _BLOCK_MAGIC or head[12:14] != b"BC":
                raise FormatError(f"{path}: no BGZF block at byte {offset}: damaged")
            size = struct.unpack_from("<H", head, 16)[0] + 1
            block = head + handle.read(size - 18)
            if len(block) < size:
                return
            try:
                text = zlib.decompress(block[18:-8], wbits=-15)
            except zlib.error as error:
                raise FormatError(f"{path}: BGZF block at byte {offset}: {error}") from None
            if struct.unpack("<II", block[-8:]) != (zlib.crc32(text), len(text)):
                raise FormatError(f"{path}: BGZF block at byte {offset}: wrong checksum")
            yield offset, block, text
            offset += size


def compress(text: bytes) -> bytes:
    """BGZF blocks of a text, without the end marker."""
    out = bytearray()
    for start in range(0, len(text), 0xFF00):
        piece = text[start : start + 0xFF00]
        deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
        body = deflate.compress(piece) + deflate.flush()
        out += b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x06\0BC\x02\0"
        out += struct.pack("<H", len(body) + 25) + body
        out += struct.pack("<II", zlib.crc32(piece), len(piece))
    return bytes(out)
