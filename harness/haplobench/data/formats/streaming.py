"""Cohorts that never are in memory: written by columns of haplotypes, or by blocks of sites.

Columns may come in any order, from one process or from many that share a folder, and those that
were written before a kill are not asked for again. Until all are there they lie in a folder beside
the target: as the chunks of a VCF Zarr, or as bits for formats that go site by site.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import math
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haplobench.data.formats.sites import Cohort, Variants, bands, by_sites, sites_at_once
from haplobench.data.panel import Panel
from haplobench.errors import BenchError, FormatError
from haplobench.files import new_folder, owner, read_json, remove_tree, write_json

DIGEST = "haplotypes_sha256"
STREAMED = (".vcz", ".zarr", ".bcf", ".vcf", ".vcf.gz", ".vcf.bgz", ".pgen")
# A column's alleles are held at a time, unless 256 haplotypes have more.
_HELD_BYTES = 1 << 24
_MOST_HAPLOTYPES = 1 << 14
_BITS_BYTES = 1 << 25
# Digests are of blocks, so that columns and blocks of sites give the same.
_GROUP, _BAND = 256, 1000


@dataclass(frozen=True)
class Part:
    """A share of the columns: `number` of `total`, from 1 on."""

    number: int = 1
    total: int = 1

    @classmethod
    def parse(cls, text: str) -> Part:
        """Read `3/8`; BenchError otherwise."""
        number, _, total = text.partition("/")
        if not (number.isdecimal() and total.isdecimal() and 1 <= int(number) <= int(total)):
            raise BenchError(f"--part {text}: expected a part and how many there are: 3/8")
        return cls(int(number), int(total))

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"

    def divided(self, by: int) -> list[Part]:
        """The same share as so many smaller ones."""
        first = (self.number - 1) * by
        return [Part(first + i + 1, self.total * by) for i in range(by)]

    def of(self, n: int) -> range:
        """Which of n columns."""
        return range(n * (self.number - 1) // self.total, n * self.number // self.total)


WHOLE = Part()


class Columns:
    """A cohort on its way into a file, column by column.

    Parameters
    ----------
    to : Path
        `.vcz`, `.bcf`, `.vcf.gz` or `.pgen`, told by the ending.
    sites : Panel
        Whose sites the cohort has.
    people : Panel or Cohort
        Who is in the cohort: names, labels, ploidy. A panel may have no sites.

    Attributes
    ----------
    size : int
        Haplotypes of a column: a multiple of 256, of whole people.
    n : int
        Columns.
    folder : Path
        Where they lie until all are there: `cohort.vcz.unfinished`.

    Raises FormatError for an ending that can't be streamed, and for what the format can't hold.
    """

    def __init__(self, to: Path, sites: Panel, people: Panel | Cohort) -> None:
        if not to.name.endswith(STREAMED):
            raise FormatError(f"{to}: can't be streamed; expected one of {', '.join(STREAMED)}")
        self._head = Variants.like(sites, people, 8, _unread)
        _check(self._head, to)
        self._to = to
        self._zarr = to.name.endswith((".vcz", ".zarr"))
        self.folder = to.with_name(f"{to.name}.unfinished")
        self.size = math.lcm(_GROUP, people.ploidy)
        while 2 * self.size <= min(_MOST_HAPLOTYPES, _HELD_BYTES // max(1, sites.n_sites)):
            self.size *= 2
        self.n = -(-self._head.n_haplotypes // self.size)

    def begin(self, plan: Mapping[str, str], part: Part = WHOLE) -> None:
        """Make the folder, or go on with what is there; `plan` says what it is to become.

        Raises BenchError if it is of another plan, or if a part is wanted of a file that is there.
        """
        if part.total > 1 and self._to.exists() and not self.folder.exists():
            raise BenchError(f"{self._to}: is there already", hint="remove it, to make it again")
        (self.folder / "columns").mkdir(parents=True, exist_ok=True)
        whole = {**plan, "haplotypes": f"{self._head.n_haplotypes} in columns of {self.size}"}
        path = self.folder / "plan.json"
        if not path.exists():
            write_json(path, whole)
        there = read_json(path) or {}
        for key in sorted(there.keys() | whole.keys()):
            if there.get(key) != whole.get(key):
                raise BenchError(
                    f"{self.folder}: a part of another cohort: {key} is {there.get(key)!r}, "
                    f"expected {whole.get(key)!r}",
                    hint="finish it with the command that began it, or remove it",
                )

    def missing(self, part: Part = WHOLE) -> list[int]:
        """Columns of a part that aren't there."""
        there = {path.name for path in (self.folder / "columns").glob("*.npz")}
        return [column for column in part.of(self.n) if f"{column:08}.npz" not in there]

    def rows(self, column: int) -> range:
        """Haplotypes of a column."""
        start = column * self.size
        return range(start, min(start + self.size, self._head.n_haplotypes))

    def add(self, column: int, haplotypes: NDArray[np.int8]) -> None:
        """Write a column, (len(rows(column)), n_sites) int8 of 0 and 1, and note that it is there.

        Raises ValueError for another shape or other alleles.
        """
        expected = len(self.rows(column)), self._head.n_sites
        if haplotypes.shape != expected:
            raise ValueError(f"haplotypes of shape {haplotypes.shape}, expected {expected}")
        check_alleles(haplotypes)
        checks = [
            zlib.crc32(self._put(name, content))
            for name, content in self._contents(column, haplotypes)
        ]
        note = io.BytesIO()
        digests = [digest for group in _rows_digests(haplotypes) for digest in group]
        np.savez(
            note,
            counts=_counts(haplotypes),
            digests=np.frombuffer(b"".join(digests), np.uint8),
            checks=np.array(checks, np.uint32),
        )
        self._put(f"columns/{column:08}.npz", note.getvalue())

    def finish(self, notes: Mapping[str, str] | None = None) -> None:
        """Make the file of all columns, once each is found to be what was written.

        `notes` are for its header, see `Variants`; with any, the haplotypes' digest is another,
        see `haplotypes_digest`. Where two processes finish at once, one does.

        Raises FormatError if a column was damaged: it will be made again by the same command.
        """
        try:
            counts, digest = self._checked()
            noted = dict(notes or {})
            head = replace(self._head, notes={**noted, DIGEST: digest} if noted else {})
            if self._zarr:
                self._finish_zarr(head, counts)
            else:
                bits = _Bits(self.folder / "columns", [len(self.rows(c)) for c in range(self.n)])
                step = sites_at_once(head.n_haplotypes)
                alleles = bits.reader(head.n_sites, step, counts)
                _writer(self._to).write_variants(
                    replace(head, step=step, alleles=alleles), self._to
                )
        except FileNotFoundError:
            if (self.folder / "plan.json").exists() or not self._to.exists():
                raise
            return  # another process was faster
        remove_tree(self.folder)

    def abandon(self) -> None:
        """Remove the folder where no column is there."""
        if len(self.missing()) == self.n:
            remove_tree(self.folder)

    def _contents(self, column: int, haplotypes: NDArray[np.int8]) -> Iterator[tuple[str, bytes]]:
        """Yield a column's files, and what is in them."""
        if not self._zarr:
            bits = np.packbits(by_sites(haplotypes).view(np.uint8), axis=1)
            yield f"columns/{column:08}.bits", bits.tobytes()
            return
        from haplobench.data.formats.vcz import column_chunks

        per_chunk = self.size // self._head.ploidy
        for name, content in column_chunks(self._head, per_chunk, column, haplotypes):
            yield f"store/{name}", content

    def _put(self, name: str, content: bytes) -> bytes:
        """Write a file whole or not at all, even where others write the same one."""
        path = self.folder / name
        scratch = self.folder / f".{owner()}"
        scratch.write_bytes(content)
        try:
            scratch.replace(path)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            scratch.replace(path)
        return content

    def _names(self, column: int) -> list[str]:
        """A column's files, in the order in which they are written."""
        if not self._zarr:
            return [f"columns/{column:08}.bits"]
        from haplobench.data.formats.vcz import chunk_names

        return [f"store/{name}" for name in chunk_names(self._head.n_sites, column)]

    def _checked(self) -> tuple[NDArray[np.int64], str]:
        """Alternate alleles by site, and the digest; all files are read again."""
        counts, sha = np.zeros(self._head.n_sites, np.int64), hashlib.sha256()
        for column in range(self.n):
            path = self.folder / f"columns/{column:08}.npz"
            try:
                with np.load(path, allow_pickle=False) as note:
                    checks = note["checks"].tolist()
                    counts += note["counts"]
                    sha.update(note["digests"].tobytes())
                names = self._names(column)
                for name, check in zip(names, checks, strict=True):
                    if zlib.crc32((self.folder / name).read_bytes()) != check:
                        raise ValueError(f"{name} isn't what was written")
            except Exception as error:
                if not path.exists():
                    raise FileNotFoundError(path) from None
                path.unlink()
                raise FormatError(
                    f"{self.folder}: column {column} was damaged: {error}",
                    hint="the same command makes it again",
                ) from None
        return counts, sha.hexdigest()

    def _finish_zarr(self, head: Variants, counts: NDArray[np.int64]) -> None:
        from haplobench.data.formats.vcz import describe

        store = self.folder / "store"
        scratch = new_folder(self._to.parent, f".{self._to.name}.")
        try:
            describe(head, scratch / "head", self.size // head.ploidy, counts)
            for made in sorted((scratch / "head").rglob("*")):
                target = store / made.relative_to(scratch / "head")
                if made.is_dir():
                    target.mkdir(exist_ok=True)
                else:
                    made.replace(target)
            if self._to.is_dir():
                shutil.rmtree(self._to)
            store.replace(self._to)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def check_alleles(batch: NDArray[np.int8]) -> None:
    """Raise ValueError for alleles other than 0 and 1."""
    if batch.size and (batch.min() < 0 or batch.max() > 1):
        raise ValueError("alleles other than 0 and 1")


def write_by_sites(variants: Variants, path: Path) -> None:
    """Write a cohort whose alleles come by blocks of sites, which are gone through twice.

    With any notes, the haplotypes' digest is another.
    """
    _check(variants, path)
    if variants.notes:
        variants = replace(variants, notes={**variants.notes, DIGEST: variants_digest(variants)})
    _writer(path).write_variants(variants, path)


def haplotypes_digest(panel: Panel) -> str:
    """SHA-256 (hex) of the haplotypes.

    It is that of the SHA-256 of blocks of 256 haplotypes by 1,000 sites, a byte an allele (0, 1 or
    255, missing), row by row; all blocks of the first haplotypes come first. So neither columns
    nor sites have to wait for each other.
    """
    sha = hashlib.sha256()
    for start in range(0, panel.n_haplotypes, _GROUP):
        for group in _rows_digests(np.asarray(panel.haplotypes[start : start + _GROUP])):
            sha.update(b"".join(group))
    return sha.hexdigest()


def variants_digest(variants: Variants) -> str:
    """The same of a cohort whose alleles come by blocks of sites."""
    groups: list[list[bytes]] = [[] for _ in range(0, variants.n_haplotypes, _GROUP)]
    for _, band in bands(variants.blocks(), _BAND):
        for number, group in enumerate(groups):
            block = band[:, number * _GROUP : (number + 1) * _GROUP]
            group.append(hashlib.sha256(np.ascontiguousarray(block.T).data).digest())
    return hashlib.sha256(b"".join(digest for group in groups for digest in group)).hexdigest()


def _rows_digests(haplotypes: NDArray[np.int8]) -> Iterator[list[bytes]]:
    """Yield the digests of 256 haplotypes' blocks."""
    n, n_sites = haplotypes.shape
    for row in range(0, n, _GROUP):
        blocks = (haplotypes[row : row + _GROUP, i : i + _BAND] for i in range(0, n_sites, _BAND))
        yield [hashlib.sha256(np.ascontiguousarray(block).data).digest() for block in blocks]


def _counts(haplotypes: NDArray[np.int8]) -> NDArray[np.int32]:
    """Alternate alleles by site, of 0 and 1."""
    counts = np.zeros(haplotypes.shape[1], np.int32)
    for row in range(0, haplotypes.shape[0], 255):  # sums that fit into a byte are the fastest
        counts += haplotypes[row : row + 255].view(np.uint8).sum(axis=0, dtype=np.uint8)
    return counts


def _unread(start: int, stop: int) -> NDArray[np.int8]:
    raise AssertionError("haplotypes of this format are added, not read")


def _check(head: Variants, path: Path) -> None:
    if path.suffix == ".pgen":
        from haplobench.data.formats.plink import check_people

        check_people(head, path)


def _writer(path: Path) -> Any:
    zarr = path.name.endswith((".vcz", ".zarr"))
    module = "vcz" if zarr else "plink2" if path.suffix == ".pgen" else "vcf"
    return importlib.import_module(f"haplobench.data.formats.{module}")


@dataclass(frozen=True)
class _Bits:
    """Files of bits, a column each, in which a block of sites is one piece.

    `sizes`: haplotypes of each.
    """

    folder: Path
    sizes: list[int]

    def reader(
        self, n_sites: int, step: int, counts: NDArray[np.int64]
    ) -> Callable[[int, int], NDArray[np.int8]]:
        """What reads alleles, see `Variants.alleles`; each site must have its count of 1."""
        n, widths = sum(self.sizes), [-(-size // 8) for size in self.sizes]
        at_once = max(step, _BITS_BYTES // max(1, sum(widths)) // step * step)
        held, first = np.empty((0, sum(widths)), np.uint8), 0

        def alleles(start: int, stop: int) -> NDArray[np.int8]:
            nonlocal held, first
            if not first <= start < first + held.shape[0]:
                first = start
                held = np.empty((min(at_once, n_sites - start), sum(widths)), np.uint8)
                left = 0
                for column, width in enumerate(widths):
                    with (self.folder / f"{column:08}.bits").open("rb") as file:
                        file.seek(start * width)
                        piece = np.frombuffer(file.read(held.shape[0] * width), np.uint8)
                    held[:, left : left + width] = piece.reshape(-1, width)
                    left += width
            rows = held[start - first : stop - first]
            ones = np.bitwise_count(rows).sum(axis=1, dtype=np.int64)
            if (ones != counts[start:stop]).any():
                raise FormatError(
                    f"{self.folder}: alleles of sites {start} to {stop} aren't those counted",
                    hint="remove it, and run the command again",
                )
            return np.unpackbits(rows, axis=1, count=n).view(np.int8)

        return alleles
