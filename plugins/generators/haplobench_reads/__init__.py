"""Rule-based generators: sequencing reads of people drawn by site frequency; random sequence."""

from __future__ import annotations

from haplobench import GeneratorSpec, hookimpl
from haplobench_reads.needs import PROGRAMS
from haplobench_reads.params import (
    ArtReadsParams,
    BuiltinReadsParams,
    DwgsimReadsParams,
    RandomSequenceParams,
)

_TARGET = "haplobench_reads.generator:ReadSimulator"
_ART = "Huang et al. 2012, ART, Bioinformatics 28:593-594, doi:10.1093/bioinformatics/btr708"

READS = GeneratorSpec(
    name="reads",
    version="1",
    target=_TARGET,
    summary=(
        "Rule-based, ART-style: variants placed by site frequency without LD, and Illumina-like "
        "reads (FASTQ) of the first people from a built-in quality and error profile."
    ),
    params=BuiltinReadsParams,
    citations=(_ART,),
)

READS_ART = GeneratorSpec(
    name="reads-art",
    version="1",
    target=_TARGET,
    summary="Variants placed by site frequency without LD; reads by the program art_illumina.",
    params=ArtReadsParams,
    needs=(PROGRAMS["art_illumina"],),
    citations=(_ART,),
)

READS_DWGSIM = GeneratorSpec(
    name="reads-dwgsim",
    version="1",
    target=_TARGET,
    summary="Variants placed by site frequency without LD; reads by the program dwgsim.",
    params=DwgsimReadsParams,
    needs=(PROGRAMS["dwgsim"],),
    citations=("Homer, DWGSIM, https://github.com/nh13/DWGSIM",),
)

RANDOM_SEQUENCE = GeneratorSpec(
    name="random-sequence",
    version="1",
    target="haplobench_reads.random_sequence:RandomSequence",
    summary=(
        "Uniform A, C, G and T under uniform alleles: the strawman that synthetic genomes are "
        "still compared with in print."
    ),
    params=RandomSequenceParams,
)


@hookimpl
def haplobench_generators() -> list[GeneratorSpec]:
    """All rule-based generators."""
    return [READS, READS_ART, READS_DWGSIM, RANDOM_SEQUENCE]
