"""What to read of a file: a region, some people, which sites."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from haplobench.data.contigs import same_contig
from haplobench.errors import FormatError
from haplobench.files import new_folder

# The empty block that ends every BGZF file (SAM/BAM specification, section 4.1.2).
BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


def require_whole(path: Path) -> None:
    """Raise FormatError if a compressed file was cut short or damaged.

    BGZF: its end marker (its blocks' checksums are verified as they are read). Plain
    gzip: read through once, since readers stop silently at its truncated end.
    """
    with path.open("rb") as handle:
        head = handle.read(18)
        if head[:2] != b"\x1f\x8b":
            return
        if len(head) > 14 and head[3] & 4 and head[12:14] == b"BC":
            handle.seek(0, os.SEEK_END)
            handle.seek(max(0, handle.tell() - len(BGZF_END)))
            if handle.read() != BGZF_END:
                raise FormatError(
                    f"{path}: cut short: the BGZF end marker is missing", hint="fetch it again"
                )
            return
    read = 0
    try:
        with gzip.open(path) as stream:
            while block := stream.read(1 << 20):
                read += len(block)
    except (EOFError, OSError, zlib.error) as error:
        raise FormatError(
            f"{path}: damaged or cut short after {read} bytes of text: {error}",
            hint="fetch it again",
        ) from None


@contextmanager
def staged(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; what is written there is moved into place at the end.

    Nothing appears under its final name if the body fails.
    """
    scratch = new_folder(path.parent, f".{path.name}.")
    try:
        yield scratch
        for made in sorted(scratch.iterdir()):
            target = path.parent / made.name
            if target.is_dir():
                shutil.rmtree(target)
            made.replace(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def labels_beside(path: Path) -> Path:
    """Where the labels of people lie whose format has no room for them: `x.vcf.gz.panel.tsv`."""
    return path.with_name(f"{path.name}.panel.tsv")


def check_names(path: Path, names: Iterable[str]) -> None:
    """Raise FormatError if a name can't stand in a text table: with blanks, or `#` at its start."""
    for name in names:
        if name.startswith("#") or any(mark.isspace() for mark in name):
            raise FormatError(
                f"{path}: can't hold the name {name!r}: it has blanks or starts with #"
            )


_REGION = re.compile(r"(?P<contig>[^\s:]+)(:(?P<start>[\d,]+)(-(?P<end>[\d,]+)?)?)?")


@dataclass(frozen=True)
class Region:
    """Part of one contig: `start` to `end` in bp, 1-based, both included; `end` None is its end."""

    contig: str
    start: int = 1
    end: int | None = None

    @classmethod
    def parse(cls, text: str) -> Region:
        """Read `20`, `20:1000000-4000000` or `20:1,000,000-`; ValueError otherwise."""
        match = _REGION.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"{text!r} is not a region; expected for example 20:1000000-4000000")
        start = int((match["start"] or "1").replace(",", ""))
        end = int(match["end"].replace(",", "")) if match["end"] else None
        if start < 1 or (end is not None and end < start):
            raise ValueError(f"{text!r} is not a region: 1 <= start <= end expected")
        return cls(match["contig"], start, end)

    def covers(self, position: int) -> bool:
        """Whether a position (bp, 1-based) lies inside."""
        return self.start <= position and (self.end is None or position <= self.end)

    def __str__(self) -> str:
        if self.start == 1 and self.end is None:
            return self.contig
        return f"{self.contig}:{self.start}-{'' if self.end is None else self.end}"


def _checked_region(text: str) -> str:
    if text:
        Region.parse(text)
    return text


RegionText = Annotated[str, AfterValidator(_checked_region)]


class ReadOptions(BaseModel):
    """What to read of a file of haplotypes.

    Attributes
    ----------
    region : str
        `20`, or `20:1000000-4000000` (bp, 1-based, both included); empty reads everything.
        Names of one contig are one: `chr20` and `20`, `X` and `23` (see `contigs`).
    contig : str
        The contig to read where the file holds several; the same as a region of its name.
    panel_file : Path or None
        Population labels, see `haplobench.data.labels.read_labels`. Samples named by family
        and person (`FID_IID`) are found by the person's name where that means one of them.
    pedigree_file : Path or None
        Families and parents, see `haplobench.data.labels.read_pedigree`. Without it, those
        that the panel file or the file of haplotypes (`.fam`, `.psam`) names.
    populations, superpopulations, samples : tuple of str
        People to keep, in the file's order; empty keeps everybody.
    snps_only : bool
        Leave out biallelic variants that aren't single-nucleotide too. Variants with several
        alternate alleles are always left out: a panel's sites are biallelic.
    max_missing : float
        Sites with a greater share of missing alleles are left out.
    allow_unphased : bool
        Read unphased heterozygous genotypes as 0 then 1, and call the panel unphased.
    skip_unphased : bool
        Leave out sites with an unphased heterozygous genotype.
    strict : bool
        Refuse a file with any record that would be left out, naming the first, instead of
        counting them.
    haploid : bool
        Read each haplotype as a person of its own, HG00096's as HG00096_A and HG00096_B (of
        `.hapt`, as its rows are named): for sets that were split by haplotype. A person's two
        may then be on both sides of a split.
    build : str
        Genome build to note in the panel, for example `GRCh37`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    region: RegionText = ""
    contig: str = ""
    panel_file: Path | None = None
    pedigree_file: Path | None = None
    populations: tuple[str, ...] = ()
    superpopulations: tuple[str, ...] = ()
    samples: tuple[str, ...] = ()
    snps_only: bool = True
    max_missing: float = Field(default=0.0, ge=0.0, le=1.0)
    allow_unphased: bool = False
    skip_unphased: bool = False
    strict: bool = False
    haploid: bool = False
    build: str = ""

    @model_validator(mode="after")
    def _agree(self) -> ReadOptions:
        if self.allow_unphased and self.skip_unphased:
            raise ValueError("allow_unphased and skip_unphased exclude each other")
        if self.contig and self.region:
            region = Region.parse(self.region)
            if not same_contig(region.contig, self.contig):
                raise ValueError(f"contig {self.contig!r} and region {self.region!r} differ")
        return self

    @property
    def wanted(self) -> Region | None:
        """The region or contig asked for; None for everything."""
        if self.region:
            return Region.parse(self.region)
        return Region(self.contig) if self.contig else None
