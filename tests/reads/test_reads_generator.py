"""The generators of reads as the harness meets them."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pysam
import pytest
from pydantic import ValidationError

from haplobench import BenchError, Panel, RunContext, SampleRequest
from haplobench.registry import load_registry, missing_needs
from haplobench.testing import check_generator, example_context, example_panel
from haplobench_reads import haplobench_generators
from haplobench_reads.generator import FittedReadSimulator, ReadSimulator
from haplobench_reads.genome import Genomes, RandomSequence, Sites
from haplobench_reads.specs import (
    ArtReadsParams,
    BuiltinReadsParams,
    DwgsimReadsParams,
    ReadsParams,
)

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
    assert sorted(whole) == [f"synthetic{i}_{m}.fastq.gz" for i in (1, 2, 3) for m in (1, 2)]
    cut = [SampleRequest(3), SampleRequest(1, 3), SampleRequest(500, 4, batch_size=7)]
    assert files(cut, "cut") == whole
    assert files([SampleRequest(600, 600)], "later") == {}
    other = files([SampleRequest(600)], "other", seed=1)
    assert not set(other.values()) & set(whole.values())
    assert len(set(whole.values())) == 6


def test_no_reads_are_written_if_none_are_asked_for(panel: Panel, tmp_path: Path) -> None:
    ctx = example_context(tmp_path, panel, sequence=None)
    generator = fitted(panel, BuiltinReadsParams(reads_individuals=0), ctx)
    rows = np.concatenate(list(generator.sample(SampleRequest(40), ctx)))
    assert rows.shape == (40, panel.n_sites)
    assert not list(ctx.artifacts.iterdir())


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
