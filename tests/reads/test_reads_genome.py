"""People by site frequency, their genomes, and FASTA."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pysam
import pytest
from numpy.typing import NDArray
from scipy import stats

from haplobench import BenchError, Panel, ReferenceSequence, SampleRequest
from haplobench.testing import example_context, example_panel
from haplobench_reads import haplobench_generators
from haplobench_reads.genome import Genomes, RandomSequence, Sites, reference_under, write_fasta


def sites(ref: list[str], alt: list[str]) -> Sites:
    n = len(ref)
    return Sites("1", 2, 101 + 2 * np.arange(n), np.array(ref), np.array(alt), np.full(n, 0.5))


def genomes(ref: list[str], alt: list[str], bases: bytes) -> Genomes:
    reference = ReferenceSequence(np.frombuffer(bases, np.uint8), 100, surrogate=False)
    return Genomes.of(reference, sites(ref, alt))


def test_alleles_are_written_at_their_positions() -> None:
    made = genomes(["C", "g", "T"], ["A", "T", "G"], b"acgtacgt")
    assert made.haplotype(np.array([0, 0, 0], np.int8)).tobytes() == b"ACGGATGT"
    assert made.haplotype(np.array([1, 0, 1], np.int8)).tobytes() == b"AAGGAGGT"


def test_indels_symbols_and_sites_outside_stay_as_in_the_reference() -> None:
    made = genomes(["CG", "T", "C", "T", "A"], ["C", "<DEL>", "*", "G", "C"], b"ACGTACGT")
    assert made.columns.tolist() == [3]
    assert made.haplotype(np.ones(5, np.int8)).tobytes() == b"ACGTACGG"


def test_unnamed_alternates_are_transitions() -> None:
    made = genomes(["N", "N", "N"], ["N", "N", "N"], b"ACGTANGT")
    assert made.haplotype(np.ones(3, np.int8)).tobytes() == b"ATGCANGT"


def test_the_surrogate_covers_the_sites_and_depends_on_the_seed(tmp_path: Path) -> None:
    panel = example_panel()
    one, again, other = (
        reference_under(Sites.of(panel), example_context(tmp_path, panel, seed, sequence=None))
        for seed in (1, 1, 2)
    )
    assert one.surrogate
    assert one.start == panel.positions[0]
    assert one.bases.size == panel.span
    np.testing.assert_array_equal(one.bases, again.bases)
    assert (one.bases != other.bases).any()


def test_a_sequence_too_short_for_a_fragment_is_refused() -> None:
    with pytest.raises(BenchError, match="found 8 bp, expected at least 400 bp"):
        genomes(["C"], ["A"], b"ACGTACGT").require(400)


@pytest.mark.parametrize("length", [59, 60, 61, 240])
def test_fasta_is_read_by_htslib(tmp_path: Path, length: int) -> None:
    bases = np.frombuffer(b"ACGT", np.uint8)[np.random.default_rng(0).integers(0, 4, length)]
    path = tmp_path / "one.fa"
    write_fasta(path, "one", bases)
    assert max(map(len, path.read_text().splitlines())) <= 60
    with pysam.FastaFile(str(path)) as fasta:
        assert fasta.fetch("one").encode() == bases.tobytes()


def test_people_are_in_hardy_weinberg_proportions_without_ld() -> None:
    frequencies = np.array([0.0, 0.02, 0.3, 0.5, 0.97, 1.0])
    of = replace(sites(["A"] * 6, ["C"] * 6), frequencies=frequencies)
    drawn = np.concatenate([of.draw(np.random.default_rng(seed)) for seed in range(80)])
    n = drawn.shape[0]
    assert drawn.dtype == np.int8
    z = (drawn.mean(axis=0) - frequencies)[1:5]
    assert (np.abs(z) < 5 * np.sqrt(frequencies * (1 - frequencies) / n)[1:5]).all()
    assert (drawn[:, 0] == 0).all()
    assert (drawn[:, 5] == 1).all()
    heterozygous = (drawn[::2] != drawn[1::2]).mean(axis=0)
    np.testing.assert_allclose(heterozygous, 2 * frequencies * (1 - frequencies), atol=0.025)
    r = np.corrcoef(drawn[:, 1:5].T)[np.triu_indices(4, 1)]
    assert np.abs(r).max() < 5 / np.sqrt(n)


SPECS = {spec.name: spec for spec in haplobench_generators()}


@pytest.fixture(scope="module")
def panel() -> Panel:
    return example_panel(n_samples=40, n_sites=120)


def test_random_sequence_is_uniform_in_alleles_and_bases(panel: Panel, tmp_path: Path) -> None:
    ctx = example_context(tmp_path, panel)
    generator = RandomSequence().fit(panel, SPECS["random-sequence"].params(), ctx)  # type: ignore[arg-type]
    rows: NDArray[np.int8] = np.concatenate(list(generator.sample(SampleRequest(1000), ctx)))
    assert stats.binomtest(int(rows.sum()), rows.size, 0.5).pvalue > 1e-4
    background = generator.reference_sequence()
    assert background.surrogate
    assert ctx.sequence is not None
    assert (background.start, background.bases.size) == (
        ctx.sequence.start,
        ctx.sequence.bases.size,
    )
    letters, counts = np.unique(background.bases, return_counts=True)
    assert letters.tobytes() == b"ACGT"
    assert stats.chisquare(counts).pvalue > 1e-4
    # 41 % G+C, as under real people, would be caught.
    assert (
        stats.chisquare(counts, counts.sum() * np.array([0.295, 0.205, 0.205, 0.295])).pvalue < 1e-9
    )
    np.testing.assert_array_equal(background.bases, generator.reference_sequence().bases)


def test_random_sequence_without_a_dataset_sequence_spans_the_sites(
    panel: Panel, tmp_path: Path
) -> None:
    ctx = example_context(tmp_path, panel, sequence=None)
    background = (
        RandomSequence().fit(panel, SPECS["random-sequence"].params(), ctx).reference_sequence()  # type: ignore[arg-type]
    )
    assert (background.start, background.bases.size) == (panel.positions[0], panel.span)
