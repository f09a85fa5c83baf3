"""Haplotype statistics against scikit-allel and counting pair by pair."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import wasserstein_distance

from haplobench import Panel, PanelError, Reference, RunContext
from haplobench.data.distances import difference_counts
from haplobench_fidelity.haplotype_statistics import (
    Region,
    fst_matrix,
    group_counts,
    haplotype_homozygosity,
    haplotype_statistics,
    homozygous_runs,
    packed_rows,
    site_diversity,
    tajimas_d,
)
from haplobench_fidelity.specs_haplotypes import (
    HAPLOTYPE_STATISTICS,
    HaplotypeStatisticsParams,
)

WINDOW = 20_000
matrices = hnp.arrays(
    np.int8,
    st.tuples(st.integers(1, 8).map(lambda n: 2 * n), st.integers(1, 30)),
    elements=st.integers(0, 1),
)


def panel_of(haplotypes: np.ndarray, positions: Any = None) -> Panel:
    n_haplotypes, n_sites = haplotypes.shape
    at = np.arange(1, n_sites + 1) if positions is None else positions
    return Panel(haplotypes, at, "1", np.array([f"p{i}" for i in range(n_haplotypes // 2)]))


def measure(reference: Reference, cohort: Panel, ctx: RunContext, **params: Any) -> dict[str, Any]:
    result = haplotype_statistics(reference, cohort, HaplotypeStatisticsParams(**params), ctx)
    return dict(result.measurements)


def genotypes(panel: Panel) -> Any:
    allel = pytest.importorskip("allel")
    shape = (panel.n_sites, panel.n_samples, 2)
    return allel.GenotypeArray(np.ascontiguousarray(panel.haplotypes.T).reshape(shape))


def windows(panel: Panel) -> list[tuple[int, int]]:
    first, last = int(panel.positions[0]), int(panel.positions[-1])
    return [(s, s + WINDOW - 1) for s in range(first, last - WINDOW + 2, WINDOW)]


@settings(max_examples=60, deadline=None)
@given(matrices)
def test_homozygosity_equals_scikit_allel(haplotypes: np.ndarray) -> None:
    allel = pytest.importorskip("allel")
    expected = allel.garud_h(allel.HaplotypeArray(np.ascontiguousarray(haplotypes.T)))
    found = haplotype_homozygosity(haplotypes)
    assert found == pytest.approx(expected, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(matrices)
def test_tajimas_d_and_diversity_equal_scikit_allel(haplotypes: np.ndarray) -> None:
    allel = pytest.importorskip("allel")
    counts = haplotypes.sum(axis=0, dtype=np.int64)
    n = haplotypes.shape[0]
    table = allel.AlleleCountsArray(np.stack([n - counts, counts], axis=1))
    diversity = site_diversity(counts, n)
    np.testing.assert_allclose(
        diversity, allel.mean_pairwise_difference(table), atol=1e-12, equal_nan=True
    )
    segregating = int(((counts > 0) & (counts < n)).sum())
    if n > 2:
        np.testing.assert_allclose(
            tajimas_d(segregating, diversity.sum(), n), allel.tajima_d(table), atol=1e-9
        )


@settings(max_examples=60, deadline=None)
@given(matrices)
def test_pairwise_differences_equal_counting(haplotypes: np.ndarray) -> None:
    expected = np.bincount(
        [int((a != b).sum()) for a, b in combinations(haplotypes, 2)], minlength=1
    )
    rows = np.arange(haplotypes.shape[0])
    found = difference_counts(packed_rows(panel_of(haplotypes), rows))
    assert found.tolist() == expected.tolist()


@settings(max_examples=60, deadline=None)
@given(matrices, st.integers(0, 40), st.integers(1, 200))
def test_runs_equal_searching_base_by_base(
    haplotypes: np.ndarray, margin: int, min_run: int
) -> None:
    positions = 5 + 7 * np.arange(haplotypes.shape[1])
    start, end = 5, int(positions[-1]) + margin
    panel = panel_of(haplotypes, positions)
    heterozygous, longest, total = homozygous_runs(panel, start, end, min_run)
    for person in range(panel.n_samples):
        two = haplotypes[2 * person : 2 * person + 2]
        broken = set(positions[two[0] != two[1]].tolist())
        text = "".join("x" if at in broken else "." for at in range(start, end + 1))
        runs = [len(run) for run in text.split("x")]
        assert heterozygous[person] == len(broken)
        assert longest[person] == max(runs)
        assert total[person] == sum(run for run in runs if run >= min_run)


def test_fst_equals_scikit_allel(reference: Reference, cohorts: dict[str, Panel]) -> None:
    allel = pytest.importorskip("allel")
    holdout = reference.holdout
    groups = np.array(["A", "B", "C"])
    counts, sizes = group_counts(holdout, holdout.haplotype_populations, groups)
    found = fst_matrix(counts, sizes)
    tables = [
        genotypes(holdout.select_samples(holdout.population == name)).count_alleles(max_allele=1)
        for name in groups
    ]
    for i, j in combinations(range(3), 2):
        numerator, denominator = allel.hudson_fst(tables[i], tables[j])
        expected = np.nansum(numerator) / np.nansum(denominator)
        assert found[i, j] == pytest.approx(expected, abs=1e-9)
        assert found[i, j] == found[j, i]
    assert found[0, 2] > found[0, 1] > 0


@pytest.mark.parametrize("name", ["floor", "independent"])
def test_measurements_equal_scikit_allel(
    name: str, reference: Reference, cohorts: dict[str, Panel], ctx: RunContext
) -> None:
    allel = pytest.importorskip("allel")
    real, synthetic = reference.holdout, cohorts[name]
    found = {k: m.value for k, m in measure(reference, synthetic, ctx).items()
             if not isinstance(m, list)}  # fmt: skip
    tables = [genotypes(panel) for panel in (real, synthetic)]
    counts = [table.count_alleles(max_allele=1) for table in tables]
    diversity = [allel.mean_pairwise_difference(count).sum() for count in counts]
    heterozygosity = [allel.heterozygosity_observed(table) for table in tables]
    d = [allel.tajima_d(count) for count in counts]
    assert found["diversity_ratio"] == pytest.approx(diversity[1] / diversity[0], abs=1e-9)
    assert found["heterozygosity_ratio"] == pytest.approx(
        heterozygosity[1].sum() / heterozygosity[0].sum(), abs=1e-9
    )
    assert found["tajimas_d_difference"] == pytest.approx(d[1] - d[0], abs=1e-9)
    kb = real.span / 1000
    per_person = [table.is_het().sum(axis=0) / kb for table in tables]
    assert found["heterozygosity_wasserstein"] == pytest.approx(
        wasserstein_distance(*per_person), abs=1e-9
    )
    pairs = [
        allel.pairwise_distance(panel.haplotypes.T.astype("f8"), metric="cityblock") / kb
        for panel in (real, synthetic)
    ]
    assert found["pairwise_differences_wasserstein"] == pytest.approx(
        wasserstein_distance(*pairs), abs=1e-9
    )
    by_window = [
        np.array(
            [
                allel.tajima_d(count, pos=real.positions, start=start, stop=stop)
                for start, stop in windows(real)
            ]
        )
        for count in counts
    ]
    difference = by_window[1] - by_window[0]
    assert found["tajimas_d_rmse"] == pytest.approx(np.sqrt(np.nanmean(difference**2)), abs=1e-9)
    garud = []
    for panel in (real, synthetic):
        rows = []
        for start, stop in windows(real):
            inside = (panel.positions >= start) & (panel.positions <= stop)
            columns = np.ascontiguousarray(panel.haplotypes[:, inside].T)
            rows.append(allel.garud_h(allel.HaplotypeArray(columns)))
        garud.append(np.array(rows))
    rmse = np.sqrt(((garud[1] - garud[0]) ** 2).mean(axis=0))
    names = ("h1_rmse", "h12_rmse", "h123_rmse", "h2_h1_rmse")
    assert [found[key] for key in names] == pytest.approx(rmse.tolist(), abs=1e-9)
    numerator, denominator = allel.hudson_fst(*counts)
    assert found["fst_real_synthetic"] == pytest.approx(
        np.nansum(numerator) / np.nansum(denominator), abs=1e-9
    )


def test_superpopulations_and_populations(
    reference: Reference, cohorts: dict[str, Panel], ctx: RunContext
) -> None:
    allel = pytest.importorskip("allel")
    real, synthetic = reference.holdout, cohorts["floor"]
    found = measure(reference, synthetic, ctx)
    named = {m.labels["superpopulation"]: m.value for m in found["diversity_ratio_superpopulation"]}
    tables = [
        genotypes(panel.select_samples(panel.superpopulation == "AB")).count_alleles(max_allele=1)
        for panel in (real, synthetic)
    ]
    first, second = (allel.mean_pairwise_difference(table).sum() for table in tables)
    assert set(named) == {"AB", "C"}
    assert named["AB"] == pytest.approx(second / first, abs=1e-9)
    squares = []
    for a, b in combinations("ABC", 2):
        fst = []
        for panel in (real, synthetic):
            pair = [
                genotypes(panel.select_samples(panel.population == x)).count_alleles(max_allele=1)
                for x in (a, b)
            ]
            numerator, denominator = allel.hudson_fst(*pair)
            fst.append(np.nansum(numerator) / np.nansum(denominator))
        squares.append((fst[1] - fst[0]) ** 2)
    assert found["fst_rmse"].value == pytest.approx(np.sqrt(np.mean(squares)), abs=1e-9)
    assert found["fst_rmse"].n == 3


def test_copy_is_ideal_and_independent_sites_lose_haplotypes(
    reference: Reference, cohorts: dict[str, Panel], ctx: RunContext
) -> None:
    copy = measure(reference, cohorts["copy"], ctx)
    for submetric in HAPLOTYPE_STATISTICS.submetrics:
        found = copy[submetric.name]
        for measurement in found if isinstance(found, list) else [found]:
            # Hudson's estimator takes the same people for fewer than they are; each copy is at
            # distance 0 from one of them.
            slack = {"fst_real_synthetic": 0.02, "distances_between": 2}.get(submetric.name, 0)
            assert measurement.value == pytest.approx(submetric.ideal, abs=slack), submetric.name
    floor = measure(reference, cohorts["floor"], ctx)
    independent = measure(reference, cohorts["independent"], ctx)
    for name in ("h12_rmse", "run_longest_wasserstein", "pairwise_differences_wasserstein"):
        assert independent[name].value > 2 * floor[name].value, name
    # Allele frequencies are kept, so what rests on them alone is too.
    assert independent["diversity_ratio"].value == pytest.approx(1, abs=0.05)
    assert independent["fst_rmse"].value is None
    assert "labelled people on both sides" in independent["fst_rmse"].note


def test_cohort_with_sites_of_its_own(
    reference: Reference, cohorts: dict[str, Panel], ctx: RunContext
) -> None:
    holdout = reference.holdout
    # The same haplotypes with every site one base further, where there's room, and beyond.
    moved = replace(cohorts["copy"], positions=cohorts["copy"].positions + 1)
    found = measure(reference, moved, ctx)
    assert found["fst_real_synthetic"].value is None
    assert found["fst_real_synthetic"].note == "sites differ"
    assert found["diversity_ratio"].note == "1 sites outside the region left out"
    assert found["diversity_ratio"].value == pytest.approx(1, abs=0.01)
    assert found["h12_rmse"].value < 0.05
    thinned = measure(
        reference, cohorts["copy"].select_sites(np.arange(0, holdout.n_sites, 2)), ctx
    )
    assert thinned["diversity_ratio"].value == pytest.approx(0.5, abs=0.05)


def test_distances_within_and_between_equal_scipy(
    reference: Reference, cohorts: dict[str, Panel], ctx: RunContext
) -> None:
    from scipy.spatial.distance import cdist, pdist

    real, synthetic = reference.holdout.haplotypes, cohorts["independent"].haplotypes[:-6]
    cohort = reference.holdout.with_haplotypes(synthetic)
    found = measure(reference, cohort, ctx)
    of_real, within = (pdist(rows, "cityblock") for rows in (real, synthetic))
    between = cdist(real, synthetic, "cityblock").ravel()
    expected = [wasserstein_distance(of_real, side) for side in (within, between)]
    assert min(expected) > 1
    assert found["distances_within"].value == pytest.approx(expected[0], rel=1e-9)
    assert found["distances_between"].value == pytest.approx(expected[1], rel=1e-9)
    moved = replace(cohort, positions=cohort.positions + 1)
    assert measure(reference, moved, ctx)["distances_between"].note == "sites differ"


def test_sampled_pairs_are_close_and_reproducible(
    reference: Reference, cohorts: dict[str, Panel], ctx: RunContext
) -> None:
    name = "pairwise_differences_wasserstein"
    every = measure(reference, cohorts["independent"], ctx)[name].value
    some = measure(reference, cohorts["independent"], ctx, max_haplotypes=60)[name]
    again = measure(reference, cohorts["independent"], ctx, max_haplotypes=60)[name]
    assert some.value == again.value
    assert some.value == pytest.approx(every, rel=0.5)
    assert some.n == 60 * 59 // 2


def test_haploid_people_and_missing_alleles_say_so(
    reference: Reference, cohorts: dict[str, Panel], ctx: RunContext
) -> None:
    empty = np.empty(0, "U1")
    haploid = replace(
        cohorts["copy"],
        ploidy=1,
        samples=np.array([f"s{i}" for i in range(cohorts["copy"].n_haplotypes)]),
        population=empty,
        superpopulation=empty,
        family=empty,
    )
    found = measure(reference, haploid, ctx)
    assert found["heterozygosity_ratio"].value is None
    assert found["heterozygosity_ratio"].note == "people are not diploid"
    assert found["diversity_ratio"].value == pytest.approx(1)
    haplotypes = cohorts["copy"].haplotypes.copy()
    haplotypes[3, 5] = -1
    with pytest.raises(PanelError, match="synthetic panel has missing alleles"):
        measure(reference, replace(cohorts["copy"], haplotypes=haplotypes), ctx)


def test_empty_and_flat_panels_give_notes_not_errors(
    reference: Reference, cohorts: dict[str, Panel], ctx: RunContext
) -> None:
    none = reference.holdout.select_sites(np.arange(0))
    found = measure(Reference(reference.train, none), cohorts["copy"], ctx)
    assert {m.value for m in found.values()} == {None}
    assert set(found) == {submetric.name for submetric in HAPLOTYPE_STATISTICS.submetrics}
    flat = cohorts["copy"].with_haplotypes(np.zeros_like(cohorts["copy"].haplotypes))
    found = measure(reference, flat, ctx)
    assert found["diversity_ratio"].value == 0
    assert found["tajimas_d_difference"].value is None
    assert found["tajimas_d_rmse"].value is None
    found = measure(Reference(reference.train, flat), flat, ctx)
    assert found["diversity_ratio"].value is None
    assert found["fst_real_synthetic"].note == "no site varies"


def test_windows_are_whole_and_tile_the_region() -> None:
    assert Region(11, 50).windows(20).tolist() == [11, 31]
    assert Region(11, 49).windows(20).tolist() == [11]
    assert Region(11, 15).windows(20).tolist() == [11]
    panel = panel_of(np.zeros((2, 4), np.int8), np.array([11, 30, 31, 51]))
    assert Region(11, 50).window_columns(panel, 20).tolist() == [[0, 2], [2, 3]]
