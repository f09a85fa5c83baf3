"""People by site frequency, and their genomes: the reference with their alleles written into it.

And the strawman still met in print, `random-sequence`: uniform bases under uniform alleles.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from haplobench import BenchError, Panel, ReferenceSequence, RunContext, SampleRequest
from haplobench.data.genome import BASES, surrogate_sequence
from haplobench_reads import RandomSequenceParams

BLOCK = 256
_LINE = 60
_NEWLINE = 10
_ALLELES = list("ACGTNacgtn")
_TRANSITION = np.arange(256, dtype=np.uint8)
_TRANSITION[np.frombuffer(b"ACGTacgt", np.uint8)] = np.frombuffer(b"GTACGTAC", np.uint8)


@dataclass(frozen=True, eq=False)
class Sites:
    """Sites of a panel and how frequent their alternate alleles are.

    `positions` (n_sites,) int64: bp, 1-based.
    `ref`, `alt` (n_sites,) str.
    `frequencies` (n_sites,) float64: of the alternate allele.
    """

    contig: str
    ploidy: int
    positions: NDArray[np.int64]
    ref: NDArray[np.str_]
    alt: NDArray[np.str_]
    frequencies: NDArray[np.float64]

    @classmethod
    def of(cls, panel: Panel) -> Self:
        """The sites of a panel, with its allele frequencies."""
        return cls(
            panel.contig, panel.ploidy, panel.positions, panel.ref, panel.alt, panel.frequencies
        )

    def draw(self, rng: np.random.Generator) -> NDArray[np.int8]:
        """One block: (BLOCK, n_sites) int8, alleles Bernoulli(frequency).

        A person's alleles are independent, so genotypes are in Hardy-Weinberg proportions.
        """
        drawn = rng.random((BLOCK, self.frequencies.size), np.float32)
        return (drawn < self.frequencies.astype(np.float32)).view(np.int8)

    def save(self, path: Path) -> None:
        """Write as npz, without pickle."""
        arrays: dict[str, Any] = {name: np.asarray(value) for name, value in vars(self).items()}
        np.savez_compressed(path, **arrays)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote; BenchError if it isn't that."""
        try:
            with np.load(path, allow_pickle=False) as file:
                return cls(
                    str(file["contig"]),
                    int(file["ploidy"]),
                    *(file[name] for name in ("positions", "ref", "alt", "frequencies")),
                )
        except (OSError, ValueError, KeyError) as error:
            raise BenchError(f"{path}: not the saved sites of a panel: {error}") from None


@dataclass(frozen=True, eq=False)
class Genomes:
    """What individual haplotype sequences are built from.

    `bases` (length,) uint8: the reference in upper-case ASCII, with the sites' reference alleles.
    `start`: position of the first base, bp, 1-based.
    `columns` (n,) int64: columns of the panel that are laid: single-base alleles inside the
    sequence.
    `offsets` (n,) int64: their places in `bases`.
    `alternate` (n,) uint8: their alternate bases, ASCII.
    """

    bases: NDArray[np.uint8]
    start: int
    columns: NDArray[np.int64]
    offsets: NDArray[np.int64]
    alternate: NDArray[np.uint8]

    @classmethod
    def of(cls, reference: ReferenceSequence, sites: Sites) -> Genomes:
        """Lay the sites over a reference.

        Sites with longer or symbolic alleles, or outside the sequence, stay as in the
        reference. Where the panel names no alternate allele (`N`) it is the transition of
        the reference base.
        """
        bases = np.char.upper(reference.bases.view("S1")).view(np.uint8)
        offsets = sites.positions - reference.start
        laid = np.isin(sites.ref, _ALLELES) & np.isin(sites.alt, _ALLELES)
        columns = np.flatnonzero(laid & (offsets >= 0) & (offsets < bases.size))
        offsets = offsets[columns]
        ref, alt = (
            np.frombuffer("".join(alleles[columns]).upper().encode("latin-1"), np.uint8)
            for alleles in (sites.ref, sites.alt)
        )
        unnamed = ord("N")
        bases[offsets] = np.where(ref == unnamed, bases[offsets], ref)
        alternate = np.where(alt == unnamed, _TRANSITION[bases[offsets]], alt)
        return cls(bases, reference.start, columns, offsets, alternate)

    def haplotype(self, alleles: NDArray[np.int8]) -> NDArray[np.uint8]:
        """Bases of one haplotype: (length,) uint8 ASCII, from its alleles (n_sites,)."""
        bases = self.bases.copy()
        carried = alleles[self.columns] == 1
        bases[self.offsets[carried]] = self.alternate[carried]
        return bases

    def require(self, length: int) -> None:
        """BenchError if the sequence is shorter than `length` bp."""
        if self.bases.size < length:
            raise BenchError(
                f"reference sequence: found {self.bases.size} bp, expected at least "
                f"{length} bp for one fragment",
                hint="set shorter fragment_mean and read_length, or reads_individuals: 0",
            )


def reference_under(sites: Sites, ctx: RunContext) -> ReferenceSequence:
    """The sequence under the sites: the dataset's, or seeded random bases where it has none."""
    if ctx.sequence is not None:
        return ctx.sequence
    start, end = int(sites.positions[0]), int(sites.positions[-1])
    return surrogate_sequence(start, end, ctx.rng("reads", "reference"))


def write_fasta(path: Path, name: str, bases: NDArray[np.uint8]) -> None:
    """Write one sequence as FASTA, 60 bases a line."""
    whole = bases.size // _LINE * _LINE
    lines = np.full((whole // _LINE, _LINE + 1), _NEWLINE, np.uint8)
    lines[:, :_LINE] = bases[:whole].reshape(-1, _LINE)
    with path.open("wb") as file:
        file.write(f">{name}\n".encode())
        file.write(lines.tobytes())
        if whole < bases.size:
            file.write(bases[whole:].tobytes() + b"\n")


_FILE = "region.json"


class RandomSequence:
    """Nothing of the training people is used but where their sites are."""

    def fit(
        self, train: Panel, params: RandomSequenceParams, ctx: RunContext
    ) -> FittedRandomSequence:
        """Take over the region: of the dataset's sequence, or of the sites without one.

        Raises BenchError if the panel has no sites.
        """
        if not train.n_sites:
            raise BenchError("training panel: found 0 sites, expected at least 1")
        start, length = int(train.positions[0]), train.span
        if ctx.sequence is not None:
            start, length = ctx.sequence.start, int(ctx.sequence.bases.size)
        return FittedRandomSequence(
            train.n_sites, start, length, ctx.seed_for("random-sequence", "reference")
        )

    def load(self, directory: Path, ctx: RunContext) -> FittedRandomSequence:
        """Read what `FittedRandomSequence.save` wrote; BenchError if it isn't that."""
        path = directory / _FILE
        try:
            return FittedRandomSequence(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise BenchError(f"{path}: not a saved random sequence: {error}") from None


@dataclass(frozen=True)
class FittedRandomSequence:
    """The region to be filled.

    `start`, `length`: of the region, bp, 1-based.
    `seed`: of the background sequence.
    """

    n_sites: int
    start: int
    length: int
    seed: int

    def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[NDArray[np.int8]]:
        """Yield (batch, n_sites) int8, reference or alternate with equal probability."""

        def draw(block: int) -> NDArray[np.int8]:
            rng = ctx.rng("random-sequence", "sample", block)
            return rng.integers(0, 2, (BLOCK, self.n_sites), np.int8)

        return request.batches(draw, BLOCK)

    def reference_sequence(self) -> ReferenceSequence:
        """The background under its haplotypes: uniform A, C, G and T over the region."""
        rng = np.random.default_rng(self.seed)
        return ReferenceSequence(
            BASES[rng.integers(0, 4, self.length, np.int8)], self.start, surrogate=True
        )

    def save(self, directory: Path) -> None:
        """Write `region.json`."""
        (directory / _FILE).write_text(json.dumps(asdict(self)) + "\n")
