"""k-mer spectra against naive counting, and their divergence against scipy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from haplobench import Panel, PanelError, Reference, ReferenceSequence, RunContext
from haplobench_fidelity import kmers
from haplobench_fidelity.haplotype_words import align, jensen_shannon
from haplobench_fidelity.kmers import (
    invariant_spectrum,
    kmer_spectra,
    place,
    place_real,
    place_synthetic,
    variant_spectrum,
)
from haplobench_fidelity.specs_haplotypes import KmerParams

COMPLEMENT = str.maketrans("ACGT", "TGCA")


def canonical(kmer: str) -> str:
    return min(kmer, kmer.translate(COMPLEMENT)[::-1])


def written_out(bases: str, start: int, panel: Panel) -> list[str]:
    """Every haplotype as a string, its alleles put in one by one."""
    sequences = []
    for haplotype in panel.haplotypes:
        letters = list(bases)
        for allele, position, ref, alt in zip(
            haplotype, panel.positions, panel.ref, panel.alt, strict=True
        ):
            letters[position - start] = str(alt if allele else ref)
        sequences.append("".join(letters))
    return sequences


def naive(bases: str, start: int, panel: Panel, k: int, strands: bool) -> tuple[Counter, Counter]:
    """(k-mers that overlap a site, the others), counted haplotype by haplotype."""
    variant: Counter[str] = Counter()
    invariant: Counter[str] = Counter()
    offsets = set((panel.positions - start).tolist())
    for text in written_out(bases, start, panel):
        for i in range(len(text) - k + 1):
            kmer = text[i : i + k]
            if "N" in kmer:
                continue
            overlaps = any(j in offsets for j in range(i, i + k))
            (variant if overlaps else invariant)[canonical(kmer) if strands else kmer] += 1
    return variant, invariant


def decoded(spectrum: kmers.Spectrum, k: int) -> Counter[str]:
    def text(code: int) -> str:
        return "".join("ACGT"[code >> 2 * (k - 1 - i) & 3] for i in range(k))

    return Counter(
        {text(int(c)): int(n) for c, n in zip(spectrum.codes, spectrum.counts, strict=True)}
    )


@st.composite
def placed(draw: st.DrawFn) -> tuple[str, int, Panel]:
    length = draw(st.integers(1, 60))
    bases = draw(st.text("ACGTN", min_size=length, max_size=length))
    start = draw(st.integers(1, 1000))
    offsets = sorted(draw(st.sets(st.integers(0, length - 1), max_size=40)))
    n = draw(st.integers(1, 4)) * 2
    alleles = draw(
        st.lists(st.integers(0, 1), min_size=n * len(offsets), max_size=n * len(offsets))
    )
    pairs = draw(
        st.lists(
            st.permutations("ACGT").map(lambda p: p[:2]),
            min_size=len(offsets),
            max_size=len(offsets),
        )
    )
    panel = Panel(
        np.array(alleles, np.int8).reshape(n, len(offsets)),
        np.array(offsets, np.int64) + start,
        "1",
        np.array([f"p{i}" for i in range(n // 2)]),
        ref=np.array([p[0] for p in pairs], "U1"),
        alt=np.array([p[1] for p in pairs], "U1"),
    )
    return bases, start, panel


def background(bases: str, start: int) -> ReferenceSequence:
    return ReferenceSequence(np.frombuffer(bases.encode(), np.uint8), start, surrogate=False)


@settings(max_examples=150, deadline=None)
@given(placed(), st.integers(1, 31), st.booleans())
def test_spectra_equal_naive_counts(case: Any, k: int, strands: bool) -> None:
    bases, start, panel = case
    cohort = place(background(bases, start), panel)
    variant, invariant = naive(bases, start, panel, k, strands)
    assert decoded(variant_spectrum(cohort, k, strands), k) == variant
    once = decoded(invariant_spectrum(cohort.masked(), k, strands), k) if k <= 13 else None
    if once is not None:
        assert Counter({x: n * panel.n_haplotypes for x, n in once.items()}) == invariant


def test_blocks_of_sites_give_the_same_spectrum(
    reference: Reference,
    sequence: ReferenceSequence,
    small_blocks: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cohort = place(sequence, reference.holdout)
    whole = variant_spectrum(cohort, 21)
    table = invariant_spectrum(cohort.masked(), 11)
    small_blocks(reference.holdout.n_haplotypes * 7)
    monkeypatch.setattr(kmers, "_CHUNK", 1000)
    monkeypatch.setattr(kmers, "_DENSE_K", 5)
    parts = variant_spectrum(cohort, 21)
    np.testing.assert_array_equal(whole.codes, parts.codes)
    np.testing.assert_array_equal(whole.counts, parts.counts)
    listed = invariant_spectrum(cohort.masked(), 11)
    np.testing.assert_array_equal(table.codes, listed.codes)
    np.testing.assert_array_equal(table.counts, listed.counts)


@given(
    st.dictionaries(st.integers(0, 50), st.integers(1, 100), min_size=1),
    st.dictionaries(st.integers(0, 50), st.integers(1, 100), min_size=1),
)
@settings(deadline=None)
def test_divergence_equals_scipy(first: dict[int, int], second: dict[int, int]) -> None:
    tables = []
    for table in (first, second):
        keys = np.array(sorted(table), np.int64)
        tables += [keys, np.array([table[int(key)] for key in keys], np.int64)]
    keys, counts, others = align(*tables)
    union = sorted(first | second)
    assert keys.tolist() == union
    assert counts.tolist() == [first.get(key, 0) for key in union]
    expected = jensenshannon(counts, others, base=2) ** 2
    assert jensen_shannon(counts, others) == pytest.approx(expected, abs=1e-12)


def measure(reference: Reference, cohort: Panel, ctx: RunContext, **params: Any) -> dict[str, Any]:
    result = kmer_spectra(reference, cohort, KmerParams(**params), ctx)
    return dict(result.measurements)


def test_divergence_of_whole_cohorts_equals_naive_counts(
    reference: Reference, cohorts: dict[str, Panel], ctx: RunContext, sequence: ReferenceSequence
) -> None:
    end = int(reference.holdout.positions[39])
    sites = np.arange(40)
    short = ReferenceSequence(sequence.bases[: end + 20], 1, surrogate=True)
    panels = [
        panel.select_samples(np.arange(4)).select_sites(sites)
        for panel in (reference.holdout, cohorts["independent"])
    ]
    found = measure(
        Reference(reference.train, panels[0]), panels[1], replace(ctx, sequence=short), k=9
    )
    text = short.bases.tobytes().decode()
    counted = [naive(text, 1, panel, 9, True) for panel in panels]
    variant = [c[0] for c in counted]
    every = [c[0] + c[1] for c in counted]
    for name, (first, second) in (("variant_jsd", variant), ("all_jsd", every)):
        union = sorted(first | second)
        expected = jensenshannon([first[x] for x in union], [second[x] for x in union], base=2) ** 2
        assert found[name].value == pytest.approx(expected, abs=1e-12)
    assert found["variant_distinct_ratio"].value == len(variant[1]) / len(variant[0])
    assert found["variant_jsd"].note == "surrogate reference"


def test_copy_is_ideal_and_independent_sites_are_not(
    reference: Reference, cohorts: dict[str, Panel], ctx: RunContext
) -> None:
    copy = measure(reference, cohorts["copy"], ctx)
    assert (copy["variant_jsd"].value, copy["all_jsd"].value) == (0, 0)
    assert copy["variant_distinct_ratio"].value == 1
    floor = measure(reference, cohorts["floor"], ctx)["variant_jsd"].value
    assert 0 < floor < measure(reference, cohorts["independent"], ctx)["variant_jsd"].value


def test_unknown_alleles_are_the_same_on_both_sides(
    reference: Reference, cohorts: dict[str, Panel], ctx: RunContext
) -> None:
    unknown = np.full(reference.holdout.n_sites, "N")
    real = replace(reference.holdout, ref=unknown, alt=unknown)
    copy = replace(cohorts["copy"], ref=unknown, alt=unknown)
    found = measure(Reference(reference.train, real), copy, ctx)["variant_jsd"]
    assert found.value == 0
    assert f"{real.n_sites} sites with surrogate alleles" in found.note
    sites = np.arange(0, real.n_sites, 2)
    every, other = place(ctx.sequence, real), place(ctx.sequence, real.select_sites(sites))  # type: ignore[arg-type]
    np.testing.assert_array_equal(every.alternates[sites], other.alternates)
    assert (every.alternates != every.bases[every.offsets]).all()


def test_alleles_of_several_bases_and_sites_outside_are_left_out(
    reference: Reference, cohorts: dict[str, Panel], ctx: RunContext
) -> None:
    alt = reference.holdout.alt.astype("U8")
    alt[3], alt[4] = "ACG", "<CN0>"
    panel = replace(cohorts["copy"], alt=alt)
    short = replace(ctx, sequence=ReferenceSequence(ctx.sequence.bases[:100_000], 1, True))  # type: ignore[union-attr]
    note = measure(reference, panel, short)["all_jsd"].note
    outside = int((panel.positions > 100_000).sum())
    assert "2 sites with alleles of several bases left out" in note
    assert f"{outside} sites outside the reference left out" in note


def test_own_background_of_a_generator_is_used(
    reference: Reference, cohorts: dict[str, Panel], ctx: RunContext
) -> None:
    rng = np.random.default_rng(0)
    other = ReferenceSequence(rng.choice(list(b"ACGT"), 200_000).astype(np.uint8), 1, True)
    own = measure(reference, cohorts["copy"], replace(ctx, synthetic_sequence=other), k=15)
    assert own["all_jsd"].value > 0.99
    assert own["variant_jsd"].value > 0.9


def test_real_reference_alleles_lie_under_a_cohort_with_other_sites(
    reference: Reference, ctx: RunContext
) -> None:
    holdout = reference.holdout
    half = holdout.select_sites(np.arange(0, holdout.n_sites, 2))
    found = measure(reference, half, ctx)
    assert found["variant_jsd"].value is None
    assert found["variant_jsd"].note == "sites differ"
    assert 0 < found["all_jsd"].value < 1
    real, synthetic = place_real(holdout, ctx), place_synthetic(half, holdout, ctx)
    assert real is not None
    np.testing.assert_array_equal(real.bases, synthetic.bases)


def test_no_reference_no_variant_and_missing_alleles_say_so(
    reference: Reference, cohorts: dict[str, Panel], ctx: RunContext
) -> None:
    none = measure(reference, cohorts["copy"], replace(ctx, sequence=None))
    assert none["variant_jsd"].value is None
    assert none["variant_jsd"].note == "no reference sequence"
    empty = cohorts["copy"].select_sites(np.arange(0))
    assert "no k-mer overlaps" in measure(reference, empty, ctx)["variant_jsd"].note
    haplotypes = cohorts["copy"].haplotypes.copy()
    haplotypes[0, 0] = -1
    with pytest.raises(PanelError, match="synthetic panel has missing alleles"):
        measure(reference, replace(cohorts["copy"], haplotypes=haplotypes), ctx)
