"""The generators of reads as the harness meets them."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pysam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy import stats

from haplobench import BenchError, Panel, RunContext, SampleRequest
from haplobench.data.genome import BASES, ReferenceSequence
from haplobench.registry import load_registry, missing_needs
from haplobench.testing import check_generator, example_context, example_panel
from haplobench_reads import (
    ArtReadsParams,
    BuiltinReadsParams,
    DwgsimReadsParams,
    ReadsParams,
    haplobench_generators,
)
from haplobench_reads.generator import (
    CHUNK,
    LOWEST_QUALITY,
    SUBSTITUTIONS,
    TOP_QUALITY,
    FittedReadSimulator,
    Fragments,
    QualityProfile,
    Reads,
    ReadSimulator,
    _indels,
    draw_fragments,
    gzipped,
    n_fragments,
    records,
    simulate,
    substitute,
)
from haplobench_reads.genome import Genomes, RandomSequence, Sites, write_fasta

LENGTH = 20_000
COMPLEMENT_CODES = bytes.maketrans(b"ACGTN", b"TGCAN")
N = 20_000
# So many tests of one seed: no false alarm, and any real departure is far beyond it.
P = 1e-5
ART_LENGTH = 150


def params(**changes: Any) -> BuiltinReadsParams:
    small = {"read_length": 50, "fragment_mean": 200, "fragment_sd": 20}
    return BuiltinReadsParams.model_validate(small | changes)


@pytest.fixture(scope="module")
def haplotype() -> NDArray[np.uint8]:
    return np.frombuffer(b"ACGT", np.uint8)[np.random.default_rng(0).integers(0, 4, LENGTH)]


def run(
    haplotype: NDArray[np.uint8], coverage: float, seed: int = 0, **changes: Any
) -> tuple[Fragments, list[Reads]]:
    """All chunks as one."""
    chunks = list(simulate(haplotype, coverage, params(**changes), np.random.default_rng(seed)))
    fragments = Fragments(
        *(
            np.concatenate([getattr(f, name) for f, _ in chunks])
            for name in ("start", "end", "reverse")
        )
    )
    mates = [
        Reads(
            np.concatenate([reads[m].bases for _, reads in chunks]),
            np.concatenate([reads[m].qualities for _, reads in chunks]),
        )
        for m in range(len(chunks[0][1]))
    ]
    return fragments, mates


def revcomp(sequence: bytes) -> bytes:
    return sequence.translate(COMPLEMENT_CODES)[::-1]


def test_error_free_pairs_are_the_ends_of_their_fragment_facing_inwards(
    haplotype: NDArray[np.uint8],
) -> None:
    fragments, (first, second) = run(haplotype, 2, error_free=True)
    sequence = haplotype.tobytes()
    for i in range(0, fragments.start.size, 7):
        fragment = sequence[fragments.start[i] : fragments.end[i]]
        if fragments.reverse[i]:
            fragment = revcomp(fragment)
        assert first.bases[i].tobytes() == fragment[:50]
        assert second.bases[i].tobytes() == revcomp(fragment)[:50]
    assert 0.4 < fragments.reverse.mean() < 0.6


def test_single_reads_are_of_both_strands(haplotype: NDArray[np.uint8]) -> None:
    fragments, mates = run(haplotype, 2, paired=False, error_free=True)
    assert len(mates) == 1
    sequence = haplotype.tobytes()
    for i in range(0, fragments.start.size, 7):
        fragment = sequence[fragments.start[i] : fragments.end[i]]
        expected = revcomp(fragment) if fragments.reverse[i] else fragment
        assert mates[0].bases[i].tobytes() == expected[:50]


@pytest.mark.parametrize("paired", [True, False])
def test_coverage_is_as_asked_and_even(haplotype: NDArray[np.uint8], paired: bool) -> None:
    fragments, mates = run(haplotype, 40, paired=paired, error_free=True)
    bases = sum(mate.bases.size for mate in mates)
    assert bases / LENGTH == pytest.approx(40, rel=0.01)
    assert n_fragments(LENGTH, 40, params(paired=paired)) == fragments.start.size
    # Starts are uniform over where a fragment of that size fits.
    place = fragments.start / (LENGTH - (fragments.end - fragments.start))
    assert stats.kstest(place, "uniform").pvalue > 1e-4


def test_fragment_lengths_are_normal_and_hold_a_read() -> None:
    drawn = draw_fragments(10**7, 20_000, params(), np.random.default_rng(0))
    size = drawn.end - drawn.start
    assert size.mean() == pytest.approx(200, abs=1)
    assert size.std() == pytest.approx(20, rel=0.03)
    short = draw_fragments(
        300, 1000, params(fragment_mean=100, fragment_sd=80), np.random.default_rng(0)
    )
    assert (short.end - short.start).min() == 50
    assert (short.end - short.start).max() <= 300
    assert short.start.min() >= 0
    assert short.end.max() <= 300


def test_mismatches_of_every_cycle_are_as_many_as_the_qualities_say(
    haplotype: NDArray[np.uint8],
) -> None:
    none = (0.0, 0.0)
    changes = {"insertion_rates": none, "deletion_rates": none, "quality_shift": -12}
    fragments, mates = run(haplotype, 100, **changes)
    sequence = np.stack([haplotype, np.frombuffer(revcomp(haplotype.tobytes()), np.uint8)])
    for m, mate in enumerate(mates):
        from_end = fragments.reverse != (m == 1)
        start = np.where(from_end, LENGTH - fragments.end, fragments.start)
        template = sequence[from_end.astype(int)[:, None], start[:, None] + np.arange(50)]
        wrong = mate.bases != template
        p = 10 ** (mate.qualities / -10.0)
        z = (wrong - p).sum(axis=0) / np.sqrt((p * (1 - p)).sum(axis=0))
        assert stats.chi2(50).sf((z**2).sum()) > 1e-5


@settings(deadline=None)
@given(seed=st.integers(0, 500))
def test_indels_displace_the_template_as_in_a_walk_along_it(seed: int) -> None:
    n, length = 6, 12
    source = np.broadcast_to(np.arange(length, dtype=np.int64), (n, length))
    displaced, inserted = _indels(source, 0.08, 0.08, np.random.default_rng(seed))
    is_inserted = np.zeros((n, length), bool)
    is_inserted[inserted[0], inserted[1]] = True
    for row in range(n):
        place = -1  # the last template base used up
        for cycle in range(length):
            if is_inserted[row, cycle]:
                # The offset is unused, but the next base read must not skip one for it.
                place += displaced[row, cycle] - place - 1
                continue
            assert displaced[row, cycle] - place in (1, 2)  # 2: one base deleted
            place = displaced[row, cycle]


def test_indels_are_as_frequent_as_asked() -> None:
    source = np.broadcast_to(np.arange(100, dtype=np.int64), (50_000, 100))
    displaced, inserted = _indels(source, 2e-4, 5e-4, np.random.default_rng(0))
    assert inserted.shape[1] == pytest.approx(1000, abs=5 * np.sqrt(1000))
    is_inserted = np.zeros(source.shape, bool)
    is_inserted[inserted[0], inserted[1]] = True
    # Bases skipped over the whole read, but for insertions, which hold the template back.
    deleted = displaced[:, -1] - 99 + is_inserted[:, :-1].sum(axis=1)
    assert deleted.min() >= 0
    assert deleted.sum() == pytest.approx(2500, abs=5 * np.sqrt(2500))


def test_n_is_read_as_n_of_low_quality_and_reads_mostly_n_are_left_out() -> None:
    sequence = np.full(6000, ord("A"), np.uint8)
    sequence[2000:4000] = ord("N")
    _, mates = run(sequence, 40)
    for mate in mates:
        unknown = mate.bases == ord("N")
        assert unknown.any()
        assert (mate.qualities[unknown] == 2).all()
        assert unknown.mean(axis=1).max() < 0.5


def test_a_large_region_is_simulated_in_chunks_of_bounded_size() -> None:
    sequence = np.full(100_000, ord("C"), np.uint8)
    chunks = simulate(sequence, 40, params(), np.random.default_rng(0))
    sizes = [fragments.start.size for fragments, _ in chunks]
    assert sizes == [CHUNK, CHUNK, 40_000 - 2 * CHUNK]


@pytest.mark.parametrize("mate", [0, 1])
def test_qualities_follow_the_gamma_law_of_every_cycle(mate: int) -> None:
    profile = QualityProfile.illumina(12, mate)
    drawn = profile.draw(N, np.random.default_rng(mate))
    edges = TOP_QUALITY - np.arange(LOWEST_QUALITY, TOP_QUALITY) - 0.5  # borders of rounding
    for cycle in range(12):
        below = TOP_QUALITY - profile.mean[cycle]
        shape, scale = (below / profile.sd[cycle]) ** 2, profile.sd[cycle] ** 2 / below
        cumulative = stats.gamma(shape, scale=scale).cdf(edges)
        # P(Q = 2), P(Q = 3), …, P(Q = 41), of the amount below the top quality.
        expected = -np.diff(np.concatenate([[1.0], cumulative, [0.0]])) * N
        found = np.bincount(drawn[:, cycle], minlength=TOP_QUALITY + 1)[LOWEST_QUALITY:]
        rare = expected < 10
        expected, found = (np.append(x[~rare], x[rare].sum()) for x in (expected, found))
        expected += (found.sum() - expected.sum()) / expected.size
        assert stats.chisquare(found, expected).pvalue > P


def test_quality_declines_towards_the_3_prime_end_and_more_so_in_second_reads() -> None:
    first, second = (
        QualityProfile.illumina(150, mate).draw(N // 4, np.random.default_rng(0)).mean(axis=0)
        for mate in (0, 1)
    )
    for mean in (first, second):
        assert mean[:3].mean() < mean[15:25].mean()
        assert mean[20] > mean[60] > mean[149] + 0.5
    assert second[30:].mean() < first[30:].mean()


def test_a_shift_moves_the_mean() -> None:
    plain, shifted = (QualityProfile.illumina(100, 0, shift).mean for shift in (0.0, -5.0))
    np.testing.assert_allclose(shifted, plain - 5)


def test_errors_of_every_cycle_are_as_many_as_the_qualities_say() -> None:
    rng = np.random.default_rng(1)
    qualities = QualityProfile.illumina(40, 1, shift=-8).draw(N, rng)
    codes = np.zeros(qualities.shape, np.uint8)
    substitute(codes, qualities, rng)
    p = 10 ** (qualities / -10.0)
    z = ((codes != 0).sum(axis=0) - p.sum(axis=0)) / np.sqrt((p * (1 - p)).sum(axis=0))
    assert stats.chi2(40).sf((z**2).sum()) > P
    assert np.abs(z).max() < 5
    # Errors rise with the cycle as qualities fall.
    assert (codes != 0)[:, -8:].mean() > 1.5 * (codes != 0)[:, 8:16].mean()


def test_substitutions_follow_the_matrix_and_leave_n() -> None:
    rng = np.random.default_rng(2)
    true = np.repeat(np.arange(5, dtype=np.uint8), 4000)[:, None]
    codes = true.copy()
    substitute(codes, np.zeros(codes.shape, np.uint8), rng)  # quality 0: always wrong
    np.testing.assert_allclose(SUBSTITUTIONS.sum(axis=1), 1)
    for base in range(4):
        called = np.bincount(codes[true == base], minlength=4)
        assert called[base] == 0
        others = np.arange(4) != base
        expected = SUBSTITUTIONS[base][others] * 4000
        assert stats.chisquare(called[others], expected).pvalue > P
    assert (codes[true == 4] == 4).all()


@pytest.mark.skipif(not shutil.which("art_illumina"), reason="art_illumina is not on PATH")
def test_qualities_are_like_arts_hiseq_2500(tmp_path: Path) -> None:
    fasta = tmp_path / "one.fa"
    write_fasta(fasta, "one", BASES[np.random.default_rng(0).integers(0, 4, 100_000)])
    command = f"art_illumina -q -na -p -ss HS25 -l {ART_LENGTH} -f 20 -m 400 -s 50 -rs 1"
    subprocess.run(
        [*command.split(), "-i", str(fasta), "-o", str(tmp_path / "art")],
        check=True,
        capture_output=True,
    )
    for mate in (0, 1):
        with pysam.FastxFile(str(tmp_path / f"art{mate + 1}.fq")) as fastq:
            art = np.array([list(read.get_quality_array()) for read in fastq], np.float64)
        built_in = QualityProfile.illumina(ART_LENGTH, mate).draw(
            len(art), np.random.default_rng(0)
        )
        curve, art_curve = built_in.mean(axis=0), art.mean(axis=0)
        assert np.abs(curve - art_curve).mean() < 1
        assert np.abs(curve - art_curve).max() < 4
        assert np.corrcoef(curve, art_curve)[0, 1] > 0.85
        rate, art_rate = ((10 ** (q / -10.0)).mean() for q in (built_in, art))
        assert 0.5 < rate / art_rate < 2


def example_records() -> tuple[Fragments, Reads, bytes]:
    fragments = Fragments(np.array([0, 41]), np.array([300, 341]), np.array([False, True]))
    reads = Reads(
        np.frombuffer(b"ACGTTGCA", np.uint8).reshape(2, 4),
        np.array([[2, 30, 41, 40], [10, 11, 12, 13]], np.uint8),
    )
    return fragments, reads, records("someone_h2", 1000, 7, fragments, reads, "/2")


def test_fastq_is_read_by_htslib_and_names_the_origin(tmp_path: Path) -> None:
    _, reads, text = example_records()
    path = tmp_path / "reads.fastq.gz"
    with gzipped([path]) as (file,):
        file.write(text)
    with pysam.FastxFile(str(path)) as fastq:
        found = list(fastq)
    assert [read.name for read in found] == [
        "someone_h2_0000001000_0000001299_+_0000000007/2",
        "someone_h2_0000001041_0000001340_-_0000000008/2",
    ]
    for read, bases, qualities in zip(found, reads.bases, reads.qualities, strict=True):
        assert read.sequence.encode() == bases.tobytes()
        assert list(read.get_quality_array()) == qualities.tolist()


def test_gzip_bytes_depend_on_the_content_alone(tmp_path: Path) -> None:
    paths = [tmp_path / "one.gz", tmp_path / "two.gz"]
    with gzipped(paths) as files:
        for file in files:
            file.write(b"the same")
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert paths[0].read_bytes()[4:8] == bytes(4)  # no time


def test_files_are_whole_or_not_there(tmp_path: Path) -> None:
    def fail() -> None:
        with gzipped([tmp_path / "one.gz"]) as (file,):
            file.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []


SPECS = {spec.name: spec for spec in haplobench_generators()}
PROGRAMS = {"reads-art": "art_illumina", "reads-dwgsim": "dwgsim"}
COMPLEMENT = str.maketrans("ACGT", "TGCA")
K = 31


def require(name: str) -> None:
    missing = missing_needs(SPECS[name].needs)
    if missing:
        pytest.skip(f"{name} needs {missing[0]}")


@pytest.fixture(scope="module")
def panel() -> Panel:
    return example_panel(n_samples=40, n_sites=120)


def fitted(panel: Panel, params: ReadsParams, ctx: RunContext) -> FittedReadSimulator:
    return ReadSimulator().fit(panel, params, ctx)  # type: ignore[arg-type]


def reads_of(path: Path) -> list[Any]:
    with pysam.FastxFile(str(path)) as fastq:
        return list(fastq)


def haplotypes_of(
    panel: Panel, generator: FittedReadSimulator, ctx: RunContext, person: int
) -> list[str]:
    """The two sequences of a person, from what sampling yields."""
    rows = np.concatenate(list(generator.sample(SampleRequest(2, 2 * person), ctx)))
    assert ctx.sequence is not None
    made = Genomes.of(ctx.sequence, Sites.of(panel))
    return [made.haplotype(row).tobytes().decode() for row in rows]


@pytest.mark.parametrize("name", list(SPECS))
def test_conformance(name: str) -> None:
    require(name)
    params = {} if name == "random-sequence" else {"coverage": 0.1}
    passed = check_generator(name, params=params, registry=load_registry(["haplobench_reads"]))
    assert {"determinism", "start", "batch size", "load", "light import"} <= set(passed)


def test_the_needs_name_the_debian_packages() -> None:
    assert "art-nextgen-simulation-tools" in SPECS["reads-art"].needs[0].install  # type: ignore[union-attr]
    assert "apt-get install dwgsim" in SPECS["reads-dwgsim"].needs[0].install  # type: ignore[union-attr]
    assert not SPECS["reads"].needs


def test_error_free_reads_lie_where_their_names_say(panel: Panel, tmp_path: Path) -> None:
    ctx = example_context(tmp_path, panel)
    generator = fitted(panel, BuiltinReadsParams(coverage=2, error_free=True), ctx)
    sequences = haplotypes_of(panel, generator, ctx, 0)
    assert sequences[0] != sequences[1]
    assert ctx.sequence is not None
    pairs = [reads_of(ctx.artifacts / f"synthetic1_{mate}.fastq.gz") for mate in (1, 2)]
    counts = Counter[str]()
    for first, second in zip(*pairs, strict=True):
        assert first.name[:-2] == second.name[:-2]
        assert (first.name[-2:], second.name[-2:]) == ("/1", "/2")
        origin = re.fullmatch(r"synthetic1_h([12])_(\d+)_(\d+)_([+-])_\d+/1", first.name)
        assert origin is not None
        haplotype, start, end, strand = origin.groups()
        low, high = int(start) - ctx.sequence.start, int(end) - ctx.sequence.start + 1
        fragment = sequences[int(haplotype) - 1][low:high]
        if strand == "-":
            fragment = fragment.translate(COMPLEMENT)[::-1]
        assert fragment.startswith(first.sequence)
        assert fragment.endswith(second.sequence.translate(COMPLEMENT)[::-1])
        counts[haplotype] += len(first.sequence) + len(second.sequence)
    depth = {h: bases / len(sequences[0]) for h, bases in counts.items()}
    assert depth == pytest.approx({"1": 1.0, "2": 1.0}, abs=0.02)


def test_reads_depend_on_the_person_alone(panel: Panel, tmp_path: Path) -> None:
    def files(requests: list[SampleRequest], folder: str, seed: int = 0) -> dict[str, bytes]:
        ctx = example_context(tmp_path / folder, panel, seed)
        generator = fitted(panel, BuiltinReadsParams(reads_individuals=3, coverage=0.2), ctx)
        for request in requests:
            for _ in generator.sample(request, ctx):
                pass
        return {path.name: path.read_bytes() for path in ctx.artifacts.iterdir()}

    whole = files([SampleRequest(600)], "whole")
    kinds = "_1.fastq.gz", "_2.fastq.gz", ".coverage.tsv"
    assert set(whole) == {f"synthetic{i}{kind}" for i in (1, 2, 3) for kind in kinds}
    cut = [SampleRequest(3), SampleRequest(1, 3), SampleRequest(500, 4, batch_size=7)]
    assert files(cut, "cut") == whole
    assert files([SampleRequest(600, 600)], "later") == {}
    other = files([SampleRequest(600)], "other", seed=1)
    reads = [{data for name, data in x.items() if "fastq" in name} for x in (whole, other)]
    assert not reads[0] & reads[1]
    assert len(reads[0]) == 6


def test_no_reads_are_written_if_none_are_asked_for(panel: Panel, tmp_path: Path) -> None:
    ctx = example_context(tmp_path, panel, sequence=None)
    generator = fitted(panel, BuiltinReadsParams(reads_individuals=0), ctx)
    rows = np.concatenate(list(generator.sample(SampleRequest(40), ctx)))
    assert rows.shape == (40, panel.n_sites)
    assert not list(ctx.artifacts.iterdir())


def test_coverage_is_told_beside_what_was_asked_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """ART has a contig made of whole reads: 199 bp have room for one of 100."""
    require("reads-art")
    positions = np.array([1, 60, 120, 199])
    people = Panel(
        haplotypes=np.eye(4, dtype=np.int8),
        positions=positions,
        contig="7",
        samples=np.array(["a", "b"]),
    )
    bases = np.frombuffer(b"ACGT", np.uint8)[np.random.default_rng(0).integers(0, 4, 199)]
    ctx = example_context(tmp_path, people, sequence=ReferenceSequence(bases, 1, True))
    asked = {"coverage": 200, "read_length": 100, "paired": False}
    with caplog.at_level("WARNING", "haplobench"):
        fitted(people, ArtReadsParams.model_validate(asked), ctx).sequence(0, ctx)
    reads = reads_of(ctx.artifacts / "synthetic1.fastq.gz")
    table = (ctx.artifacts / "synthetic1.coverage.tsv").read_text().splitlines()
    rows = [dict(zip(table[0].split("\t"), line.split("\t"), strict=True)) for line in table[1:]]
    assert [(row["contig"], row["length"], row["asked"]) for row in rows] == [
        ("7", "199", "100")
    ] * 2
    assert sum(int(row["reads"]) for row in rows) == len(reads)
    for row in rows:
        assert float(row["got"]) == pytest.approx(int(row["reads"]) * 100 / 199, rel=1e-3)
        assert float(row["got"]) < 60
    assert "199 bp of contig 7: art_illumina gave a coverage of 50" in caplog.text


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("name", list(PROGRAMS))
def test_programs_sequence_the_same_person(
    panel: Panel, tmp_path: Path, name: str, paired: bool
) -> None:
    require(name)
    ctx = example_context(tmp_path, panel)
    params = SPECS[name].params.model_validate(
        {"coverage": 4, "read_length": 100, "fragment_mean": 300, "paired": paired}
    )
    generator = fitted(panel, params, ctx)  # type: ignore[arg-type]
    sequences = haplotypes_of(panel, generator, ctx, 0)
    assert not list(ctx.scratch.iterdir())
    mates = (1, 2) if paired else (0,)
    reads = {
        mate: reads_of(ctx.artifacts / f"synthetic1{f'_{mate}' if mate else ''}.fastq.gz")
        for mate in mates
    }
    bases = sum(len(read.sequence) for found in reads.values() for read in found)
    assert bases / len(sequences[0]) == pytest.approx(4, rel=0.1)
    table = (ctx.artifacts / "synthetic1.coverage.tsv").read_text().splitlines()[1:]
    assert sum(float(line.split("\t")[-1]) for line in table) == pytest.approx(
        bases / len(sequences[0]), rel=1e-3
    )

    places = [index(sequence) for sequence in sequences]
    placed = 0
    for found in zip(*reads.values(), strict=True):
        which = int(found[0].name.split("synthetic1_h")[1][0]) - 1
        hits = [place(read.sequence, places[which]) for read in found]
        if None in hits:
            continue
        placed += 1
        if paired:
            (at, reverse), (other_at, other_reverse) = hits  # type: ignore[misc]
            assert reverse != other_reverse
            left, right = (other_at, at) if reverse else (at, other_at)
            assert 0 <= right + 100 - left < 600  # FR: the forward read lies to the left
    assert placed > 0.95 * len(reads[mates[0]])


def index(sequence: str) -> dict[str, int]:
    return {sequence[i : i + K]: i for i in range(len(sequence) - K + 1)}


def place(read: str, where: dict[str, int]) -> tuple[int, bool] | None:
    """Start of a read on the haplotype by its first exact 31-mer, and whether it is reversed."""
    for reverse in (False, True):
        text = read.translate(COMPLEMENT)[::-1] if reverse else read
        for offset in range(len(text) - K + 1):
            if text[offset : offset + K] in where:
                return where[text[offset : offset + K]] - offset, reverse
    return None


@pytest.mark.parametrize("name", list(PROGRAMS))
def test_a_missing_program_is_named_with_its_package(
    panel: Panel, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    ctx = example_context(tmp_path, panel)
    generator = fitted(panel, SPECS[name].params(), ctx)  # type: ignore[arg-type]
    package = {"reads-art": "art-nextgen-simulation-tools", "reads-dwgsim": "dwgsim"}[name]
    with pytest.raises(BenchError, match=f"{PROGRAMS[name]} is not on PATH.*{package}"):
        list(generator.sample(SampleRequest(4), ctx))
    assert not list(ctx.artifacts.iterdir())


@pytest.mark.parametrize(("status", "message"), [(3, "exit status 3: no luck"), (0, "wrote no")])
@pytest.mark.parametrize("name", list(PROGRAMS))
def test_a_failing_program_is_an_error_of_one_line(
    panel: Panel,
    tmp_path: Path,
    name: str,
    status: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / PROGRAMS[name]
    program.write_text(f"#!{shutil.which('sh')}\necho no luck >&2\nexit {status}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    ctx = example_context(tmp_path, panel)
    generator = fitted(panel, SPECS[name].params(), ctx)  # type: ignore[arg-type]
    with pytest.raises(BenchError, match=message) as caught:
        list(generator.sample(SampleRequest(4), ctx))
    assert "\n" not in str(caught.value)
    assert not list(ctx.artifacts.iterdir())


@pytest.mark.parametrize(
    ("params", "wrong"),
    [
        (BuiltinReadsParams, {"fragment_mean": 100}),
        (BuiltinReadsParams, {"backend": "art_illumina"}),
        (BuiltinReadsParams, {"deletion_rates": (0.0, 0.5)}),
        (ArtReadsParams, {"sequencing_system": "HS20", "read_length": 150}),
        (ArtReadsParams, {"fragment_mean": 2000}),
        (DwgsimReadsParams, {"error_rates": (0.0, 2.0)}),
        (DwgsimReadsParams, {"sequencing_system": "HS25"}),
    ],
)
def test_params_are_checked_before_anything_runs(
    params: type[ReadsParams], wrong: dict[str, Any]
) -> None:
    with pytest.raises(ValidationError):
        params.model_validate(wrong)


def test_loading_something_else_is_refused_in_one_line(panel: Panel, tmp_path: Path) -> None:
    ctx = example_context(tmp_path, panel)
    with pytest.raises(BenchError, match="not the parameters of saved reads"):
        ReadSimulator().load(tmp_path, ctx)
    with pytest.raises(BenchError, match="not a saved random sequence"):
        RandomSequence().load(tmp_path, ctx)
