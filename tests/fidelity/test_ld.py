"""LD metrics: ideal for a copy, bad where LD is broken, right about windows and policies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from founder_panels import (
    Measure,
    founders_panel,
    independent_sites,
    independent_windows,
    note,
    value,
    values,
    with_missing,
)
from pydantic import ValidationError

from haplobench import Panel, RecombinationMap, Reference, RunContext
from haplobench.registry import load_registry
from haplobench_fidelity.ld import (
    block_ranges,
    cross_border_ranges,
    in_window_ranges,
    log_edges,
    third_moments,
)
from haplobench_fidelity.ld_pairs import pack_sites
from haplobench_fidelity.specs_sites import DecayParams, LongRangeParams, MatrixParams

NAMES = ["allele-frequency", "allele-frequency-spectrum", "ld-decay", "ld-matrix", "long-range-ld"]
CORRELATIONS = {
    "ld-matrix": ["in_window", "cross_border", "blocks"],
    "long-range-ld": ["correlation"],
}


@pytest.fixture
def with_map(ctx: RunContext, founders: Reference) -> RunContext:
    positions = founders.holdout.positions
    uniform = RecombinationMap.uniform(int(positions[0]), int(positions[-1]), 2.0)
    return replace(ctx, recombination_map=uniform)


@pytest.mark.parametrize("name", NAMES)
def test_results_are_what_the_spec_declares(
    name: str, founders: Reference, measure: Measure, with_map: RunContext
) -> None:
    spec = load_registry(["haplobench_fidelity"]).metrics[name]
    result = measure(name, founders, founders_panel(150, 600, 4), with_map)
    assert list(result.measurements) == [submetric.name for submetric in spec.submetrics]
    for submetric in spec.submetrics:
        for found in values(result, submetric.name).values():
            assert found is None or np.isfinite(found)


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_of_held_out_people_is_ideal(
    name: str, founders: Reference, measure: Measure, with_map: RunContext
) -> None:
    spec = load_registry(["haplobench_fidelity"]).metrics[name]
    result = measure(name, founders, founders.holdout, with_map)
    for submetric in spec.submetrics:
        found = [x for x in values(result, submetric.name).values() if x is not None]
        assert found
        np.testing.assert_allclose(found, submetric.ideal, atol=1e-7)


def test_independent_sites_have_no_ld(founders: Reference, measure: Measure) -> None:
    cohort = independent_sites(founders.train, 300, seed=1)
    real = founders_panel(150, 600, 4)
    decay = measure("ld-decay", founders, cohort)
    assert value(decay, "rmse") > 10 * value(measure("ld-decay", founders, real), "rmse")
    assert value(decay, "bias") < -0.03
    for name, submetrics in CORRELATIONS.items():
        result = measure(name, founders, cohort)
        for submetric in submetrics:
            assert abs(value(result, submetric)) < 0.2
    assert value(measure("ld-matrix", founders, cohort), "frobenius") > 0.9
    lost, kept = (
        value(measure("long-range-ld", founders, panel), "three_point_mean")
        for panel in (cohort, real)
    )
    assert lost < kept - 0.4


@pytest.mark.parametrize("window", [128, 64])
def test_windows_drawn_independently_lose_ld_across_their_borders(
    window: int, founders: Reference, measure: Measure
) -> None:
    cohort = independent_windows(founders.train, 300, window, seed=2)
    broken = measure("ld-matrix", founders, cohort)
    real = measure("ld-matrix", founders, founders_panel(150, 600, 4))
    assert value(real, "cross_border") > 0.85
    assert value(broken, "cross_border") < 0.2
    if window == 128:
        assert value(broken, "in_window") > 0.9
    assert value(broken, "blocks") < value(real, "blocks") - 0.08


def test_pairs_of_windows_borders_and_blocks_are_those_defined() -> None:
    sites = np.array([0, 3, 5, 7, 8, 9, 12, 15, 16, 30, 31])
    window, reach = 8, 5

    def listed(ranges: tuple[np.ndarray, np.ndarray]) -> set[tuple[int, int]]:
        pairs = enumerate(zip(*ranges, strict=True))
        return {(int(sites[i]), int(sites[j])) for i, (a, b) in pairs for j in range(a, b)}

    every = {(int(a), int(b)) for a in sites for b in sites if a < b and b - a <= reach}
    inside = {(a, b) for a, b in every if a // window == b // window}
    assert listed(in_window_ranges(sites, window, reach)) == inside
    assert listed(cross_border_ranges(sites, window, reach)) == every - inside
    blocks = listed(block_ranges(sites.size, 4))
    order = {int(site): i // 4 for i, site in enumerate(sites)}
    assert blocks == {
        (int(a), int(b)) for a in sites for b in sites if a < b and order[int(a)] == order[int(b)]
    }


def test_borders_count_all_panel_sites_not_only_common_ones(
    founders: Reference, measure: Measure
) -> None:
    # Half the sites are rare: borders at every 128th common site would miss the broken ones.

    def thinned(panel: Panel) -> Panel:
        haplotypes = panel.haplotypes.copy()
        haplotypes[:, 1::2] = 0
        haplotypes[:2, 1::2] = 1
        return replace(panel, haplotypes=haplotypes)

    sparse = Reference(thinned(founders.train), thinned(founders.holdout))
    cohort = independent_windows(sparse.train, 300, 128, seed=3)
    result = measure("ld-matrix", sparse, cohort)
    assert value(result, "in_window") > 0.9
    assert value(result, "cross_border") < 0.3


@pytest.mark.parametrize("max_sites", [2000, 150])
def test_squared_r_of_all_pairs_is_that_of_numpy(
    max_sites: int, founders: Reference, measure: Measure
) -> None:
    cohort = founders_panel(150, 600, 4)
    cohort = replace(cohort, haplotypes=np.where(np.arange(600) % 50, cohort.haplotypes, 0))
    result = measure("ld-matrix", founders, cohort, fixed="all-polymorphic", max_sites=max_sites)
    sides = [panel.haplotypes.astype(float) for panel in (founders.holdout, cohort)]
    vary = np.flatnonzero((np.ptp(sides[0], axis=0) > 0) & (np.ptp(sides[1], axis=0) > 0))
    if vary.size > max_sites:
        vary = vary[np.linspace(0, vary.size - 1, max_sites).round().astype(int)]
    pairs = np.triu_indices(vary.size, 1)
    real, synthetic = (np.corrcoef(x[:, vary], rowvar=False)[pairs] ** 2 for x in sides)
    assert value(result, "squared") == pytest.approx(np.corrcoef(real, synthetic)[0, 1], abs=1e-9)
    rmse = np.sqrt(np.mean((real - synthetic) ** 2))
    assert value(result, "squared_rmse") == pytest.approx(rmse, abs=1e-9)


def test_fixed_site_policies_differ_as_documented(founders: Reference, measure: Measure) -> None:
    cohort = founders_panel(150, 600, 4)
    haplotypes = cohort.haplotypes.copy()
    haplotypes[:, ::3] = 0
    cohort = replace(cohort, haplotypes=haplotypes)
    drop, zero, polymorphic = (
        measure("ld-matrix", founders, cohort, fixed=policy, min_maf=0.15)
        for policy in ("drop", "zero", "all-polymorphic")
    )
    assert value(drop, "in_window") > 0.9
    assert value(zero, "in_window") < value(drop, "in_window") - 0.05
    pairs = [result.measurements["blocks"].n for result in (drop, zero, polymorphic)]  # type: ignore[union-attr]
    assert pairs[0] < pairs[1]
    assert pairs[0] < pairs[2]
    common = (founders.holdout.maf > 0.15) & (np.arange(600) % 3 > 0)
    assert f"{common.sum()} sites" in note(drop, "in_window")
    bias = [
        value(measure("ld-decay", founders, cohort, fixed=policy), "bias")
        for policy in ("drop", "zero")
    ]
    assert bias[1] < bias[0] - 0.015


def test_log_bins_fill_the_region() -> None:
    # A published tool mixed natural and base-10 logarithms: its bins ended far from the region's.
    edges = log_edges(250, 139_000, 20)
    assert edges[0] == pytest.approx(250)
    assert edges[-1] == pytest.approx(139_000)
    assert edges.size == 21
    np.testing.assert_allclose(edges[1:] / edges[:-1], (139_000 / 250) ** (1 / 20))


def test_decay_by_genetic_distance_is_decay_by_bp_on_a_uniform_map(
    founders: Reference, measure: Measure, with_map: RunContext
) -> None:
    cohort = founders_panel(150, 600, 4)
    result = measure(
        "ld-decay",
        founders,
        cohort,
        with_map,
        min_distance=1000,
        max_distance=100_000,
        min_centimorgan=0.002,
        max_centimorgan=0.2,
    )
    assert value(result, "rmse_centimorgan") == pytest.approx(value(result, "rmse"), rel=0.05)
    without = measure("ld-decay", founders, cohort)
    assert "no recombination map" in note(without, "rmse_centimorgan")


def test_cohorts_with_sites_of_their_own_are_measured_by_distance(
    founders: Reference, measure: Measure
) -> None:
    other = founders_panel(150, 600, 4)
    moved = replace(other, positions=other.positions + 13)
    own = measure("ld-decay", founders, moved)
    same = measure("ld-decay", founders, other)
    assert "each side's own" in note(own, "rmse")
    assert value(own, "rmse") == pytest.approx(value(same, "rmse"), abs=0.02)


def test_unphased_people_are_measured_by_dosage(founders: Reference, measure: Measure) -> None:
    cohort = replace(founders_panel(150, 600, 4), phased=False)
    matrix = measure("ld-matrix", founders, cohort)
    assert value(matrix, "in_window") > 0.8
    assert "dosages" in note(matrix, "in_window")
    assert "dosages" in note(measure("ld-decay", founders, cohort), "rmse")
    assert value(measure("long-range-ld", founders, cohort), "three_point_mean") > 0.2


def test_unphased_people_of_other_ploidy_are_not_applicable(measure: Measure) -> None:
    panel = founders_panel(150, 200, 4)
    names = np.array([f"t{i}" for i in range(100)])
    triploid = Panel(
        haplotypes=panel.haplotypes,
        positions=panel.positions,
        contig="1",
        samples=names,
        ploidy=3,
        phased=False,
    )
    for name in ("ld-decay", "ld-matrix", "long-range-ld"):
        result = measure(name, Reference(triploid, triploid), triploid)
        for submetric in result.measurements:
            assert set(values(result, submetric).values()) == {None}
            assert "ploidy 3" in note(result, submetric)


def test_missing_alleles_change_little(founders: Reference, measure: Measure) -> None:
    cohort = founders_panel(150, 600, 4)
    haplotypes = cohort.haplotypes.copy()
    haplotypes[np.random.default_rng(0).random(haplotypes.shape) < 0.03] = -1
    holed = replace(cohort, haplotypes=haplotypes)
    for name, submetric in (
        ("ld-matrix", "in_window"),
        ("ld-decay", "rmse"),
        ("long-range-ld", "three_point_mean"),
    ):
        found = value(measure(name, founders, holed), submetric)
        assert found == pytest.approx(value(measure(name, founders, cohort), submetric), abs=0.03)


def test_regions_too_small_say_so(measure: Measure) -> None:
    panel = founders_panel(50, 100, 4, spacing=20)
    small = Reference(panel, panel)
    distant = measure("long-range-ld", small, panel)
    assert values(distant, "correlation") == {(): None}
    assert "100,000 bp" in note(distant, "correlation")
    triplets = values(distant, "three_point")
    assert triplets["16",] == pytest.approx(1)
    assert triplets["64",] is None
    matrix = measure("ld-matrix", small, panel)
    assert values(matrix, "cross_border") == {(): None}
    assert "window 128" in note(matrix, "cross_border")
    nothing = panel.select_sites(np.zeros(100, bool))
    for name in ("ld-decay", "ld-matrix", "long-range-ld"):
        found = measure(name, Reference(nothing, nothing), nothing)
        for submetric in found.measurements:
            assert set(values(found, submetric).values()) == {None}


def test_many_sites_are_thinned_evenly(founders: Reference, measure: Measure) -> None:
    cohort = founders_panel(150, 600, 4)
    whole = measure("long-range-ld", founders, cohort)
    thin = measure("long-range-ld", founders, cohort, max_sites=120)
    assert "120 sites" in note(thin, "correlation")
    assert value(thin, "rmse") == pytest.approx(value(whole, "rmse"), rel=0.15)


@pytest.mark.parametrize(
    ("params", "bad"),
    [
        (MatrixParams, {"window": 32}),
        (LongRangeParams, {"gaps": (0, 1)}),
        (LongRangeParams, {"gaps": ()}),
        (DecayParams, {"fixed": "keep"}),
        (DecayParams, {"bin": 3}),
    ],
)
def test_impossible_parameters_are_refused(params: Any, bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        params(**bad)


def test_real_people_and_independent_sites_on_chr1(
    chr1: Mapping[str, Any], measure: Measure, ctx: RunContext
) -> None:
    """The figures that the definitions were fixed by: floor about .002, independent about .17."""
    founders, floor = chr1["reference"], chr1["floor"]
    context = replace(ctx, recombination_map=chr1["map"])
    assert value(measure("ld-decay", founders, floor, context), "rmse") <= 0.003
    matrix = measure("ld-matrix", founders, floor)
    assert value(matrix, "in_window") > 0.995
    assert value(matrix, "cross_border") > 0.985
    by_superpopulation = np.zeros((floor.n_haplotypes, floor.n_sites), np.int8)
    rng = np.random.default_rng(5)
    for label in np.unique(floor.superpopulation):
        people = founders.train.select_samples(founders.train.superpopulation == label)
        rows = floor.haplotype_superpopulations == label
        by_superpopulation[rows] = rng.random((rows.sum(), floor.n_sites)) < people.frequencies
    independent = replace(floor, haplotypes=by_superpopulation)
    assert 0.16 < value(measure("ld-decay", founders, independent), "rmse") < 0.18
    matrix = measure("ld-matrix", founders, independent)
    assert 0.35 < value(matrix, "in_window") < 0.5
    assert 0.33 < value(matrix, "cross_border") < 0.5


@pytest.mark.parametrize("dosages", [False, True])
@pytest.mark.parametrize("missing", [0.0, 0.1])
@pytest.mark.parametrize("gap", [1, 7])
def test_third_moments_are_those_of_numpy(dosages: bool, missing: float, gap: int) -> None:
    panel = with_missing(founders_panel(75, 40, seed=14), missing)
    rows = (panel.dosages() if dosages else panel.haplotypes).astype(float)
    rows[rows < 0] = np.nan
    expected = []
    for i in range(40 - 2 * gap):
        triplet = rows[:, [i, i + gap, i + 2 * gap]]
        triplet = triplet[~np.isnan(triplet).any(axis=1)]
        expected.append(np.prod(triplet - triplet.mean(axis=0), axis=1).mean())
    found = third_moments(pack_sites(panel, dosages=dosages), gap)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_third_moments_are_empty_where_no_triplet_fits() -> None:
    assert third_moments(pack_sites(founders_panel(10, 20, seed=1)), 10).size == 0
