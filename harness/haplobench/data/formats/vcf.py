"""VCF and BCF, through htslib (cyvcf2 reads, pysam compresses and indexes)."""

from __future__ import annotations

import gzip
import re
import tempfile
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

import cyvcf2
import numpy as np
import pysam
from numpy.typing import NDArray

from haplobench.data.contigs import build_of, same_contig
from haplobench.data.formats.bgzf import check_index, index_offsets
from haplobench.data.formats.collector import NO_ALLELE, Collector
from haplobench.data.formats.options import (
    ReadOptions,
    Region,
    check_names,
    require_whole,
)
from haplobench.data.formats.people import choose_people, staged_labelled
from haplobench.data.formats.sites import (
    MISSING_CALLS,
    Variants,
    choose_contig,
    is_rival,
    parts,
    reason_to_skip,
)
from haplobench.data.panel import Panel
from haplobench.errors import FormatError
from haplobench.files import require_file

ENDINGS = (".vcf", ".vcf.gz", ".vcf.bgz", ".bcf")
_BATCH = 1024
_BATCH_BYTES = 1 << 26
# Genotypes as htslib has them: (allele + 1) << 1, plus 1 if phased; 0 or 1 is missing. This
# stands for no allele (BCF2, end of vector).
_NO_ALLELE = -(2**31) + 1
_NO_SET = -1
# Phase marks before the first allele, as VCF 4.4 and later have them.
_MARKED = re.compile(rb"(?<=\t)([|/])([\d.]+(?:[|/][\d.]+)*)")
_HEADER_BYTES = 1 << 26
_VERSION = re.compile(r"##fileformat=VCFv4\.(\d+)")


class _MalformedError(FormatError):
    """A record that htslib can't read."""


def read(
    path: Path, options: ReadOptions, scratch: Path | None = None
) -> tuple[Panel, dict[str, int]]:
    """Read a VCF or BCF, plain or compressed; by its index where there is one and a region.

    Raises FormatError naming file and record; an index that isn't the file's is refused.
    """
    require_file(path)
    require_whole(path)
    index = _index(path)
    if index is not None:
        require_file(index)
    if index is not None and path.suffix != ".bcf":
        # htslib reads a VCF's index with the header, whether it is asked for a region or not.
        index_offsets(index)
    try:
        return _Reader(path, path, options, scratch).read()
    except _MalformedError:
        # cyvcf2's htslib doesn't know the marks of newer versions: read a copy without them.
        version = _VERSION.match(_open(path, path).raw_header)
        if path.suffix == ".bcf" or version is None or int(version[1]) < 4:
            raise
    with tempfile.TemporaryDirectory(prefix="haplobench-", dir=scratch) as folder:
        plain = Path(folder) / "plain.vcf"
        _drop_marks(path, plain)
        return _Reader(path, plain, options, scratch).read()


def _drop_marks(path: Path, plain: Path) -> None:
    """Copy a VCF without the phase marks before first alleles.

    A first allele marked as unphased (`/0|1`) leaves the genotype without a phase.
    """

    def unmarked(match: re.Match[bytes]) -> bytes:
        return match[2] if match[1] == b"|" else match[2].replace(b"|", b"/")

    with path.open("rb") as handle:
        opener = gzip.open if handle.read(2) == b"\x1f\x8b" else open
    with opener(path, "rb") as lines, plain.open("wb") as out:
        for line in lines:
            head = line.split(b"\t", 9)
            if not line.startswith(b"#") and len(head) == 10:
                line = b"\t".join(head[:9]) + _MARKED.sub(unmarked, b"\t" + head[9])
            out.write(line)


def _index(path: Path) -> Path | None:
    """The index that htslib reads beside a file; None if there is none."""
    indices = [Path(f"{path}{ending}") for ending in (".csi", ".tbi")]
    return next((each for each in indices if each.exists()), None)


def _open(path: Path, file: Path) -> Any:
    quiet = getattr(cyvcf2.cyvcf2, "set_htslib_log_level", None)
    if quiet is not None:  # what goes wrong is told by our own errors, once
        quiet(0)
    try:
        source = cyvcf2.VCF(str(file))
        source.samples  # noqa: B018  decoded when they are asked for
        return source
    except UnicodeDecodeError as error:
        raise FormatError(
            f"{path}: a person's name isn't UTF-8: {error.object[:60]!r}",
            hint="give the people other names: bcftools reheader",
        ) from None
    except Exception:  # cyvcf2 raises bare Exception
        cause, hint = _fault_of_header(file)
        raise FormatError(f"{path}: {cause}", hint=hint) from None


def _fault_of_header(file: Path) -> tuple[str, str]:
    """Why htslib opens no file whose header is text, as far as it is known, and what to do."""
    lines: list[str] = []
    with suppress(OSError, EOFError, zlib.error):
        with file.open("rb") as handle:
            opener = gzip.open if handle.read(2) == b"\x1f\x8b" else open
        with opener(file, "rb") as stream:
            lines = stream.read(_HEADER_BYTES).decode("utf-8", "replace").splitlines()
    if lines and lines[0].startswith("\ufeff"):
        return "starts with a byte order mark", "remove it: sed -i '1s/^\\xef\\xbb\\xbf//' FILE"
    columns = next((line for line in lines if line.startswith("#CHROM")), "")
    if columns and "\t" not in columns:
        return "the #CHROM line has no tabs", "separate columns by tabs"
    people = Counter(columns.split("\t")[9:])
    if twice := [name for name, n in people.items() if n > 1]:
        return (
            f"{people[twice[0]]} samples are named {twice[0]!r}",
            "give the people names of their own: bcftools reheader",
        )
    return (
        "not a VCF or BCF that htslib can open",
        "expected a ##fileformat header, a #CHROM line and records",
    )


class _Reader:
    """One pass over the records of one contig: of `file`, which errors call `path`."""

    def __init__(self, path: Path, file: Path, options: ReadOptions, scratch: Path | None) -> None:
        self.path = path
        self.file = file
        self.source = _open(path, file)
        self.options = options
        self.scratch = scratch
        people = choose_people(path, self.source.samples, options)
        if not people.everybody:
            self.source.set_samples(people.samples.tolist())
        self.collector = Collector(path, options, people, scratch=scratch)
        self.contig = ""
        self.number = 0
        self.has_sets = self.source.contains("PS")
        self.batch = max(1, min(_BATCH, _BATCH_BYTES // (8 * people.samples.size)))
        self._clear()

    def _clear(self) -> None:
        self.positions: list[int] = []
        self.ref: list[str] = []
        self.alt: list[str] = []
        self.genotypes: list[NDArray[np.int32]] = []
        self.phase_sets: list[NDArray[np.int64]] = []

    def read(self) -> tuple[Panel, dict[str, int]]:
        skipped = self.collector.skipped
        for record in self._records():
            reference, alternates = self._alleles(record)
            reason = reason_to_skip(reference, alternates, snps_only=self.options.snps_only)
            if reason:
                skipped.add(reason, record.POS)
                if is_rival(reference, alternates):
                    skipped.rivals.add(record.POS)
                continue
            genotype = self._genotype(record)
            if genotype is None:
                skipped.add(MISSING_CALLS, record.POS)
                continue
            if self.genotypes and genotype.shape != self.genotypes[0].shape:
                self._take()
            self.positions.append(record.POS)
            self.ref.append(reference)
            self.alt.append(alternates[0])
            self.genotypes.append(genotype)
            if self.has_sets:
                self.phase_sets.append(_sets(self.path, record))
            if len(self.positions) == self.batch:
                self._take()
        self._take()
        if not self.has_sets and self.source.contains("PS"):
            # Records have the field and the header doesn't declare it: htslib knows it now.
            again = _Reader(self.path, self.file, self.options, self.scratch)
            again.has_sets = True
            return again.read()
        return self.collector.finish(self.contig)

    def _records(self) -> Iterator[Any]:
        """Records of the wanted contig and region, in the file's order."""
        wanted = self.options.wanted
        index = _index(self.file)
        if wanted is not None and index is not None:
            check_index(self.file, index)
            yield from self._indexed(wanted)
            return
        seen: list[str] = []
        inside = False
        for record in self._safely(self.source):
            contig = record.CHROM
            if not seen or contig != seen[-1]:
                if wanted is None and seen:
                    # Without an index, or with an older one, what comes is not known.
                    listed = self._indexed_contigs() if index else []
                    known = {*seen, contig} <= set(listed)
                    choose_contig(self.path, listed if known else [*seen, contig, "…"], None)
                seen.append(contig)
                inside = wanted is None or same_contig(contig, wanted.contig)
                if inside and self.contig not in ("", contig):
                    raise FormatError(
                        f"{self.path}: holds the contigs {self.contig} and {contig}, and the one "
                        "asked for may be either",
                        hint="index the file, and name one of them",
                    )
                self.contig = contig if inside else self.contig
            if inside and (wanted is None or wanted.covers(record.POS)):
                yield record
        if not seen:
            raise FormatError(f"{self.path}: holds no records")
        self.contig = choose_contig(self.path, seen, wanted)

    def _indexed(self, wanted: Region) -> Iterator[Any]:
        self.contig = choose_contig(self.path, self._indexed_contigs(), wanted)
        query = f"{self.contig}:{wanted.start}-{wanted.end or ''}"
        with warnings.catch_warnings():
            # An empty region is told by the collector.
            warnings.simplefilter("ignore", UserWarning)
            for record in self._safely(self.source(query)):
                if wanted.covers(record.POS):
                    yield record

    def _indexed_contigs(self) -> list[str]:
        pysam.set_verbosity(0)
        try:
            # The index knows which contigs have records; a header lists them all.
            with pysam.VariantFile(str(self.file)) as opened:
                index = opened.index
                return list(index) if index is not None else list(self.source.seqnames)
        except (OSError, ValueError) as error:
            raise FormatError(
                f"{self.path}: its index can't be read: {error}", hint="index it again"
            ) from None

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
                raise _MalformedError(
                    f"{self.path}: record {self.number + 1}, after {last}: malformed, damaged or "
                    "cut short: htslib can't read it"
                ) from None
            self.number += 1
            try:
                last = f"{record.CHROM}:{record.POS}"
            except UnicodeDecodeError:
                raise FormatError(
                    f"{self.path}: record {self.number}, after {last}: its contig isn't text"
                ) from None
            yield record

    def _alleles(self, record: Any) -> tuple[str, list[str]]:
        try:
            return record.REF, record.ALT
        except UnicodeDecodeError:
            raise FormatError(
                f"{self.path}: record {self.number} ({record.CHROM}:{record.POS}): its alleles "
                "aren't text"
            ) from None

    def _genotype(self, record: Any) -> NDArray[np.int32] | None:
        """htslib's codes, (n_samples, ploidy) int32; None if all is missing."""
        try:
            # As integers: cyvcf2's own arrays of genotypes are int16, in which numbers of
            # alleles wrap round.
            genotype: NDArray[np.int32] | None = record.format("GT", int)
        except Exception:  # cyvcf2 raises bare Exception
            genotype = None
        if genotype is None:
            raise FormatError(
                f"{self.path}: record {self.number} ({record.CHROM}:{record.POS}): "
                "no GT field, or one that can't be read"
            )
        # A record of nothing but `.` says nothing about ploidy.
        if genotype.shape[1] == 1 and (genotype < 2).all():
            return None
        return genotype

    def _take(self) -> None:
        """Hand the records gathered so far, of one width of genotypes, to the collector."""
        if not self.positions:
            return
        codes = np.stack(self.genotypes)
        if codes.min() >= 0 and codes.max() < 6:  # alleles 0 and 1
            codes = codes.astype(np.int8)
            alleles: NDArray[Any] = (codes >> 1) - np.int8(1)
        else:
            alleles = np.where(codes == _NO_ALLELE, NO_ALLELE, (codes >> 1) - 1)
        self.collector.add(
            self.contig,
            np.array(self.positions, np.int64),
            self.ref,
            self.alt,
            alleles,
            np.all(codes[:, :, 1:] & 1, axis=2),
            np.stack(self.phase_sets) if self.phase_sets else None,
        )
        self._clear()


def stated_build(path: Path, contig: str) -> str:
    """The genome's build by a file's header, see `build_of`; empty where it says nothing."""
    header = _open(path, path).raw_header
    texts, length = re.findall(r"^##reference=(?:.*/)?([^/\n]+)$", header, re.M), 0
    for line in re.findall(r"^##contig=<(.*)>$", header, re.M):
        fields = dict(field.partition("=")[::2] for field in line.split(","))
        if fields.get("ID") == contig:
            texts.insert(0, fields.get("assembly", ""))
            length = int(fields["length"]) if fields.get("length", "").isdecimal() else 0
    return next(filter(None, map(build_of, texts)), "") or build_of("", contig, length)


def _sets(path: Path, record: Any) -> NDArray[np.int64]:
    """Phase set of each person, (n_samples,) int64; -1 for none."""
    try:
        sets = record.format("PS")
    except KeyError:  # not declared, and no record had it yet
        sets = None
    except Exception as error:  # cyvcf2 raises bare Exception
        raise FormatError(
            f"{path}: {record.CHROM}:{record.POS}: PS can't be read: {error}"
        ) from None
    if sets is None:
        return np.full(record.genotype.n_samples, _NO_SET, np.int64)
    if sets.dtype.kind == "U":  # declared as text, or not at all
        names = [-1 if text in (".", "") else zlib.crc32(text.encode()) for text in sets.tolist()]
        return np.array(names, np.int64)
    sets = sets[:, 0].astype(np.int64)
    return np.where(sets < 0, _NO_SET, sets)


def write(panel: Panel, path: Path, notes: Mapping[str, str] | None = None) -> None:
    """Write a bgzipped VCF (tabix index) or a BCF (CSI index); `.vcf` is plain, with no index.

    Labels go into a table beside it, see `labels_beside`.
    """
    write_variants(Variants.of(panel, notes), path)


def write_variants(panel: Variants, path: Path) -> None:
    """The same, of alleles that come site by site."""
    names = (name for part in parts(panel) for name in part[0].tolist())
    check_names(path, chain(names, (panel.contig,)))
    if not panel.contig:
        raise FormatError(f"{path}: a VCF needs the contig's name, and the panel has none")
    pysam.set_verbosity(0)
    with staged_labelled(path, panel) as folder:
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
        *(f"##{key}={text}" for key, text in panel.header),
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
