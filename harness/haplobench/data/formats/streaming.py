"""Cohorts written while they are sampled: memory doesn't grow with the number of haplotypes.

VCF Zarr takes people chunk by chunk. Formats that go site by site (BCF, VCF, PLINK 2) first
keep the haplotypes as bits in a scratch file beside the target, an eighth of a byte each.
"""

from __future__ import annotations

import hashlib
import importlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from haplobench.data.formats.sites import Cohort, Variants, sites_at_once
from haplobench.data.panel import Panel
from haplobench.errors import FormatError

DIGEST = "haplotypes_sha256"
STREAMED = (".vcz", ".zarr", ".bcf", ".vcf", ".vcf.gz", ".vcf.bgz", ".pgen")


@contextmanager
def streaming(
    path: Path | str,
    sites: Panel,
    people: Panel | Cohort,
    notes: Mapping[str, str] | None = None,
) -> Iterator[Callable[..., None]]:
    """Write a cohort batch by batch; the file appears when the body has ended, whole or not at all.

    Yields `add(batch)`, which takes the next haplotypes: (batch, n_sites) int8 of 0 and 1.

    Parameters
    ----------
    path : Path or str
        `.vcz`, `.bcf`, `.vcf.gz` or `.pgen`, told by the ending.
    sites : Panel
        Whose sites the cohort has.
    people : Panel or Cohort
        Who is in the cohort: names, labels, ploidy. A panel may have no sites.
    notes : mapping or None
        For the file's header, see `Variants`; with any, the haplotypes' digest is another, see
        `haplotypes_digest`.

    Raises
    ------
    FormatError
        For an ending that can't be streamed, and for what the format can't hold.
    ValueError
        If a batch has another shape or other alleles, or there are too few or too many.
    """
    path = Path(path)
    if not path.name.endswith(STREAMED):
        raise FormatError(f"{path}: can't be streamed; expected one of {', '.join(STREAMED)}")
    n = people.samples.size * people.ploidy
    taken = 0
    sha, noted = hashlib.sha256(), dict(notes or {})

    def check(batch: NDArray[np.int8]) -> NDArray[np.int8]:
        nonlocal taken
        if batch.ndim != 2 or batch.shape[1] != sites.n_sites:
            raise ValueError(f"batch of shape {batch.shape}, expected (n, {sites.n_sites})")
        if batch.size and (batch.min() < 0 or batch.max() > 1):
            raise ValueError("batch with alleles other than 0 and 1")
        taken += batch.shape[0]
        if taken > n:
            raise ValueError(f"{taken} haplotypes, expected {n} in all")
        if noted:
            sha.update(np.ascontiguousarray(batch, np.int8).data)
        return batch

    def finish() -> None:
        if taken != n:
            raise ValueError(f"{taken} haplotypes, expected {n}")
        if noted:
            noted[DIGEST] = sha.hexdigest()

    if path.name.endswith((".vcz", ".zarr")):
        from haplobench.data.formats import vcz

        head = Variants.like(sites, people, sites_at_once(n), _unread, noted)
        with vcz.adding(head, path) as add:
            yield lambda batch: add(check(batch))
            finish()
        return
    module = "plink2" if path.suffix == ".pgen" else "vcf"
    if module == "plink2":
        from haplobench.data.formats.plink import check_people

        check_people(Variants.like(sites, people, 8, _unread), path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(prefix=f".{path.name}.", dir=path.parent) as file:
        spool = Spool(file, n, sites.n_sites)
        yield lambda batch: spool.add(check(batch))
        finish()
        writer = importlib.import_module(f"haplobench.data.formats.{module}")
        writer.write_variants(Variants.like(sites, people, spool.step, spool.alleles, noted), path)


def haplotypes_digest(panel: Panel) -> str:
    """SHA-256 (hex) of the haplotypes as they come: a byte an allele, 0, 1 or 255 (missing)."""
    sha = hashlib.sha256()
    for _, block in panel.haplotype_blocks():
        sha.update(np.ascontiguousarray(block).data)
    return sha.hexdigest()


def _unread(start: int, stop: int) -> NDArray[np.int8]:
    raise AssertionError("haplotypes of this format are added, not read")


class Spool:
    """Haplotypes as bits in a file, laid out so that a block of sites is one piece of it.

    Parameters
    ----------
    file : binary file
        Open for reading and writing.
    n_haplotypes, n_sites : int
    """

    def __init__(self, file: BinaryIO, n_haplotypes: int, n_sites: int) -> None:
        self._file = file
        self._n_haplotypes = n_haplotypes
        self._n_sites = n_sites
        self._rows = 0
        self.step = sites_at_once(n_haplotypes)
        self._row_bytes = self.step // 8

    def add(self, batch: NDArray[np.int8]) -> None:
        """Take the next haplotypes: (batch, n_sites) int8 of 0 and 1."""
        for number, start in enumerate(range(0, self._n_sites, self.step)):
            block = np.zeros((batch.shape[0], self.step), np.int8)
            part = batch[:, start : start + self.step]
            block[:, : part.shape[1]] = part
            self._file.seek((number * self._n_haplotypes + self._rows) * self._row_bytes)
            self._file.write(np.packbits(block, axis=1).tobytes())
        self._rows += batch.shape[0]

    def alleles(self, start: int, stop: int) -> NDArray[np.int8]:
        """Alleles of some sites, see `Variants.alleles`."""
        size = self._n_haplotypes * self._row_bytes
        self._file.seek(start // self.step * size)
        packed = np.frombuffer(self._file.read(size), np.uint8)
        bits = np.unpackbits(packed.reshape(self._n_haplotypes, self._row_bytes), axis=1)
        return np.ascontiguousarray(bits[:, : stop - start].T).view(np.int8)
