"""`reads`, `reads-art`, `reads-dwgsim`: people by site frequency, and reads of their genomes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter

from haplobench import BenchError, Panel, RunContext, SampleRequest
from haplobench_reads.cohort import BLOCK, Sites
from haplobench_reads.fastq import gzipped, records
from haplobench_reads.genome import Genomes, reference_under
from haplobench_reads.illumina import simulate
from haplobench_reads.individual import Individual
from haplobench_reads.params import ArtReadsParams, BuiltinReadsParams, DwgsimReadsParams
from haplobench_reads.programs import run_program

AnyReadsParams = BuiltinReadsParams | ArtReadsParams | DwgsimReadsParams
_PARAMS: TypeAdapter[AnyReadsParams] = TypeAdapter(
    Annotated[AnyReadsParams, Field(discriminator="backend")]
)
_SITES = "sites.npz"
_PARAMETERS = "params.json"


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
        individual = Individual(person, np.concatenate(haplotypes))
        genomes = Genomes.of(reference_under(self.sites, ctx), self.sites)
        genomes.require(params.longest_template)
        suffixes = ("_1", "_2") if params.paired else ("",)
        paths = [ctx.artifacts / f"{individual.name}{suffix}.fastq.gz" for suffix in suffixes]
        with gzipped(paths) as files:
            if not isinstance(params, BuiltinReadsParams):
                run_program(individual, genomes, params, ctx, files)
                return paths
            for haplotype, alleles in enumerate(individual.haplotypes):
                prefix, number = individual.haplotype_name(haplotype), 1
                rng = ctx.rng("reads", "builtin", person, haplotype)
                coverage = params.coverage / ploidy
                for fragments, mates in simulate(genomes.haplotype(alleles), coverage, params, rng):
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
