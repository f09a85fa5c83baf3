"""Rule-based generators: sequencing reads of people drawn by site frequency; random sequence.

The rule-based generators, their parameters and programs, light to import.
"""

from __future__ import annotations

import math
from typing import Literal, Self

from pydantic import Field, model_validator

from haplobench import Binary, GeneratorSpec, Params, hookimpl

_TARGET = "haplobench_reads.generator:ReadSimulator"
PROGRAMS = {
    "art_illumina": Binary("art_illumina", "apt-get install art-nextgen-simulation-tools"),
    "dwgsim": Binary("dwgsim", "apt-get install dwgsim"),
}
# Longest read of each of ART's built-in profiles, bp (art_illumina --help, 2.5.8).
ART_READ_LENGTHS = {
    "GA1": 44,
    "GA2": 75,
    "HS10": 100,
    "HS20": 100,
    "HS25": 150,
    "HSXn": 150,
    "HSXt": 150,
    "MinS": 50,
    "MSv1": 250,
    "MSv3": 250,
    "NS50": 75,
}
# From here on ART simulates mate pairs instead of paired ends.
_ART_MATE_PAIR = 2000


class ReadsParams(Params):
    """What is sequenced, whatever simulates it.

    `reads_individuals`: how many people get reads: those whose index (from 0) is below it. 0: none.
    `coverage`: mean depth of one person over the region, both haplotypes together.
    `read_length`: bp.
    `paired`: paired-end reads (forward, reverse) or single reads.
    `fragment_mean`, `fragment_sd`: normal distribution of fragment lengths, bp; never below the
    read length.
    """

    reads_individuals: int = Field(1, ge=0)
    coverage: float = Field(1.0, gt=0, le=10_000)
    read_length: int = Field(150, ge=20, le=1000)
    paired: bool = True
    fragment_mean: float = Field(400.0, gt=0, le=100_000)
    fragment_sd: float = Field(50.0, ge=0, le=50_000)

    @property
    def longest_template(self) -> int:
        """The sequence needed for a typical read or pair, bp."""
        return math.ceil(self.fragment_mean) if self.paired else self.read_length

    @model_validator(mode="after")
    def _fragments_hold_reads(self) -> Self:
        if self.fragment_mean < self.read_length:
            raise ValueError(
                f"fragment_mean {self.fragment_mean:g} is shorter than read_length "
                f"{self.read_length}; expected at least as long"
            )
        return self


class BuiltinReadsParams(ReadsParams):
    """Parameters of `reads`.

    `quality_shift`: added to the mean Phred quality of every cycle (ART's --qShift).
    `insertion_rates`, `deletion_rates`: indel errors per base of first and second reads.
    `error_free`: leave out substitution and indel errors; qualities stay as they are.
    """

    backend: Literal["builtin"] = "builtin"
    quality_shift: float = Field(0.0, ge=-30, le=30)
    insertion_rates: tuple[float, float] = (9e-5, 1.5e-4)
    deletion_rates: tuple[float, float] = (1.1e-4, 2.3e-4)
    error_free: bool = False

    @model_validator(mode="after")
    def _rates_are_rates(self) -> Self:
        for rate in (*self.insertion_rates, *self.deletion_rates):
            if not 0 <= rate <= 0.1:
                raise ValueError(f"indel error rate {rate:g}: expected 0 to 0.1 per base")
        return self


class ArtReadsParams(ReadsParams):
    """Parameters of `reads-art`.

    `sequencing_system`: ART's built-in profile (--seqSys): HS25 is the HiSeq 2500.
    """

    backend: Literal["art_illumina"] = "art_illumina"
    sequencing_system: Literal[
        "GA1", "GA2", "HS10", "HS20", "HS25", "HSXn", "HSXt", "MinS", "MSv1", "MSv3", "NS50"
    ] = "HS25"

    @model_validator(mode="after")
    def _art_can(self) -> Self:
        longest = ART_READ_LENGTHS[self.sequencing_system]
        if self.read_length > longest:
            raise ValueError(
                f"read_length {self.read_length}: {self.sequencing_system} has at most {longest}"
            )
        if self.paired and self.fragment_mean >= _ART_MATE_PAIR:
            raise ValueError(
                f"fragment_mean {self.fragment_mean:g}: ART makes mate pairs from "
                f"{_ART_MATE_PAIR} on; expected less"
            )
        return self


class DwgsimReadsParams(ReadsParams):
    """Parameters of `reads-dwgsim`.

    `error_rates`: error rate per base at the first and at the last cycle; uniform in between.
    """

    backend: Literal["dwgsim"] = "dwgsim"
    error_rates: tuple[float, float] = (0.001, 0.01)

    @model_validator(mode="after")
    def _rates_are_rates(self) -> Self:
        for rate in self.error_rates:
            if not 0 <= rate <= 1:
                raise ValueError(f"error_rates: found {rate:g}, expected 0 to 1")
        return self


class RandomSequenceParams(Params):
    """Parameters of `random-sequence`: none."""


SPECS = (
    GeneratorSpec(
        name="reads",
        version="1",
        target=_TARGET,
        summary=(
            "Rule-based, ART-style: variants placed by site frequency without LD, and "
            "Illumina-like reads (FASTQ) of the first people from a built-in quality and error "
            "profile."
        ),
        params=BuiltinReadsParams,
        citations=("huang2012",),
    ),
    GeneratorSpec(
        name="reads-art",
        version="1",
        target=_TARGET,
        summary="Variants placed by site frequency without LD; reads by the program art_illumina.",
        params=ArtReadsParams,
        needs=(PROGRAMS["art_illumina"],),
        citations=("huang2012",),
    ),
    GeneratorSpec(
        name="reads-dwgsim",
        version="1",
        target=_TARGET,
        summary="Variants placed by site frequency without LD; reads by the program dwgsim.",
        params=DwgsimReadsParams,
        needs=(PROGRAMS["dwgsim"],),
        citations=("dwgsim",),
    ),
    GeneratorSpec(
        name="random-sequence",
        version="1",
        target="haplobench_reads.genome:RandomSequence",
        summary=(
            "Uniform A, C, G and T under uniform alleles: the strawman that synthetic genomes are "
            "still compared with in print."
        ),
        params=RandomSequenceParams,
    ),
)


@hookimpl
def haplobench_generators() -> list[GeneratorSpec]:
    """All rule-based generators."""
    return list(SPECS)
