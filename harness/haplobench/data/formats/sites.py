"""What kind of variant a record is, and which contig of a file is meant."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from haplobench.data.contigs import same_contig
from haplobench.data.formats.options import Region
from haplobench.data.panel import Panel
from haplobench.errors import FormatError


@dataclass
class Tally:
    """Records left out, by reason.

    Attributes
    ----------
    counts : dict
        Records by reason.
    first : dict
        Position (bp) of the first record left out for that reason.
    rivals : set
        Positions (bp) of those whose carriers have another base there than the reference's.
    """

    counts: dict[str, int] = field(default_factory=dict)
    first: dict[str, int] = field(default_factory=dict)
    rivals: set[int] = field(default_factory=set)

    def add(self, reason: str, position: int, n: int = 1) -> None:
        """Count `n` records of which the first lies at `position`."""
        if n:
            self.counts[reason] = self.counts.get(reason, 0) + n
            self.first[reason] = min(position, self.first.get(reason, position))

    def merge(self, other: Tally) -> None:
        """Take over another tally's records."""
        for reason, n in other.counts.items():
            self.add(reason, other.first[reason], n)
        self.rivals |= other.rivals

    def __str__(self) -> str:
        """`2 multi-allelic (first at 1005)`, the reasons in alphabetical order."""
        return ", ".join(
            f"{n} {reason} (first at {self.first[reason]})"
            for reason, n in sorted(self.counts.items())
        )


_BLOCK_ALLELES = 1 << 23
_PART = 8192  # people

Labels = tuple[NDArray[np.str_], NDArray[np.str_], NDArray[np.str_]]


class Texts(Protocol):
    """Names or labels of people, in order; an array (n_samples,) of str is one."""

    @property
    def size(self) -> int:
        """How many."""

    def __getitem__(self, rows: slice, /) -> NDArray[np.str_]:
        """Some of them."""


@dataclass(frozen=True)
class TextsMade:
    """Names or labels that are made when they are needed: memory doesn't grow with people.

    Attributes
    ----------
    size : int
    made : Callable
        `made(start, stop)`: (stop - start,) str.
    """

    size: int
    made: Callable[[int, int], NDArray[np.str_]]

    def __getitem__(self, rows: slice, /) -> NDArray[np.str_]:
        start, stop, _ = rows.indices(self.size)
        return self.made(start, stop)


@dataclass(frozen=True, eq=False)
class Cohort:
    """Who is in a cohort: what a panel says of people, which may be more than fit in memory.

    Attributes
    ----------
    samples, population, superpopulation, ploidy, phased
        As in `Panel`, see `Texts`.
    """

    samples: Texts
    population: Texts
    superpopulation: Texts
    ploidy: int
    phased: bool = True


@dataclass(frozen=True, eq=False)
class Variants:
    """A cohort that need not be in memory.

    Attributes
    ----------
    positions, contig, ref, alt, samples, population, superpopulation, ploidy, build, phased
        As in `Panel`, but for people see `Texts`.
    step : int
        Sites that are read at a time.
    alleles : Callable
        `alleles(start, stop)`: the alleles of these sites, (stop - start, n_haplotypes) int8.
        `start` is a multiple of `step`, `stop` at most `step` further.
    notes : mapping
        What the file's header says of how the cohort was made: keys are words, values lines.
    """

    positions: NDArray[np.int64]
    contig: str
    ref: NDArray[np.str_]
    alt: NDArray[np.str_]
    samples: Texts
    population: Texts
    superpopulation: Texts
    ploidy: int
    build: str
    phased: bool
    step: int
    alleles: Callable[[int, int], NDArray[np.int8]]
    notes: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, panel: Panel, notes: Mapping[str, str] | None = None) -> Self:
        """The variants of a panel."""

        def alleles(start: int, stop: int) -> NDArray[np.int8]:
            return np.ascontiguousarray(panel.haplotypes[:, start:stop].T)

        return cls.like(panel, panel, sites_at_once(panel.n_haplotypes), alleles, notes)

    @classmethod
    def like(
        cls,
        sites: Panel,
        people: Panel | Cohort,
        step: int,
        alleles: Callable[[int, int], NDArray[np.int8]],
        notes: Mapping[str, str] | None = None,
    ) -> Self:
        """The sites of a panel, the people of another or of a cohort."""
        return cls(
            positions=sites.positions,
            contig=sites.contig,
            ref=sites.ref,
            alt=sites.alt,
            samples=people.samples,
            population=people.population,
            superpopulation=people.superpopulation,
            ploidy=people.ploidy,
            build=sites.build,
            phased=people.phased,
            step=step,
            alleles=alleles,
            notes={} if notes is None else notes,
        )

    @property
    def header(self) -> list[tuple[str, str]]:
        """The notes as keys and values of header lines that VCF and PLINK 2 take."""
        return [(f"haplobench_{key}", " ".join(text.split())) for key, text in self.notes.items()]

    @property
    def n_sites(self) -> int:
        """Number of sites."""
        return int(self.positions.size)

    @property
    def n_samples(self) -> int:
        """Number of people."""
        return int(self.samples.size)

    @property
    def n_haplotypes(self) -> int:
        """Number of haplotypes."""
        return self.n_samples * self.ploidy

    @property
    def labelled(self) -> bool:
        """Whether every person has a population label."""
        return bool(self.n_samples) and all(
            bool((population != "").all()) for _, population, _ in parts(self)
        )

    def panel(self) -> Panel:
        """The cohort in memory."""
        haplotypes = np.empty((self.n_haplotypes, self.n_sites), np.int8)
        for start, block in self.blocks():
            haplotypes[:, start : start + block.shape[0]] = block.T
        everybody = slice(0, self.n_samples)
        return Panel(
            haplotypes=haplotypes,
            positions=self.positions,
            contig=self.contig,
            samples=self.samples[everybody],
            ref=self.ref,
            alt=self.alt,
            population=self.population[everybody],
            superpopulation=self.superpopulation[everybody],
            ploidy=self.ploidy,
            build=self.build,
            phased=self.phased,
        )

    def blocks(self) -> Iterator[tuple[int, NDArray[np.int8]]]:
        """Yield (first site, alleles (sites, n_haplotypes) int8), `step` sites at a time."""
        for start in range(0, self.n_sites, self.step):
            yield start, self.alleles(start, min(self.n_sites, start + self.step))


def sites_at_once(n_haplotypes: int) -> int:
    """Sites whose alleles are held at a time, a multiple of 8: 8 MiB, or 8 sites."""
    return max(8, _BLOCK_ALLELES // max(1, n_haplotypes) // 8 * 8)


def bands(
    blocks: Iterable[tuple[int, NDArray[np.int8]]], size: int
) -> Iterator[tuple[int, NDArray[np.int8]]]:
    """Yield (first site, alleles (size, n_haplotypes) int8) of blocks of any size that follow.

    Fewer sites in the last. A band is overwritten by the next one.
    """
    held, start, filled = np.empty((0, 0), np.int8), 0, 0
    for _, block in blocks:
        if not held.size:
            held = np.empty((size, block.shape[1]), np.int8)
        done = 0
        while done < block.shape[0]:
            taken = min(size - filled, block.shape[0] - done)
            held[filled : filled + taken] = block[done : done + taken]
            filled, done = filled + taken, done + taken
            if filled == size:
                yield start, held
                start, filled = start + size, 0
    if filled:
        yield start, held[:filled]


def by_sites(haplotypes: NDArray[np.int8]) -> NDArray[np.int8]:
    """Haplotypes (n, n_sites) of 0 and 1, turned: (n_sites, n) int8, contiguous.

    By way of bits, so that an eighth of the bytes change their order: in a fifth of the time.
    """
    bits = np.ascontiguousarray(np.packbits(haplotypes.view(np.uint8), axis=1).T)
    turned = np.empty((bits.shape[0], 8, bits.shape[1]), np.uint8)
    for place in range(8):
        np.right_shift(bits, 7 - place, out=turned[:, place])
    turned &= 1
    return turned.reshape(-1, bits.shape[1])[: haplotypes.shape[1]].view(np.int8)


def parts(people: Panel | Cohort | Variants) -> Iterator[Labels]:
    """Yield names, populations and superpopulations of 8,192 people at a time."""
    for start in range(0, people.samples.size, _PART):
        rows = slice(start, start + _PART)
        yield people.samples[rows], people.population[rows], people.superpopulation[rows]


MULTI_ALLELIC = "multi-allelic"
INDEL = "indel"
MULTI_NUCLEOTIDE = "multi-nucleotide"
NOT_BASES = "alleles that aren't bases"
STRUCTURAL = "structural variant"
NO_ALTERNATE = "no alternate allele"
DUPLICATE = "duplicate position"
MISSING_CALLS = "missing above threshold"
HETEROZYGOUS = "heterozygous where people have one copy"
UNPHASED = "unphased"

_BASES = frozenset("ACGTNacgtn")
# Reference and alternate that are one base.
_SAME = frozenset(a + b for base in ("Aa", "Cc", "Gg", "Tt") for a in base for b in base)


def reason_to_skip(ref: str, alternates: Sequence[str], *, snps_only: bool) -> str:
    """Why a record can't be a site of a panel; empty if it can.

    Several alternate alleles: `multi-allelic`, of whatever kind. With `snps_only`, one
    alternate allele that is symbolic or a breakend: `structural variant`; written in other
    than bases (0 and 1, I and D): `alleles that aren't bases`; of the reference's length:
    `multi-nucleotide`; of another length: `indel`.
    """
    if not alternates or alternates[0] in (".", ""):
        return NO_ALTERNATE
    if len(alternates) > 1:
        return MULTI_ALLELIC
    alternate = alternates[0]
    if ref in _BASES and alternate in _BASES:
        return NO_ALTERNATE if ref + alternate in _SAME else ""
    if not snps_only:
        return ""
    if _is_symbolic(alternate):
        return STRUCTURAL
    if alternate == "*":
        return INDEL
    if not (_BASES.issuperset(ref) and _BASES.issuperset(alternate)):
        return NOT_BASES
    return MULTI_NUCLEOTIDE if len(ref) == len(alternate) else INDEL


def is_rival(ref: str, alternates: Sequence[str]) -> bool:
    """Whether carriers of a record's alternate alleles have another base at its position, or none.

    A SNP beside such a record would call them reference: the two are one site, split. Carriers
    of an insertion, of a deletion after the position or of a structural variant have the
    reference's base there.
    """
    return any(
        alternate == "*"
        or (not _is_symbolic(alternate) and alternate[:1].upper() != ref[:1].upper())
        for alternate in alternates
        if alternate not in (".", "")
    )


def _is_symbolic(alternate: str) -> bool:
    return alternate[0] == "<" or "[" in alternate or "]" in alternate


def choose_contig(path: Path, contigs: Sequence[str], wanted: Region | None) -> str:
    """The one contig to read, as the file names it.

    Raises FormatError that lists the file's contigs if the wanted one isn't among them, or
    if none is wanted and there are several.
    """
    listed = ", ".join(contigs[:30]) + (", …" if len(contigs) > 30 else "")
    if wanted is None:
        if len(contigs) == 1:
            return contigs[0]
        if not contigs:
            raise FormatError(f"{path}: holds no variants")
        raise FormatError(
            f"{path}: holds several contigs ({listed})", hint="choose one by contig or region"
        )
    for contig in contigs:
        if contig == wanted.contig:
            return contig
    # With more than 22 autosomes, 23 isn't X.
    human = not any(contig.isdigit() and int(contig) > 26 for contig in contigs)
    for contig in contigs:
        plainly = contig.removeprefix("chr") == wanted.contig.removeprefix("chr")
        if plainly or (human and same_contig(contig, wanted.contig)):
            return contig
    raise FormatError(f"{path}: no contig {wanted.contig!r}; it holds {listed or 'none'}")


def choose_sites(
    positions: NDArray[np.int64],
    ref: Sequence[str],
    alternates: Sequence[Sequence[str]],
    wanted: Region | None,
    *,
    snps_only: bool,
) -> tuple[NDArray[np.int64], Tally]:
    """Which records of one contig can be sites: (indices, the others counted by reason).

    Records outside `wanted` are passed over, and aren't counted.
    """
    inside = np.ones(positions.size, np.bool_)
    if wanted is not None:
        inside &= positions >= wanted.start
        if wanted.end is not None:
            inside &= positions <= wanted.end
    kept: list[int] = []
    skipped = Tally()
    for i in np.flatnonzero(inside).tolist():
        reason = reason_to_skip(ref[i], alternates[i], snps_only=snps_only)
        if reason:
            skipped.add(reason, int(positions[i]))
            if is_rival(ref[i], alternates[i]):
                skipped.rivals.add(int(positions[i]))
        else:
            kept.append(i)
    return np.array(kept, np.int64), skipped
