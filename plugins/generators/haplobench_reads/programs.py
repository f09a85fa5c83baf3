"""The real ART and DWGSIM, run once per haplotype."""

from __future__ import annotations

import gzip
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from haplobench import BenchError, RunContext
from haplobench_reads.genome import Genomes, write_fasta
from haplobench_reads.individual import Individual
from haplobench_reads.needs import PROGRAMS
from haplobench_reads.params import ArtReadsParams, DwgsimReadsParams

_LARGEST_SEED = 2**31 - 1


@dataclass(frozen=True)
class Command:
    """A command, and the FASTQ files (one per mate, perhaps with .gz added) it writes."""

    arguments: Sequence[str]
    outputs: Sequence[Path]


def run_program(
    individual: Individual,
    genomes: Genomes,
    params: ArtReadsParams | DwgsimReadsParams,
    ctx: RunContext,
    files: Sequence[gzip.GzipFile],
) -> None:
    """Sequence each haplotype with a program and append its reads to `files`, one per mate.

    Intermediate files are in `ctx.scratch`. Raises BenchError if the program is missing or
    fails.
    """
    program = PROGRAMS[params.backend]
    if shutil.which(program.name) is None:
        raise BenchError(f"program {program.name} is not on PATH", hint=program.install)
    for haplotype, alleles in enumerate(individual.haplotypes):
        # A 31-bit seed; 0 and below mean the clock to some.
        seed = 1 + ctx.seed_for("reads", "program", individual.index, haplotype) % _LARGEST_SEED
        coverage = params.coverage / individual.ploidy
        with tempfile.TemporaryDirectory(dir=ctx.scratch) as folder:
            fasta = Path(folder) / f"{individual.haplotype_name(haplotype)}.fa"
            write_fasta(fasta, individual.haplotype_name(haplotype), genomes.haplotype(alleles))
            if isinstance(params, ArtReadsParams):
                command = art_command(fasta, coverage, seed, params)
            else:
                command = dwgsim_command(fasta, coverage, seed, params)
            _run(command.arguments)
            for output, file in zip(command.outputs, files, strict=True):
                _append(output, file, program.name)


def art_command(fasta: Path, coverage: float, seed: int, params: ArtReadsParams) -> Command:
    """`art_illumina` for one FASTA (see its --help, version 2.5.8)."""
    prefix = fasta.with_suffix("")
    arguments = ["art_illumina", "-q", "-na", "-ss", params.sequencing_system, "-i", str(fasta)]
    arguments += ["-l", str(params.read_length), "-f", str(coverage), "-rs", str(seed)]
    if params.paired:
        arguments += ["-p", "-m", str(params.fragment_mean), "-s", str(params.fragment_sd)]
        outputs = [prefix.with_name(f"{prefix.name}_{mate}.fq") for mate in (1, 2)]
        return Command([*arguments, "-o", f"{prefix}_"], outputs)
    return Command([*arguments, "-o", str(prefix)], [prefix.with_suffix(".fq")])


def dwgsim_command(fasta: Path, coverage: float, seed: int, params: DwgsimReadsParams) -> Command:
    """`dwgsim` for one haploid FASTA, adding no variants and no random reads of its own."""
    prefix = fasta.with_suffix("")
    errors = "-".join(str(rate) for rate in params.error_rates)
    length = str(params.read_length)
    arguments = ["dwgsim", "-H", "-r", "0", "-y", "0", "-o", "1", "-z", str(seed)]
    arguments += ["-C", str(coverage), "-e", errors, "-E", errors]
    arguments += ["-1", length, "-2", length if params.paired else "0"]
    arguments += ["-d", str(round(params.fragment_mean)), "-s", str(params.fragment_sd)]
    mates = (1, 2) if params.paired else (1,)
    outputs = [prefix.with_name(f"{prefix.name}.bwa.read{mate}.fastq") for mate in mates]
    return Command([*arguments, str(fasta), str(prefix)], outputs)


def _run(arguments: Sequence[str]) -> None:
    done = subprocess.run(arguments, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise BenchError(
            f"{arguments[0]} failed with exit status {done.returncode}: "
            f"{said[-1] if said else 'it said nothing'}"
        )


def _append(output: Path, file: gzip.GzipFile, program: str) -> None:
    """Append a FASTQ file to an open one; newer DWGSIM gzips its own."""
    packed = output.with_name(f"{output.name}.gz")
    if packed.exists():
        with gzip.open(packed) as source:
            shutil.copyfileobj(source, file, 1 << 20)
    elif output.exists():
        with output.open("rb") as source:
            shutil.copyfileobj(source, file, 1 << 20)
    else:
        # ART exits with status 0 when it can't read its input.
        raise BenchError(f"{program} wrote no {output.name}")
