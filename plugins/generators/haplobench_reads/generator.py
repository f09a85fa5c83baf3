"""`reads`, `reads-art`, `reads-dwgsim`: people by site frequency, and reads of their genomes.

Reads come from the built-in simulator, or from the real ART or DWGSIM, run once per haplotype.

The built-in simulator cuts fragments of a haplotype, sequenced from one or both ends. Qualities
follow curves drawn for the shape of 2 × 150 bp HiSeq 2500 data: a few poor first cycles, a plateau
near 39, and a slow decline towards the 3' end, steeper in second reads. They lie below the
instrument's top quality by a gamma-distributed amount, which gives the long lower tail that base
callers show and a normal distribution would not.
"""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter

from haplobench import BenchError, Panel, RunContext, SampleRequest
from haplobench.files import write_whole
from haplobench_reads import PROGRAMS, ArtReadsParams, BuiltinReadsParams, DwgsimReadsParams
from haplobench_reads.genome import BLOCK, Genomes, Sites, reference_under, write_fasta

TOP_QUALITY = 41
LOWEST_QUALITY = 2
N_CODE = 4
# (fraction of the read, mean Phred quality, standard deviation), first and second reads.
_CURVES = (
    ((0.0, 33.0, 3.3), (0.03, 36.5, 3.6), (0.13, 39.0, 3.9), (0.3, 38.6, 4.3),
     (0.55, 36.2, 4.7), (0.95, 35.4, 4.6), (1.0, 34.4, 4.8)),
    ((0.0, 32.7, 4.0), (0.03, 36.7, 4.1), (0.13, 38.6, 4.8), (0.3, 37.9, 5.1),
     (0.55, 35.6, 5.2), (0.95, 35.0, 5.1), (1.0, 33.8, 5.2)),
)  # fmt: skip
# P(called | true base), given that the call is wrong. Rows and columns A, C, G, T. Dyes read
# with one laser (A and C, G and T) are confused most (Kircher et al. 2009, Genome Biol 10:R83).
SUBSTITUTIONS = np.array(
    [
        [0.00, 0.50, 0.25, 0.25],
        [0.50, 0.00, 0.25, 0.25],
        [0.25, 0.25, 0.00, 0.50],
        [0.25, 0.25, 0.50, 0.00],
    ]
)
_CUMULATIVE = SUBSTITUTIONS.cumsum(axis=1)
# P(wrong) at Phred quality Q (Ewing & Green 1998).
ERROR_RATES = (10.0 ** (-np.arange(TOP_QUALITY + 1) / 10)).astype(np.float32)
# Fragments simulated at once: some 100 MiB at 150 bp, whatever the region.
CHUNK = 16_384
_CODES = np.full(256, N_CODE, np.uint8)
_CODES[np.frombuffer(b"ACGT", np.uint8)] = np.arange(4)
_LETTERS = np.frombuffer(b"ACGTN", np.uint8)
_COMPLEMENT = np.array([3, 2, 1, 0, 4], np.uint8)
_PHRED_OFFSET = 33
_LEVEL = 4
_DIGITS = 10
_POWERS = 10 ** np.arange(_DIGITS - 1, -1, -1, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Fragments:
    """Where reads come from, in offsets into one haplotype.

    `start`, `end` (n,) int64: first base, and one past the last.
    `reverse` (n,) bool: whether the first read is of the reverse strand.
    """

    start: NDArray[np.int64]
    end: NDArray[np.int64]
    reverse: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Reads:
    """Reads of one mate.

    `bases` (n, read_length) uint8: ASCII.
    `qualities` (n, read_length) uint8: Phred, without an offset.
    """

    bases: NDArray[np.uint8]
    qualities: NDArray[np.uint8]


def simulate(
    haplotype: NDArray[np.uint8],
    coverage: float,
    params: BuiltinReadsParams,
    rng: np.random.Generator,
) -> Iterator[tuple[Fragments, tuple[Reads, ...]]]:
    """Yield fragments of a haplotype and their reads (one or two mates), in chunks.

    `haplotype` (length,) uint8 ASCII, at least as long as a read; `coverage` of it.
    Fragments start uniformly; those whose reads would be mostly N are left out, as ART does.
    """
    codes = _CODES[haplotype]
    profiles = [
        QualityProfile.illumina(params.read_length, mate, params.quality_shift)
        for mate in range(2 if params.paired else 1)
    ]
    left = n_fragments(haplotype.size, coverage, params)
    while left > 0:
        n = min(left, CHUNK)
        fragments = draw_fragments(haplotype.size, n, params, rng)
        sequenced = [
            _sequence(codes, fragments, mate, profile, params, rng)
            for mate, profile in enumerate(profiles)
        ]
        readable = np.all([(bases == N_CODE).mean(axis=1) < 0.5 for bases, _ in sequenced], axis=0)
        yield (
            Fragments(
                fragments.start[readable], fragments.end[readable], fragments.reverse[readable]
            ),
            tuple(Reads(_LETTERS[bases[readable]], q[readable]) for bases, q in sequenced),
        )
        left -= n


def n_fragments(length: int, coverage: float, params: BuiltinReadsParams) -> int:
    """Fragments that cover `length` bp so many times by their reads."""
    per_fragment = params.read_length * (2 if params.paired else 1)
    return round(coverage * length / per_fragment)


def draw_fragments(
    length: int, n: int, params: BuiltinReadsParams, rng: np.random.Generator
) -> Fragments:
    """Draw fragments of normal length (between read length and `length`), uniform in place."""
    drawn = np.rint(rng.normal(params.fragment_mean, params.fragment_sd, n)).astype(np.int64)
    size = np.clip(drawn, params.read_length, length)
    start = rng.integers(0, length - size, endpoint=True)
    return Fragments(start, start + size, rng.random(n) < 0.5)


def _sequence(
    codes: NDArray[np.uint8],
    fragments: Fragments,
    mate: int,
    profile: QualityProfile,
    params: BuiltinReadsParams,
    rng: np.random.Generator,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Codes and qualities of one mate, each (n, read_length) uint8.

    The first mate is read from one end of the fragment, the second from the other, each
    towards the inside (FR).
    """
    n, length = fragments.start.size, params.read_length
    qualities = profile.draw(n, rng)
    # A first read of the reverse strand and a second read of the forward one start at the end.
    from_end = fragments.reverse != (mate == 1)
    source = np.broadcast_to(np.arange(length, dtype=np.int64), (n, length))
    inserted = np.empty((2, 0), np.int64)
    if not params.error_free:
        source, inserted = _indels(
            source, params.insertion_rates[mate], params.deletion_rates[mate], rng
        )
    first = np.where(from_end, fragments.end - 1, fragments.start)
    places = np.where(from_end, -1, 1)[:, None] * source
    places += first[:, None]
    # A deletion at the very end of the haplotype would run past it.
    bases = codes[np.clip(places, 0, codes.size - 1, out=places)]
    bases = np.where(from_end[:, None], _COMPLEMENT[bases], bases)
    bases[inserted[0], inserted[1]] = rng.integers(0, 4, inserted.shape[1])
    if not params.error_free:
        substitute(bases, qualities, rng)
    qualities[bases == N_CODE] = LOWEST_QUALITY
    return bases, qualities


def _indels(
    source: NDArray[np.int64], insertion: float, deletion: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Displace the template offsets of the few reads that have indel errors.

    Returns the offset of each cycle, (n, read_length) int64, and the (row, cycle) of inserted
    bases, (2, n_inserted) int64.
    """
    n, length = source.shape
    insertions, deletions = (
        np.stack(np.divmod(np.unique(rng.integers(0, n * length, count)), length))
        for count in rng.binomial(n * length, [insertion, deletion])
    )
    touched = np.union1d(insertions[0], deletions[0])
    shift = np.zeros((touched.size, length + 1), np.int64)
    # An inserted base doesn't use up the template: later cycles read one base earlier.
    np.add.at(shift, (np.searchsorted(touched, insertions[0]), insertions[1] + 1), -1)
    np.add.at(shift, (np.searchsorted(touched, deletions[0]), deletions[1]), 1)
    displaced = source.copy()
    displaced[touched] += shift[:, :length].cumsum(axis=1)
    return displaced, insertions


@dataclass(frozen=True, eq=False)
class QualityProfile:
    """Qualities of one mate by cycle.

    `mean`, `sd` (read_length,) float64: of the Phred quality before rounding and clipping to 2..41.
    """

    mean: NDArray[np.float64]
    sd: NDArray[np.float64]

    @classmethod
    def illumina(cls, read_length: int, mate: int, shift: float = 0.0) -> QualityProfile:
        """The built-in curves of first (`mate` 0) or second reads, stretched to a read length.

        `shift` is added to the mean; means stay within 2 and just below the top quality.
        """
        fractions, means, deviations = np.array(_CURVES[mate]).T
        cycles = np.linspace(0, 1, read_length)
        mean = np.interp(cycles, fractions, means) + shift
        return cls(
            np.clip(mean, LOWEST_QUALITY, TOP_QUALITY - 0.1),
            np.interp(cycles, fractions, deviations),
        )

    @property
    def gamma(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Shape and scale by cycle of the gamma-distributed amount below the top quality."""
        below = TOP_QUALITY - self.mean
        return (below / self.sd) ** 2, self.sd**2 / below

    def draw(self, n: int, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Qualities of `n` reads: (n, read_length) uint8."""
        shape, scale = self.gamma
        below = rng.standard_gamma(shape, (n, shape.size)) * scale
        quality = np.rint(TOP_QUALITY - below)
        return np.clip(quality, LOWEST_QUALITY, TOP_QUALITY).astype(np.uint8)


def substitute(
    codes: NDArray[np.uint8], qualities: NDArray[np.uint8], rng: np.random.Generator
) -> None:
    """Write substitution errors into reads, in place.

    `codes` (n, read_length) uint8, 0-3 for A, C, G, T and 4 for N, which stays; a base of
    quality Q is wrong with probability 10^(-Q/10).
    """
    wrong = rng.random(codes.shape, np.float32) < ERROR_RATES[qualities]
    rows, cycles = np.nonzero(wrong & (codes < N_CODE))
    true = codes[rows, cycles]
    drawn = rng.random(true.size)
    codes[rows, cycles] = (drawn[:, None] >= _CUMULATIVE[true]).sum(axis=1)


@contextmanager
def gzipped(paths: Sequence[Path]) -> Iterator[list[gzip.GzipFile]]:
    """Open files to be written gzipped; they appear under their names when all are whole.

    The bytes depend on the content alone (no time and no name in the header).
    """
    partial = [path.with_name(f".{path.name}.partial") for path in paths]
    try:
        with ExitStack() as stack:
            files: list[gzip.GzipFile] = []
            for path in partial:
                raw = stack.enter_context(path.open("wb"))
                packed = gzip.GzipFile("", "wb", _LEVEL, fileobj=raw, mtime=0)
                files.append(stack.enter_context(packed))
            yield files
        for path, target in zip(partial, paths, strict=True):
            path.rename(target)
    finally:
        for path in partial:
            path.unlink(missing_ok=True)


def records(
    prefix: str, start: int, first_number: int, fragments: Fragments, reads: Reads, suffix: str
) -> bytes:
    """FASTQ records of one mate.

    Names encode the origin, in fields of fixed width so that all records are one array:
    `{prefix}_{first bp}_{last bp}_{strand of the first read}_{number}{suffix}`; bp are
    1-based on the reference, `start` being the position of offset 0.
    """
    n = reads.bases.shape[0]
    strand = np.where(fragments.reverse, np.uint8(ord("-")), np.uint8(ord("+")))
    columns = [
        _text(f"@{prefix}_", n),
        _decimal(fragments.start + start),
        _text("_", n),
        _decimal(fragments.end + start - 1),
        _text("_", n),
        strand[:, None],
        _text("_", n),
        _decimal(np.arange(first_number, first_number + n)),
        _text(f"{suffix}\n", n),
        reads.bases,
        _text("\n+\n", n),
        reads.qualities + np.uint8(_PHRED_OFFSET),
        _text("\n", n),
    ]
    return np.concatenate(columns, axis=1).tobytes()


def _text(text: str, n: int) -> NDArray[np.uint8]:
    """The same text in every row: (n, len(text)) uint8."""
    return np.broadcast_to(np.frombuffer(text.encode(), np.uint8), (n, len(text)))


def _decimal(values: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Zero-padded decimal digits: (n, 10) uint8."""
    return (values[:, None] // _POWERS % 10 + ord("0")).astype(np.uint8)


AnyReadsParams = BuiltinReadsParams | ArtReadsParams | DwgsimReadsParams
_PARAMS: TypeAdapter[AnyReadsParams] = TypeAdapter(
    Annotated[AnyReadsParams, Field(discriminator="backend")]
)
_SITES = "sites.npz"
_PARAMETERS = "params.json"
_LARGEST_SEED = 2**31 - 1
_COVERAGE_OFF = 0.1  # of the coverage asked for, that is worth a warning
_LINES = 4  # of a read in FASTQ


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
        single reads, N = `person` + 1; and `syntheticN.coverage.tsv`, a haplotype a row: its
        contig and length, reads, the coverage asked for, and what was got. Where these differ by
        more than a tenth, that is logged, too.

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
        table = ["haplotype\tcontig\tlength\treads\tasked\tgot"]
        with gzipped(paths) as files:
            for haplotype, alleles in enumerate(np.concatenate(haplotypes)):
                prefix, bases = f"{name}_h{haplotype + 1}", genomes.haplotype(alleles)
                if not isinstance(params, BuiltinReadsParams):
                    # A 31-bit seed; 0 and below mean the clock to some.
                    key = ctx.seed_for("reads", "program", person, haplotype)
                    seed = 1 + key % _LARGEST_SEED
                    n = run_program(prefix, bases, coverage, seed, params, ctx.scratch, files)
                else:
                    number, rng = 1, ctx.rng("reads", "builtin", person, haplotype)
                    for fragments, mates in simulate(bases, coverage, params, rng):
                        for mate, (file, reads) in enumerate(zip(files, mates, strict=True), 1):
                            suffix = f"/{mate}" if params.paired else ""
                            file.write(
                                records(prefix, genomes.start, number, fragments, reads, suffix)
                            )
                        number += fragments.start.size
                    n = (number - 1) * len(files)
                got = n * params.read_length / bases.size
                asked = f"{self.sites.contig}\t{bases.size}\t{n}\t{coverage:g}\t{got:.4g}"
                table.append(f"{prefix}\t{asked}")
                if abs(got - coverage) > _COVERAGE_OFF * coverage:
                    ctx.log.warning(
                        "%s, %d bp of contig %s: %s gave a coverage of %.3g instead of %g",
                        *(prefix, bases.size, self.sites.contig, params.backend, got, coverage),
                    )
        write_whole(ctx.artifacts / f"{name}.coverage.tsv", "\n".join(table) + "\n")
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
) -> int:
    """Sequence a haplotype's `bases` with a program; append its reads to `files`, one per mate.

    Returns how many. Intermediate files are in `scratch`. Raises BenchError if the program is
    missing or fails.
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
        pairs = zip(outputs, files, strict=True)
        return sum(_append(output, file, program.name) for output, file in pairs)


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


def _append(output: Path, file: gzip.GzipFile, program: str) -> int:
    """Append a FASTQ file to an open one, and count its reads; newer DWGSIM gzips its own."""
    packed = output.with_name(f"{output.name}.gz")
    if not (packed.exists() or output.exists()):
        # ART exits with status 0 when it can't read its input.
        raise BenchError(f"{program} wrote no {output.name}")
    lines = 0
    with gzip.open(packed) if packed.exists() else output.open("rb") as source:
        while part := source.read(1 << 20):
            lines += part.count(b"\n")
            file.write(part)
    return lines // _LINES
