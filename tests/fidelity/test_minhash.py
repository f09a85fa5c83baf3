"""Sketches and distances against the `mash` program."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from haplobench import Panel, Reference, ReferenceSequence, RunContext
from haplobench_fidelity import kmers
from haplobench_fidelity.kmers import PlacedCohort, place
from haplobench_fidelity.minhash import (
    hash_kmers,
    mash,
    mash_distance,
    sketch,
    sketch_jaccard,
)
from haplobench_fidelity.specs_haplotypes import MashParams

needs_mash = pytest.mark.skipif(shutil.which("mash") is None, reason="program mash is absent")


def write_fasta(path: Path, cohort: PlacedCohort) -> None:
    """Every haplotype of a cohort written out, one record each."""
    letters = np.frombuffer(b"ACGTN", np.uint8)
    with path.open("wb") as handle:
        for i, haplotype in enumerate(cohort.panel.haplotypes[:, cohort.columns]):
            bases = cohort.bases.copy()
            bases[cohort.offsets] = np.where(
                haplotype == 1, cohort.alternates, bases[cohort.offsets]
            )
            handle.write(b">h%d\n" % i + letters[bases].tobytes() + b"\n")


def mash_sketch(path: Path, k: int, size: int) -> Path:
    out = path.with_suffix("")
    subprocess.run(
        ["mash", "sketch", "-k", str(k), "-s", str(size), "-o", str(out), str(path)],
        check=True,
        capture_output=True,
    )
    return Path(f"{out}.msh")


def mash_hashes(sketched: Path) -> list[int]:
    dump = subprocess.run(
        ["mash", "info", "-d", str(sketched)], check=True, capture_output=True, text=True
    )
    hashes: list[int] = json.loads(dump.stdout)["sketches"][0]["hashes"]
    return hashes


@pytest.fixture
def short(sequence: ReferenceSequence) -> ReferenceSequence:
    bases = sequence.bases[:30_000].copy()
    bases[1000:1010] = ord("N")
    return ReferenceSequence(bases, 1, surrogate=True)


def within(panel: Panel, n_people: int, last: int = 30_000) -> Panel:
    return panel.select_samples(np.arange(n_people)).select_sites(panel.positions <= last)


@needs_mash
@pytest.mark.parametrize("k", [5, 14, 15, 16, 17, 21, 31])
def test_sketch_equals_mash(
    k: int, reference: Reference, short: ReferenceSequence, tmp_path: Path
) -> None:
    cohort = place(short, within(reference.holdout, 6))
    path = tmp_path / "cohort.fa"
    write_fasta(path, cohort)
    assert sketch(cohort, k, 1000).tolist() == mash_hashes(mash_sketch(path, k, 1000))


@needs_mash
@pytest.mark.parametrize("other", ["floor", "independent", "background"])
def test_distance_equals_mash(
    other: str,
    reference: Reference,
    cohorts: dict[str, Panel],
    short: ReferenceSequence,
    ctx: RunContext,
    tmp_path: Path,
) -> None:
    real = within(reference.holdout, 10)
    synthetic = within(cohorts["floor" if other == "background" else other], 10)
    background = short
    if other == "background":
        # Every hundredth base changed: a distance of some size.
        bases = short.bases.copy()
        bases[50::100] = np.where(bases[50::100] == ord("A"), ord("C"), ord("A"))
        background = ReferenceSequence(bases, 1, surrogate=True)
    context = replace(ctx, sequence=short, synthetic_sequence=background)
    result = mash(
        Reference(reference.train, real), synthetic, MashParams(sketch_size=1000), context
    )
    found = result.measurements["distance"]
    files = []
    for name, panel, bases_under in (("real", real, short), ("synthetic", synthetic, background)):
        path = tmp_path / f"{name}.fa"
        write_fasta(path, place(bases_under, panel))
        files.append(str(mash_sketch(path, 21, 1000)))
    line = subprocess.run(["mash", "dist", *files], check=True, capture_output=True, text=True)
    distance = float(line.stdout.split()[2])
    assert found.value == pytest.approx(distance, rel=1e-4, abs=1e-7)  # type: ignore[union-attr]
    if other == "background":
        assert distance > 0.005


def test_hash_of_one_kmer() -> None:
    # MurmurHash3_x64_128, seed 42, of these bytes, from `mash info -d` of Mash 2.3.
    code = sum("ACGT".index(base) << 2 * (20 - i) for i, base in enumerate("ACGTTGCAACGGTCATTGACA"))
    assert hash_kmers(np.array([code], np.int64), 21).tolist() == [6268954712390807846]


def test_chunks_give_the_same_sketch(
    reference: Reference,
    sequence: ReferenceSequence,
    small_blocks: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cohort = place(sequence, reference.holdout)
    whole = sketch(cohort, 21, 300)
    monkeypatch.setattr(kmers, "_CHUNK", 5000)
    monkeypatch.setattr("haplobench.memory._kept", OrderedDict())
    small_blocks(reference.holdout.n_haplotypes * 11)
    np.testing.assert_array_equal(sketch(cohort, 21, 300), whole)
    hashes = hash_kmers(kmers.variant_spectrum(cohort, 21).codes, 21)
    for codes in kmers.invariant_chunks(cohort.masked(), 21):
        hashes = np.union1d(hashes, hash_kmers(codes, 21))
    np.testing.assert_array_equal(np.unique(hashes)[:300], whole)


def test_jaccard_is_of_the_smallest_of_the_union() -> None:
    first = np.array([1, 2, 3, 8], np.uint64)
    second = np.array([2, 3, 4, 5], np.uint64)
    # Smallest four of the union: 1, 2, 3, 4; shared: 2 and 3.
    assert sketch_jaccard(first, second, 4) == 0.5
    assert sketch_jaccard(first[:0], second[:0], 4) is None
    assert sketch_jaccard(first, first, 4) == 1


def test_distance_of_extremes() -> None:
    assert mash_distance(1.0, 21) == 0
    assert mash_distance(0.0, 21) == 1
    assert mash_distance(0.5, 21) == pytest.approx(-np.log(2 / 3) / 21)


def test_copy_is_ideal_and_independent_sites_are_further(
    reference: Reference, cohorts: dict[str, Panel], ctx: RunContext
) -> None:
    values = {}
    for name, cohort in cohorts.items():
        result = mash(reference, cohort, MashParams(), ctx)
        values[name] = result.measurements["distance"].value  # type: ignore[union-attr]
    assert values["copy"] == 0
    assert values["floor"] < values["independent"]
