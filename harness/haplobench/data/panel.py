"""Panel: phased haplotypes with their sites and samples. Needs numpy, our errors and files only."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any, Self, cast
from zipfile import BadZipFile

import numpy as np
from numpy.typing import ArrayLike, NDArray

from haplobench.data.bits import Bits, kept_as_bits, pack_bits
from haplobench.errors import PanelError
from haplobench.files import new_folder, parse_json, read_regular

MISSING = -1
UNREADABLE = (
    *(OSError, EOFError, ValueError, KeyError, TypeError, AttributeError),
    *(RecursionError, BadZipFile, zlib.error),
)
"""What reading a damaged folder of arrays raises."""
_FORMAT = 1
_BLOCK_BYTES = 1 << 26
_CACHED_ROWS = 64


@dataclass(frozen=True, eq=False)
class Panel:
    """Haplotypes of people at the variant sites of one contig.

    Attributes
    ----------
    haplotypes : (n_haplotypes, n_sites) int8
        0 reference, 1 alternate, -1 missing. May be a read-only `numpy.memmap`, so that
        a chromosome never has to fit in memory. Rows `ploidy * i` to
        `ploidy * (i + 1) - 1` belong to `samples[i]`. Of a panel made from `Bits` they are
        unpacked, eight times as large, when they are first asked for; `alleles`,
        `haplotype_blocks`, `site_rows` and what gives bits do without.
    positions : (n_sites,) int64
        bp, 1-based, strictly increasing.
    contig : str
        Name of the chromosome, as in the source (`20` or `chr20`).
    samples : (n_samples,) str
        Unique names of the people.
    ref, alt : (n_sites,) str
        Alleles; `N` where the source names none.
    population, superpopulation : (n_samples,) str
        Labels; the empty string where there is none.
    ploidy : int
        Haplotypes per person.
    build : str
        Genome build, for example `GRCh37`; empty if unknown.
    phased : bool
        False where the order of a person's alleles carries no information (PLINK 1).
    family : (n_samples,) str
        People of one label are relatives, whom a split keeps on one side; the empty string
        where there are none.
    left_out : mapping
        Records of its source that were left out on reading, by reason: no part of the digest.

    Raises
    ------
    PanelError
        If shapes, dtypes, alleles, positions, samples or ploidy contradict the above.
    """

    haplotypes: NDArray[np.int8]
    positions: NDArray[np.int64]
    contig: str
    samples: NDArray[np.str_]
    ref: NDArray[np.str_] = field(default_factory=lambda: np.empty(0, "U1"))
    alt: NDArray[np.str_] = field(default_factory=lambda: np.empty(0, "U1"))
    population: NDArray[np.str_] = field(default_factory=lambda: np.empty(0, "U1"))
    superpopulation: NDArray[np.str_] = field(default_factory=lambda: np.empty(0, "U1"))
    ploidy: int = 2
    build: str = ""
    phased: bool = True
    family: NDArray[np.str_] = field(default_factory=lambda: np.empty(0, "U1"))
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        held: object = self.haplotypes
        if isinstance(held, Bits):
            self.__dict__["bits"] = held
            del self.__dict__["haplotypes"]
        elif not isinstance(held, np.ndarray) or held.ndim != 2:
            raise PanelError("haplotypes: expected a 2-D array (n_haplotypes, n_sites)")
        elif held.dtype != np.int8:
            raise PanelError(f"haplotypes: expected int8, found {held.dtype}")
        n_haplotypes, n_sites = held.shape
        if self.ploidy < 1 or n_haplotypes % self.ploidy:
            raise PanelError(
                f"ploidy: {n_haplotypes} haplotypes can't be shared out as {self.ploidy} per person"
            )
        n_samples = n_haplotypes // self.ploidy
        positions = np.asarray(self.positions, np.int64)
        object.__setattr__(self, "positions", positions)
        if positions.shape != (n_sites,):
            raise PanelError(f"positions: expected {n_sites}, found shape {positions.shape}")
        if n_sites and positions[0] < 1:
            raise PanelError(f"positions: 1-based bp expected, found {positions[0]}")
        steps = np.flatnonzero(np.diff(positions) <= 0)
        if steps.size:
            i = int(steps[0])
            raise PanelError(
                f"positions: must increase strictly, found {positions[i]} then {positions[i + 1]} "
                f"(sites {i} and {i + 1})"
            )
        for name, length, default in (
            ("samples", n_samples, None),
            ("ref", n_sites, "N"),
            ("alt", n_sites, "N"),
            ("population", n_samples, ""),
            ("superpopulation", n_samples, ""),
            ("family", n_samples, ""),
        ):
            values = np.asarray(getattr(self, name))
            if values.size == 0 and default is not None:
                values = np.full(length, default)
            if values.shape != (length,):
                raise PanelError(f"{name}: expected {length} values, found shape {values.shape}")
            object.__setattr__(self, name, values.astype(np.str_))
        names, counts = np.unique(self.samples, return_counts=True)
        if names.size != n_samples:
            raise PanelError(f"samples: {str(names[counts > 1][0])!r} occurs more than once")
        # A memory-mapped panel was validated when it was written.
        if isinstance(held, np.ndarray) and not isinstance(held, np.memmap) and held.size:
            low, high = int(held.min()), int(held.max())
            if low < MISSING or high > 1:
                bad = low if low < MISSING else high
                raise PanelError(f"haplotypes: alleles are 0, 1 or -1 (missing), found {bad}")

    def __getattr__(self, name: str) -> Any:
        if name == "haplotypes" and (bits := self.bits) is not None:
            haplotypes = bits.unpacked()
            haplotypes.flags.writeable = False
            self.__dict__[name] = haplotypes
            return haplotypes
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def bits(self) -> Bits | None:
        """The haplotypes as bits, where the panel is kept so."""
        return cast("Bits | None", self.__dict__.get("bits"))

    @property
    def held(self) -> NDArray[np.int8]:
        """What the panel is kept as, for `dataclasses.replace`: its bits, or its haplotypes."""
        held: NDArray[np.int8] = self.__dict__["haplotypes" if self.bits is None else "bits"]
        return held

    def changed(self, **fields: Any) -> Panel:
        """The panel with some fields changed; haplotypes that are kept as bits stay so."""
        panel = replace(self, **({"haplotypes": self.held} | fields))
        return panel if "haplotypes" in fields else panel.drawn(self.origin)

    @property
    def origin(self) -> tuple[tuple[Panel, NDArray[np.int64]], ...]:
        """Panels of which the haplotypes were drawn, and which of each, in their order.

        The panel itself unless it was drawn of others at the same sites.
        """
        itself = ((self, np.arange(self.n_haplotypes)),)
        return cast("tuple[tuple[Panel, NDArray[np.int64]], ...]", vars(self).get("origin", itself))

    @property
    def fleeting(self) -> bool:
        """Whether it was drawn of a panel and is so large that what it tells isn't to be kept."""
        return self.bits is not None and "origin" in vars(self)

    def drawn(self, origin: tuple[tuple[Panel, NDArray[np.int64]], ...]) -> Panel:
        """The panel itself, with the `origin` of its haplotypes noted."""
        vars(self)["origin"] = origin
        return self

    def alleles(self, rows: Any = slice(None), columns: slice = slice(None)) -> NDArray[np.int8]:
        """Some haplotypes, by slice or indices, at adjacent sites: int8, not to be written to."""
        if self.bits is not None:
            return self.bits.unpacked(rows, columns)
        alleles: NDArray[np.int8] = self.haplotypes[:, columns][rows]
        return alleles

    def __repr__(self) -> str:
        return f"<Panel: {'; '.join(f'{name} {value}' for name, value in self._facts().items())}>"

    def _repr_html_(self) -> str:
        """The panel as notebooks show it."""
        rows = [
            f"<tr><th>{escape(name)}</th><td style='text-align: left'>{escape(value)}</td></tr>"
            for name, value in self._facts().items()
        ]
        return f"<table>{''.join(rows)}</table>"

    def _facts(self) -> dict[str, str]:
        """What a reader wants to know, in words."""
        facts = {"haplotypes": f"{self.n_haplotypes:,} of {self.n_samples:,} people"}
        if self.n_sites:
            place = f"{self.contig or 'no contig'}:{self.positions[0]:,}-{self.positions[-1]:,}"
            facts["sites"] = f"{self.n_sites:,} at {place}" + f" ({self.build})" * bool(self.build)
        else:
            facts["sites"] = "none"
        facts["ploidy"] = f"{self.ploidy}, {'phased' if self.phased else 'not phased'}"
        for name, labels in (
            ("populations", self.population), ("superpopulations", self.superpopulation)
        ):  # fmt: skip
            values, counts = np.unique(labels[labels != ""], return_counts=True)
            if values.size:
                shown = [f"{v} {n:,}" for v, n in zip(values[:30], counts, strict=False)]
                facts[name] = ", ".join(shown) + ", …" * (values.size > 30)
        if self.left_out:
            facts["left out"] = ", ".join(f"{n:,} {why}" for why, n in self.left_out.items())
        return facts

    @property
    def n_haplotypes(self) -> int:
        """Number of haplotypes (rows)."""
        return int(self.samples.shape[0]) * self.ploidy

    @property
    def n_sites(self) -> int:
        """Number of variant sites (columns)."""
        return int(self.positions.shape[0])

    @property
    def n_samples(self) -> int:
        """Number of people."""
        return int(self.samples.shape[0])

    @property
    def span(self) -> int:
        """Distance between the first and the last site, both included, in bp."""
        return int(self.positions[-1] - self.positions[0] + 1) if self.n_sites else 0

    @cached_property
    def labelled(self) -> bool:
        """Whether every person has a population label."""
        return bool(self.n_samples and (self.population != "").all())

    @cached_property
    def has_missing(self) -> bool:
        """Whether any allele is missing."""
        if self.bits is not None:
            return False
        return any(bool((block < 0).any()) for _, block in self.haplotype_blocks())

    @cached_property
    def allele_counts(self) -> NDArray[np.int64]:
        """Copies of the alternate allele and haplotypes called: (2, n_sites) int64."""
        if self.bits is not None:
            return np.stack([self.bits.counts(), np.full(self.n_sites, self.n_haplotypes)])
        return count_alleles(self.haplotypes)

    @cached_property
    def frequencies(self) -> NDArray[np.float64]:
        """Alternate allele frequency among the called: (n_sites,) float64; 0 where none is."""
        alternate, called = self.allele_counts
        frequencies = np.zeros(self.n_sites)
        np.divide(alternate, called, out=frequencies, where=called > 0)
        return frequencies

    @property
    def maf(self) -> NDArray[np.float64]:
        """Minor allele frequency: (n_sites,) float64 in [0, 0.5]."""
        return np.minimum(self.frequencies, 1 - self.frequencies)

    def common_sites(self, min_maf: float) -> NDArray[np.bool_]:
        """Sites whose minor allele is at least as frequent as `min_maf`: (n_sites,) bool.

        Compared as counts: as frequencies, 6 of 600 and 594 of 600 would round apart.
        """
        alternate, called = self.allele_counts
        minor = np.minimum(alternate, called - alternate)
        common: NDArray[np.bool_] = minor >= (min_maf - 1e-9) * called
        return common

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of everything in the panel: what two equal panels share."""
        sha = hashlib.sha256()
        head = [
            self.contig,
            self.build,
            self.ploidy,
            self.phased,
            [self.n_haplotypes, self.n_sites],
        ]
        sha.update(json.dumps(head).encode())
        sha.update(self.positions.tobytes())
        for texts in (self.samples, self.ref, self.alt, self.population, self.superpopulation):
            sha.update("\0".join(texts.tolist()).encode() + b"\1")
        # A panel without families keeps the digest that it had before panels knew them.
        if (self.family != "").any():
            sha.update("\0".join(self.family.tolist()).encode() + b"\1")
        for _, block in self.haplotype_blocks():
            sha.update(np.ascontiguousarray(block).data)
        return sha.hexdigest()

    @property
    def haplotype_populations(self) -> NDArray[np.str_]:
        """Population of each haplotype: (n_haplotypes,) str."""
        return np.repeat(self.population, self.ploidy)

    @property
    def haplotype_superpopulations(self) -> NDArray[np.str_]:
        """Superpopulation of each haplotype: (n_haplotypes,) str."""
        return np.repeat(self.superpopulation, self.ploidy)

    def dosages(self) -> NDArray[np.int8]:
        """Alternate alleles per person: (n_samples, n_sites) int8, -1 where any is missing."""
        dosage = np.empty((self.n_samples, self.n_sites), np.int8)
        for start, block in self.dosage_blocks():
            dosage[start : start + block.shape[0]] = block
        return dosage

    def dosage_blocks(self) -> Iterator[tuple[int, NDArray[np.int8]]]:
        """Yield (first person, people's dosages) in blocks of at most 64 MiB of alleles."""
        step = max(1, _BLOCK_BYTES // max(1, self.ploidy * self.n_sites))
        for start in range(0, self.n_samples, step):
            rows = self.alleles(slice(self.ploidy * start, self.ploidy * (start + step)))
            dosage = summed_strands(rows, self.ploidy)
            if self.has_missing:
                strands = (rows[strand :: self.ploidy] for strand in range(self.ploidy))
                dosage[np.logical_or.reduce([strand < 0 for strand in strands])] = MISSING
            yield start, dosage

    def packed_sites(self, index: ArrayLike | None = None) -> NDArray[np.uint64]:
        """Alternate alleles as bits, a row per site: (n_sites, ceil(n_haplotypes / 64)) uint64.

        Of all sites, or of some: `index` is a boolean mask or increasing indices. Bits past the
        last haplotype are 0, so that AND and population count need no mask.

        Raises PanelError if any allele is missing.
        """
        self._refuse_missing("packed_sites")
        chosen = np.arange(self.n_sites)[slice(None) if index is None else np.asarray(index)]
        if self.bits is None or not chosen.size:
            return pack_bits(self.site_rows(chosen))
        first = int(chosen[0])
        return self.bits.turned(slice(first, int(chosen[-1]) + 1))[chosen - first]

    def packed_haplotypes(
        self, rows: Any = slice(None), columns: slice = slice(None)
    ) -> NDArray[np.uint64]:
        """Alternate alleles as bits, a row per haplotype; of some, by slice or indices.

        (n, ceil(adjacent sites / 64)) uint64, not to be written to.

        Raises PanelError if any allele is missing.
        """
        self._refuse_missing("packed_haplotypes")
        if self.bits is not None:
            return self.bits.cut(rows, columns)
        return pack_bits(np.ascontiguousarray(self.haplotypes[:, columns][rows]))

    def _refuse_missing(self, what: str) -> None:
        if self.has_missing:
            raise PanelError(f"{what}: the panel has missing alleles; filter them first")

    def haplotype_blocks(self) -> Iterator[tuple[int, NDArray[np.int8]]]:
        """Yield (first row, rows) in blocks of at most 64 MiB."""
        step = max(1, _BLOCK_BYTES // max(1, self.n_sites))
        for start in range(0, self.n_haplotypes, step):
            yield start, self.alleles(slice(start, start + step))

    def select_sites(self, index: ArrayLike) -> Panel:
        """The panel at some sites: `index` is a boolean mask or increasing indices.

        At all of them its haplotypes are not copied.
        """
        chosen = np.asarray(index)
        chosen = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
        everywhere = chosen.size == self.n_sites and bool((np.diff(chosen) == 1).all())
        held: Any = self.held
        if not everywhere:
            bits = self.bits
            held = columns_of(self.haplotypes, chosen) if bits is None else bits.columns(chosen)
        return replace(
            self,
            haplotypes=held,
            positions=self.positions[chosen],
            ref=self.ref[chosen],
            alt=self.alt[chosen],
        )

    def site_rows(self, index: ArrayLike) -> NDArray[np.int8]:
        """Alleles at some sites, a row per site: (n_chosen, n_haplotypes) int8, contiguous."""
        chosen = np.arange(self.n_sites)[np.asarray(index)]
        rows = np.empty((chosen.size, self.n_haplotypes), np.int8)
        if not chosen.size:
            return rows
        # Of bits, nothing is unpacked but what lies between the first and the last.
        first = 0 if self.bits is None else int(chosen[0])
        between = slice(first, int(chosen[-1]) + 1)
        for start in range(0, self.n_haplotypes, _CACHED_ROWS):
            some = slice(start, start + _CACHED_ROWS)
            rows[:, some] = columns_of(self.alleles(some, between), chosen - first).T
        return rows

    def select_samples(self, index: ArrayLike) -> Panel:
        """The panel of some people, in the order given: `index` is a boolean mask or indices."""
        chosen = np.arange(self.n_samples)[np.asarray(index)]
        rows = (chosen[:, None] * self.ploidy + np.arange(self.ploidy)).ravel()
        held: Any = self.bits.take(rows) if self.bits is not None else self.haplotypes[rows]
        panel = replace(
            self,
            haplotypes=held,
            samples=self.samples[chosen],
            population=self.population[chosen],
            superpopulation=self.superpopulation[chosen],
            family=self.family[chosen],
        )
        # Of a panel joined of several in other orders nobody asks twice.
        if len(self.origin) > 1:
            return panel
        ((of, own),) = self.origin
        return panel.drawn(((of, own[rows]),))

    def as_haploid(self) -> Panel:
        """Each haplotype as a person of its own: HG00096's are HG00096_A and HG00096_B.

        Families, which say what one person shares with another, are left behind. Raises
        PanelError for unphased panels.
        """
        if not self.phased:
            raise PanelError("haploid: the panel is unphased, so its haplotypes aren't known")
        sides = [chr(ord("A") + i) for i in range(self.ploidy)]
        names = [f"{name}_{side}" for name in self.samples for side in sides]
        return replace(
            self,
            haplotypes=self.held,
            samples=self.samples if self.ploidy == 1 else np.array(names, np.str_),
            population=self.haplotype_populations,
            superpopulation=self.haplotype_superpopulations,
            family=np.empty(0, "U1"),
            ploidy=1,
        )

    def with_haplotypes(
        self,
        haplotypes: NDArray[np.int8],
        *,
        samples: ArrayLike | None = None,
        population: ArrayLike | None = None,
        superpopulation: ArrayLike | None = None,
        family: ArrayLike | None = None,
    ) -> Panel:
        """Other people at the same sites; unnamed people become `synthetic1`, `synthetic2`, …"""
        n = haplotypes.shape[0] // self.ploidy
        empty = np.empty(0, "U1")
        return replace(
            self,
            haplotypes=haplotypes,
            samples=synthetic_names(n) if samples is None else np.asarray(samples, np.str_),
            population=empty if population is None else np.asarray(population, np.str_),
            superpopulation=empty
            if superpopulation is None
            else np.asarray(superpopulation, np.str_),
            family=empty if family is None else np.asarray(family, np.str_),
        )

    def same_sites(self, other: Panel) -> bool:
        """Whether both panels have the same sites: contig, positions and alleles."""
        return (
            self.contig == other.contig
            and np.array_equal(self.positions, other.positions)
            and np.array_equal(self.ref, other.ref)
            and np.array_equal(self.alt, other.alt)
        )

    def save(self, directory: Path | str) -> None:
        """Write the panel as a folder (whole or not at all); `Panel.load` maps it into memory.

        The folder holds `haplotypes.npy`, `sites.npz`, `samples.npz` and `panel.json`. Of 64 Mi
        alleles or more, none of them missing, haplotypes are kept as bits.
        An existing folder of that name is replaced.
        """
        target = Path(directory)
        scratch = new_folder(target.parent, f".{target.name}.")
        try:
            np.save(scratch / "haplotypes.npy", self._stored())
            np.savez_compressed(
                scratch / "sites.npz", positions=self.positions, ref=self.ref, alt=self.alt
            )
            np.savez_compressed(
                scratch / "samples.npz",
                samples=self.samples,
                population=self.population,
                superpopulation=self.superpopulation,
                family=self.family,
            )
            head = {
                "format": _FORMAT,
                "contig": self.contig,
                "build": self.build,
                "ploidy": self.ploidy,
                "phased": self.phased,
                "digest": self.digest,
            }
            (scratch / "panel.json").write_text(json.dumps(head, indent=1) + "\n")
            for path in scratch.iterdir():
                with path.open("rb") as handle:
                    os.fsync(handle.fileno())
            if target.exists():
                shutil.rmtree(target)
            scratch.rename(target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _stored(self) -> NDArray[np.int8] | NDArray[np.uint64]:
        """Haplotypes as they are written: as bits where they are many and none is missing."""
        if self.bits is not None:
            return self.bits.words
        if not kept_as_bits(self.n_haplotypes, self.n_sites) or self.has_missing:
            return self.haplotypes
        return Bits.of(self.haplotypes).words

    @classmethod
    def load(cls, directory: Path | str) -> Self:
        """Open a folder written by `save`, its haplotypes mapped into memory read-only.

        Raises PanelError if the folder isn't a whole panel.
        """
        source = Path(directory)
        try:
            head: dict[str, Any] = parse_json(read_regular(source / "panel.json"))
            with np.load(source / "sites.npz") as sites, np.load(source / "samples.npz") as people:
                arrays = {name: table[name] for table in (sites, people) for name in table.files}
            haplotypes: Any = np.load(source / "haplotypes.npy", mmap_mode="r")
            form, digest = head.pop("format", None), str(head.pop("digest", ""))
        except UNREADABLE as error:
            raise PanelError(f"{source}: not a saved panel: {error}") from None
        if form != _FORMAT:
            raise PanelError(f"{source}: format {form}, expected {_FORMAT}")
        kinds = {"contig": str, "build": str, "ploidy": int, "phased": bool}
        for name, kind in kinds.items():
            if name in head and type(head[name]) is not kind:
                raise PanelError(
                    f"{source}: not a saved panel: {name} is {head[name]!r:.60}, expected "
                    f"{kind.__name__}"
                )
        try:
            if haplotypes.dtype == np.uint64:
                haplotypes = _mapped_bits(source, arrays["positions"].size)
            panel = cls(haplotypes=haplotypes, **arrays, **head)
        except (TypeError, ValueError, AttributeError) as error:
            raise PanelError(f"{source}: not a saved panel: {error}") from None
        panel.__dict__["digest"] = digest
        return panel


def _mapped_bits(source: Path, n_sites: int) -> Bits:
    """The bits of a saved panel. Kernels take no read-only arrays: what is written stays here."""
    words = np.asarray(np.load(source / "haplotypes.npy", mmap_mode="c"))
    if words.ndim != 2 or words.shape[1] != -(-n_sites // 64):
        raise ValueError(f"haplotypes: {words.shape} words of 64 bits for {n_sites} sites")
    return Bits(words, n_sites)


def summed_strands(haplotypes: NDArray[np.int8], ploidy: int) -> NDArray[np.int8]:
    """Sums over each person's haplotypes: (n_samples, n_sites) int8, laid out as they are."""
    total = np.array(haplotypes[::ploidy], np.int8)
    for strand in range(1, ploidy):  # much faster than a sum along a short axis
        total += haplotypes[strand::ploidy]
    return total


def count_alleles(haplotypes: NDArray[np.int8]) -> NDArray[np.int64]:
    """Copies of the alternate allele and haplotypes called: (2, n_sites) int64."""
    counts = np.zeros((2, haplotypes.shape[1]), np.int64)
    for start in range(0, haplotypes.shape[0], 255):  # as many as a byte counts, the fast way
        rows = haplotypes[start : start + 255]
        counts[0] += (rows == 1).sum(axis=0, dtype=np.uint8)
        counts[1] += (rows >= 0).sum(axis=0, dtype=np.uint8)
    return counts


def columns_of(matrix: NDArray[np.int8], index: NDArray[Any]) -> NDArray[np.int8]:
    """Some columns, by mask or indices: (rows, n_chosen) int8, contiguous, a copy."""
    chosen = np.flatnonzero(index) if index.dtype == bool else index
    if chosen.size and (np.diff(chosen) == 1).all():
        return np.array(matrix[:, chosen[0] : chosen[-1] + 1], np.int8, order="C")
    # Ten times as fast as by index, which makes a transposed array first.
    return np.take(np.asarray(matrix), chosen, axis=1)


def synthetic_names(n: int, start: int = 0) -> NDArray[np.str_]:
    """Names for people who have none: `synthetic{start + 1}` … `synthetic{start + n}`."""
    return np.char.add("synthetic", np.arange(start + 1, start + n + 1).astype(np.str_))
