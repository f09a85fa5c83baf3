"""`reads`, `reads-art`, `reads-dwgsim`: people by site frequency, and reads of their genomes.

Reads come from the built-in simulator, or from the real ART or DWGSIM, run once per haplotype.
"""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter

from haplobench import BenchError, Panel, RunContext, SampleRequest
from haplobench_reads.genome import BLOCK, Genomes, Sites, reference_under, write_fasta
from haplobench_reads.illumina import gzipped, records, simulate
from haplobench_reads.specs import PROGRAMS, ArtReadsParams, BuiltinReadsParams, DwgsimReadsParams

AnyReadsParams = BuiltinReadsParams | ArtReadsParams | DwgsimReadsParams
_PARAMS: TypeAdapter[AnyReadsParams] = TypeAdapter(
    Annotated[AnyReadsParams, Field(discriminator="backend")]
)
_SITES = "sites.npz"
_PARAMETERS = "params.json"
_LARGEST_SEED = 2**31 - 1


class ReadSimulator:
    """Rule-based generator in the manner of ART; the class of `params` chooses the back end.

    Alleles are drawn site by site from the training frequencies (no LD, Hardy-Weinberg
    genotypes). The first `reads_individuals` people are sequenced while they are sampled.
    """

    def fit(self, train: Panel, params: AnyReadsParams, ctx: RunContext) -> FittedReadSimulator:
        """Count allele frequencies. Raises BenchError if the panel has no sites."""
        if not train.n_sites:
            raise BenchError("training panel: found 0 sites, expected at least 1")
        return FittedReadSimulator(params, Sites.of(train))

    def load(self, directory: Path, ctx: RunContext) -> FittedReadSimulator:
        """Read what `FittedReadSimulator.save` wrote; BenchError if it isn't that."""
        path = directory / _PARAMETERS
        try:
            params = _PARAMS.validate_json(path.read_text())
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise BenchError(f"{path}: not the parameters of saved reads: {reason}") from None
        return FittedReadSimulator(params, Sites.load(directory / _SITES))


@dataclass(frozen=True, eq=False)
class FittedReadSimulator:
    """Allele frequencies, and how people are to be sequenced."""

    params: AnyReadsParams
    sites: Sites

    def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[NDArray[np.int8]]:
        """Yield (batch, n_sites) int8; write FASTQ of the first people to `ctx.artifacts`.

        A person's reads depend on the seed and the person's index alone, and are written with
        the request that holds the person's first haplotype.
        """
        ploidy = self.sites.ploidy
        for block, wanted, filled in request.blocks(BLOCK):
            rows = self._block(block, ctx)[wanted]
            first = request.start + filled.start
            if ctx.group.rank == 0:
                people = range(-(-first // ploidy), -(-(first + rows.shape[0]) // ploidy))
                for person in people:
                    if person < self.params.reads_individuals:
                        ctx.progress(
                            filled.start / request.n_haplotypes, f"reads of person {person + 1}"
                        )
                        self.sequence(person, ctx)
            for start in range(0, rows.shape[0], request.batch_size):
                yield rows[start : start + request.batch_size]
            ctx.progress(filled.stop / request.n_haplotypes, f"{filled.stop} haplotypes")

    def sequence(self, person: int, ctx: RunContext) -> list[Path]:
        """Write one person's reads to `ctx.artifacts`.

        `syntheticN_1.fastq.gz` and `syntheticN_2.fastq.gz`, or `syntheticN.fastq.gz` for
        single reads, N = `person` + 1.

        Raises BenchError if the sequence is too short, or if a program is missing or fails.
        """
        params, ploidy = self.params, self.sites.ploidy
        request = SampleRequest(ploidy, person * ploidy)
        haplotypes = [self._block(block, ctx)[rows] for block, rows, _ in request.blocks(BLOCK)]
        genomes = Genomes.of(reference_under(self.sites, ctx), self.sites)
        genomes.require(params.longest_template)
        name, coverage = f"synthetic{person + 1}", params.coverage / ploidy
        suffixes = ("_1", "_2") if params.paired else ("",)
        paths = [ctx.artifacts / f"{name}{suffix}.fastq.gz" for suffix in suffixes]
        with gzipped(paths) as files:
            for haplotype, alleles in enumerate(np.concatenate(haplotypes)):
                prefix, bases = f"{name}_h{haplotype + 1}", genomes.haplotype(alleles)
                if not isinstance(params, BuiltinReadsParams):
                    # A 31-bit seed; 0 and below mean the clock to some.
                    key = ctx.seed_for("reads", "program", person, haplotype)
                    seed = 1 + key % _LARGEST_SEED
                    run_program(prefix, bases, coverage, seed, params, ctx.scratch, files)
                    continue
                number, rng = 1, ctx.rng("reads", "builtin", person, haplotype)
                for fragments, mates in simulate(bases, coverage, params, rng):
                    for mate, (file, reads) in enumerate(zip(files, mates, strict=True), 1):
                        suffix = f"/{mate}" if params.paired else ""
                        file.write(records(prefix, genomes.start, number, fragments, reads, suffix))
                    number += fragments.start.size
        return paths

    def save(self, directory: Path) -> None:
        """Write `sites.npz` and `params.json`."""
        self.sites.save(directory / _SITES)
        (directory / _PARAMETERS).write_text(json.dumps(self.params.model_dump(), indent=1) + "\n")

    def _block(self, block: int, ctx: RunContext) -> NDArray[np.int8]:
        return self.sites.draw(ctx.rng("reads", "sample", block))


def run_program(
    name: str,
    bases: NDArray[np.uint8],
    coverage: float,
    seed: int,
    params: ArtReadsParams | DwgsimReadsParams,
    scratch: Path,
    files: Sequence[gzip.GzipFile],
) -> None:
    """Sequence a haplotype's `bases` with a program; append its reads to `files`, one per mate.

    Intermediate files are in `scratch`. Raises BenchError if the program is missing or fails.
    """
    program = PROGRAMS[params.backend]
    if shutil.which(program.name) is None:
        raise BenchError(f"program {program.name} is not on PATH", hint=program.install)
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        fasta = Path(folder) / f"{name}.fa"
        write_fasta(fasta, name, bases)
        if isinstance(params, ArtReadsParams):
            arguments, outputs = art_command(fasta, coverage, seed, params)
        else:
            arguments, outputs = dwgsim_command(fasta, coverage, seed, params)
        _run(arguments)
        for output, file in zip(outputs, files, strict=True):
            _append(output, file, program.name)


def art_command(
    fasta: Path, coverage: float, seed: int, params: ArtReadsParams
) -> tuple[list[str], list[Path]]:
    """`art_illumina` for one FASTA (see its --help, version 2.5.8), and the FASTQ it writes."""
    prefix = fasta.with_suffix("")
    arguments = ["art_illumina", "-q", "-na", "-ss", params.sequencing_system, "-i", str(fasta)]
    arguments += ["-l", str(params.read_length), "-f", str(coverage), "-rs", str(seed)]
    if params.paired:
        arguments += ["-p", "-m", str(params.fragment_mean), "-s", str(params.fragment_sd)]
        outputs = [prefix.with_name(f"{prefix.name}_{mate}.fq") for mate in (1, 2)]
        return [*arguments, "-o", f"{prefix}_"], outputs
    return [*arguments, "-o", str(prefix)], [prefix.with_suffix(".fq")]


def dwgsim_command(
    fasta: Path, coverage: float, seed: int, params: DwgsimReadsParams
) -> tuple[list[str], list[Path]]:
    """`dwgsim` for one haploid FASTA, and the FASTQ it writes, perhaps with .gz added.

    It adds no variants and no random reads of its own.
    """
    prefix = fasta.with_suffix("")
    errors = "-".join(str(rate) for rate in params.error_rates)
    length = str(params.read_length)
    arguments = ["dwgsim", "-H", "-r", "0", "-y", "0", "-o", "1", "-z", str(seed)]
    arguments += ["-C", str(coverage), "-e", errors, "-E", errors]
    arguments += ["-1", length, "-2", length if params.paired else "0"]
    arguments += ["-d", str(round(params.fragment_mean)), "-s", str(params.fragment_sd)]
    mates = (1, 2) if params.paired else (1,)
    outputs = [prefix.with_name(f"{prefix.name}.bwa.read{mate}.fastq") for mate in mates]
    return [*arguments, str(fasta), str(prefix)], outputs


def _run(arguments: Sequence[str]) -> None:
    done = subprocess.run(arguments, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        complaints = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise BenchError(
            f"{arguments[0]} failed with exit status {done.returncode}: "
            f"{complaints[-1] if complaints else 'it said nothing'}"
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
