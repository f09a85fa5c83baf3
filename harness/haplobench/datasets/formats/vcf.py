"""VCF and BCF, through htslib (cyvcf2 reads, pysam compresses and indexes)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import cyvcf2
import numpy as np
import pysam
from numpy.typing import NDArray

from haplobench.contigs import same_contig
from haplobench.datasets.formats.collector import Collector
from haplobench.datasets.formats.files import check_names, require_file, require_whole, staged
from haplobench.datasets.formats.options import ReadOptions, Region
from haplobench.datasets.formats.people import People, choose_people
from haplobench.datasets.formats.sites import MISSING_CALLS, choose_contig, reason_to_skip
from haplobench.datasets.formats.tally import Tally
from haplobench.datasets.formats.variants import Variants, parts
from haplobench.errors import FormatError
from haplobench.panel import Panel

ENDINGS = (".vcf", ".vcf.gz", ".vcf.bgz", ".bcf")
_BATCH = 1024


def read(
    path: Path, options: ReadOptions, scratch: Path | None = None
) -> tuple[Panel, dict[str, int]]:
    """Read a VCF or BCF, plain or compressed; by its index where there is one and a region.

    Raises FormatError naming file and record.
    """
    require_file(path)
    require_whole(path)
    source = _open(path)
    people = choose_people(path, source.samples, options)
    if not people.everybody:
        source.set_samples(people.samples.tolist())
    return _Reader(path, source, options, people, scratch).read()


def _open(path: Path) -> Any:
    quiet = getattr(cyvcf2.cyvcf2, "set_htslib_log_level", None)
    if quiet is not None:  # what goes wrong is told by our own errors, once
        quiet(0)
    try:
        return cyvcf2.VCF(str(path))
    except Exception:  # cyvcf2 raises bare Exception
        raise FormatError(
            f"{path}: not a VCF or BCF that htslib can open",
            hint="expected a ##fileformat header, a #CHROM line and records",
        ) from None


class _Reader:
    """One pass over the records of one contig."""

    def __init__(
        self,
        path: Path,
        source: Any,
        options: ReadOptions,
        people: People,
        scratch: Path | None,
    ) -> None:
        self.path = path
        self.source = source
        self.options = options
        self.people = people
        self.scratch = scratch
        self.contig = ""
        self.collector: Collector | None = None
        self.skipped = Tally()
        self.number = 0

    def read(self) -> tuple[Panel, dict[str, int]]:
        positions: list[int] = []
        ref: list[str] = []
        alt: list[str] = []
        genotypes: list[NDArray[np.int16]] = []
        for record in self._records():
            alternates = record.ALT
            reason = reason_to_skip(record.REF, alternates, snps_only=self.options.snps_only)
            if reason:
                self.skipped.add(reason, record.POS)
                continue
            genotype = self._genotype(record)
            if genotype is None:
                self.skipped.add(MISSING_CALLS, record.POS)
                continue
            if genotypes and genotype.shape != genotypes[0].shape:
                self._take(positions, ref, alt, genotypes)
                positions, ref, alt, genotypes = [], [], [], []
            positions.append(record.POS)
            ref.append(record.REF)
            alt.append(alternates[0])
            genotypes.append(genotype)
            if len(positions) == _BATCH:
                self._take(positions, ref, alt, genotypes)
                positions, ref, alt, genotypes = [], [], [], []
        self._take(positions, ref, alt, genotypes)
        if self.collector is None:  # not one site: let it say so
            self.collector = Collector(self.path, self.options, self.people, ploidy=2)
        self.collector.skipped.merge(self.skipped)
        return self.collector.finish(self.contig)

    def _records(self) -> Iterator[Any]:
        """Records of the wanted contig and region, in the file's order."""
        wanted = self.options.wanted
        indexed = any(Path(f"{self.path}{ending}").exists() for ending in (".tbi", ".csi"))
        if wanted is not None and indexed:
            yield from self._indexed(wanted)
            return
        seen: list[str] = []
        for record in self._safely(self.source):
            contig = record.CHROM
            if not seen or contig != seen[-1]:
                if wanted is None and seen:
                    choose_contig(self.path, [*seen, contig], None)
                seen.append(contig)
            if wanted is None or self._within(record, wanted):
                self.contig = contig
                yield record
        if not seen:
            raise FormatError(f"{self.path}: holds no records")
        if not self.contig:
            self.contig = choose_contig(self.path, seen, wanted)

    def _indexed(self, wanted: Region) -> Iterator[Any]:
        self.contig = choose_contig(self.path, self._indexed_contigs(), wanted)
        query = f"{self.contig}:{wanted.start}-{wanted.end or ''}"
        with warnings.catch_warnings():
            # An empty region is told by the collector.
            warnings.simplefilter("ignore", UserWarning)
            for record in self._safely(self.source(query)):
                if self._within(record, wanted):
                    yield record

    def _indexed_contigs(self) -> list[str]:
        pysam.set_verbosity(0)
        try:
            # The index knows which contigs have records; a header lists them all.
            with pysam.VariantFile(str(self.path)) as opened:
                index = opened.index
                return list(index) if index is not None else list(self.source.seqnames)
        except (OSError, ValueError) as error:
            raise FormatError(
                f"{self.path}: its index can't be read: {error}", hint="index it again"
            ) from None

    def _within(self, record: Any, wanted: Region) -> bool:
        return same_contig(record.CHROM, wanted.contig) and wanted.covers(record.POS)

    def _safely(self, records: Any) -> Iterator[Any]:
        """Iterate; turn htslib's failures into one line that names the record before."""
        last = "the header"
        iterator = iter(records)
        while True:
            try:
                record = next(iterator)
            except StopIteration:
                return
            except Exception:  # cyvcf2 raises bare Exception, whose text names codes only
                raise FormatError(
                    f"{self.path}: record {self.number + 1}, after {last}: malformed, damaged or "
                    "cut short: htslib can't read it"
                ) from None
            self.number += 1
            last = f"{record.CHROM}:{record.POS}"
            yield record

    def _genotype(self, record: Any) -> NDArray[np.int16] | None:
        """(n_samples, ploidy + 1) int16, the last column 1 where phased; None if all is missing."""
        try:
            genotype: NDArray[np.int16] = record.genotype.array()
        except Exception:  # cyvcf2 raises bare Exception, or gives None
            raise FormatError(
                f"{self.path}: record {self.number} ({record.CHROM}:{record.POS}): "
                "no GT field, or one that can't be read"
            ) from None
        # A record of nothing but `.` says nothing about ploidy.
        if genotype.shape[1] == 2 and (genotype[:, 0] == -1).all():
            return None
        return genotype

    def _take(
        self, positions: list[int], ref: list[str], alt: list[str], genotypes: list[Any]
    ) -> None:
        if not positions:
            return
        stacked = np.stack(genotypes)
        if self.collector is None:
            self.collector = Collector(
                self.path,
                self.options,
                self.people,
                ploidy=stacked.shape[2] - 1,
                scratch=self.scratch,
            )
        self.collector.add(
            self.contig,
            np.array(positions, np.int64),
            ref,
            alt,
            stacked[:, :, :-1],
            stacked[:, :, -1] == 1,
        )


def write(panel: Panel, path: Path) -> None:
    """Write a bgzipped VCF (tabix index) or a BCF (CSI index); `.vcf` is plain, with no index."""
    write_variants(Variants.of(panel), path)


def write_variants(panel: Variants, path: Path) -> None:
    """The same, of alleles that come site by site."""
    names = (name for part in parts(panel) for name in part[0].tolist())
    check_names(path, chain(names, (panel.contig,)))
    if not panel.contig:
        raise FormatError(f"{path}: a VCF needs the contig's name, and the panel has none")
    pysam.set_verbosity(0)
    with staged(path) as folder:
        if path.name.endswith(".vcf"):
            with (folder / path.name).open("wb") as plain:
                for block in _lines(panel):
                    plain.write(block)
            return
        text = folder / (path.name if path.suffix != ".bcf" else "records.vcf.gz")
        with pysam.BGZFile(str(text), "wb") as compressed:
            for block in _lines(panel):
                compressed.write(block)
        if path.suffix != ".bcf":
            pysam.tabix_index(str(text), preset="vcf", force=True)
            return
        binary = folder / path.name
        with (
            pysam.VariantFile(str(text)) as records,
            pysam.VariantFile(str(binary), "wb", header=records.header) as out,
        ):
            for record in records:
                out.write(record)
        text.unlink()
        pysam.tabix_index(str(binary), preset="bcf", csi=True, force=True)


def _lines(panel: Variants) -> Iterator[bytes]:
    """The file's text: the header, then blocks of records."""
    assembly = f",assembly={panel.build}" if panel.build else ""
    header = [
        "##fileformat=VCFv4.2",
        '##FILTER=<ID=PASS,Description="All filters passed">',
        "##source=haplobench",
        f"##contig=<ID={panel.contig}{assembly}>",
        '##INFO=<ID=AC,Number=A,Type=Integer,Description="Alternate allele count">',
        '##INFO=<ID=AN,Number=1,Type=Integer,Description="Alleles called">',
        '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">',
        "\t".join(("#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT")),
    ]
    yield "\n".join(header).encode()
    for names, _, _ in parts(panel):
        yield "".join(f"\t{name}" for name in names.tolist()).encode()
    yield b"\n"
    separator = "|" if panel.phased else "/"
    # One word per allele: a tab or a separator, then 0, 1 or a dot.
    leading = np.array([f"{mark}{allele}" for mark in "\t" + separator for allele in "01."], "S2")
    first = 3 * (np.arange(panel.n_haplotypes) % panel.ploidy != 0).astype(np.int8)
    for start, block in panel.blocks():
        alternate, called = (block == 1).sum(axis=1), (block >= 0).sum(axis=1)
        codes = np.where(block < 0, np.int8(2), block) + first
        rows = leading[codes]
        out = bytearray()
        for i, row in enumerate(rows, start):
            out += (
                f"{panel.contig}\t{panel.positions[i]}\t.\t{panel.ref[i]}\t{panel.alt[i]}\t.\tPASS\t"
                f"AC={alternate[i - start]};AN={called[i - start]}\tGT"
            ).encode()
            out += row.tobytes() + b"\n"
        yield bytes(out)
