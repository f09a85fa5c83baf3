"""Principal components against scikit-allel, distances against scipy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from haplobench import Panel, Reference, RunContext
from haplobench.runner.floor import dealt_cohort
from haplobench_fidelity import principal_components
from haplobench_fidelity.principal_components import pca, principal_axes
from haplobench_fidelity.specs_haplotypes import PCA, PcaParams


def measure(reference: Reference, cohort: Panel, ctx: RunContext, **params: Any) -> dict[str, Any]:
    result = pca(reference, cohort, PcaParams(**params), ctx)
    return dict(result.measurements)


@pytest.mark.parametrize("n_sites", [400, 60])
def test_scores_equal_scikit_allel_and_scikit_learn(n_sites: int, reference: Reference) -> None:
    # More sites than people, and fewer: both Gram matrices.
    pytest.importorskip("allel")
    from allel.stats.preprocessing import PattersonScaler
    from sklearn.decomposition import PCA

    train = reference.train.select_sites(np.arange(min(n_sites, reference.train.n_sites)))
    train = train.select_sites(train.maf > 0)
    holdout = reference.holdout.select_sites(np.isin(reference.holdout.positions, train.positions))

    def dosages(panel: Panel) -> Any:
        return panel.dosages().T.astype(float)  # it would go on in half precision with integers

    scaler = PattersonScaler(copy=True, ploidy=2).fit(dosages(train))
    model = PCA(n_components=5, svd_solver="full").fit(scaler.transform(dosages(train)).T)
    axes = principal_axes(train, 5)
    own = axes.project(train)
    signs = np.sign((axes.loadings * model.components_.T).sum(axis=0))
    for panel in (train, holdout):
        expected = model.transform(scaler.transform(dosages(panel)).T) * signs
        np.testing.assert_allclose(axes.project(panel), expected, atol=1e-8)
    np.testing.assert_allclose(own.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(axes.loadings.T @ axes.loadings, np.eye(5), atol=1e-10)


def test_both_gram_matrices_and_blocks_agree(
    reference: Reference, small_blocks: Callable[[int], None]
) -> None:
    n_people = reference.train.n_samples
    wide = reference.train.select_sites(np.arange(n_people + 10))
    wide = wide.select_sites(wide.maf > 0)
    whole = principal_axes(wide, 4)
    tall = principal_axes(wide.select_sites(np.arange(n_people - 5)), 4)
    assert tall.loadings.shape == (n_people - 5, 4)
    small_blocks(4 * wide.n_haplotypes * 13)
    parts = principal_axes(wide, 4)
    np.testing.assert_allclose(parts.loadings, whole.loadings, atol=1e-9)
    np.testing.assert_allclose(parts.project(wide), whole.project(wide), atol=1e-8)


@pytest.mark.parametrize("drawn", [False, True])
def test_a_large_gram_matrix_in_single_precision_keeps_its_bound(
    drawn: bool, reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of a panel as it is, and of people drawn of one.
    panel = reference.train if drawn else replace(reference.train)
    exact = principal_axes(panel, 4).project(panel)
    monkeypatch.setattr(principal_components, "_MANY_PRODUCTS", 0)
    scores = principal_axes(panel, 4).project(panel)
    # Alleles that mirror each other load equally much, so that rounding chooses the sign.
    scores *= np.sign((scores * exact).sum(axis=0))
    off = np.abs(scores - exact).max(axis=0) / exact.std(axis=0)
    assert (off > 0).any()
    assert off.max() < 1e-4


@pytest.mark.parametrize("pools", [1, 2])
def test_people_drawn_of_panels_are_scaled_by_all_of_them(
    pools: int, reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("allel")
    from allel.stats.preprocessing import PattersonScaler
    from sklearn.decomposition import PCA

    train, holdout = reference.train, reference.holdout
    panels = (holdout,) if pools == 1 else (holdout, train)
    kept = np.logical_and.reduce([(panel.maf > 0) for panel in panels])
    pool = [panel.select_sites(kept) for panel in panels]
    taken = []
    made = principal_components._products
    monkeypatch.setattr(
        principal_components, "_products", lambda *args: taken.append(1) or made(*args)
    )
    dosages = np.concatenate([panel.dosages() for panel in pool]).T.astype(float)
    scaled = PattersonScaler(copy=True, ploidy=2).fit(dosages).transform(dosages).T
    for draw in range(3):
        given, cohort = dealt_cohort(pool[1] if pools == 2 else None, pool[0], 15, draw, 1)
        axes = principal_axes(given.train, 4)
        mine = people_among(given.train, pool)
        model = PCA(4, svd_solver="full").fit(scaled[mine])
        signs = np.sign((axes.project(given.train) * model.transform(scaled[mine])).sum(axis=0))
        for panel in (given.train, cohort):
            expected = model.transform(scaled[people_among(panel, pool)]) * signs
            np.testing.assert_allclose(axes.project(panel), expected, atol=1e-8)
        scores, shares = principal_components._drawn_scores(given.train, 4, cohort)
        np.testing.assert_allclose(np.abs(scores[0]), np.abs(axes.project(cohort)), atol=1e-8)
        for variance in (axes.variance, shares):
            np.testing.assert_allclose(variance, model.explained_variance_ratio_, atol=1e-12)
    assert len(taken) == 1
    assert principal_components._drawn_scores(given.train, 4, replace(cohort)) is None


def people_among(panel: Panel, pool: list[Panel]) -> Any:
    """Where a panel's people are among those of some panels, told by their haplotypes."""
    everybody = [row.tobytes() for one in pool for row in one.dosages()]
    return [everybody.index(row.tobytes()) for row in panel.dosages()]


def test_distances_equal_scipy_on_scores(
    reference: Reference, cohorts: dict[str, Panel], ctx: RunContext
) -> None:
    found = measure(reference, cohorts["floor"], ctx)
    axes = principal_axes(reference.train, 10)
    real, synthetic = axes.project(reference.holdout), axes.project(cohorts["floor"])
    expected = [
        wasserstein_distance(real[:, i], synthetic[:, i]) / real[:, i].std() for i in range(10)
    ]
    assert [m.value for m in found["wasserstein_pc"]] == pytest.approx(expected, rel=1e-9)
    assert [m.labels["pc"] for m in found["wasserstein_pc"]] == [str(i) for i in range(1, 11)]
    assert found["wasserstein"].value == pytest.approx(np.mean(expected), rel=1e-9)
    rows = reference.holdout.superpopulation == "C", cohorts["floor"].superpopulation == "C"
    within = np.mean(
        [
            wasserstein_distance(real[rows[0], i], synthetic[rows[1], i]) / real[:, i].std()
            for i in range(10)
        ]
    )
    named = {m.labels["superpopulation"]: m for m in found["wasserstein_superpopulation"]}
    assert set(named) == {"AB", "C"}
    assert named["C"].value == pytest.approx(within, rel=1e-9)
    assert named["C"].n == 20


@pytest.mark.parametrize("n_sites", [400, 60])
def test_coupled_components_equal_scikit_learn(
    n_sites: int, reference: Reference, cohorts: dict[str, Panel], ctx: RunContext
) -> None:
    from sklearn.decomposition import PCA

    sites = np.arange(n_sites)
    sides = [side.select_sites(sites) for side in (reference.train, reference.holdout)]
    cohort = cohorts["independent"].select_sites(sites).select_samples(np.arange(50))
    found = measure(Reference(*sides), cohort, ctx)["coupled_wasserstein"]
    alleles = np.concatenate([sides[1].haplotypes, cohort.haplotypes]).astype(float)
    scores = PCA(6, svd_solver="full").fit_transform(alleles)
    n = sides[1].n_haplotypes
    expected = sum(wasserstein_distance(x[:n], x[n:]) for x in scores.T)
    assert found.value == pytest.approx(expected, rel=1e-6)
    assert expected > 1
    unphased = measure(Reference(*sides), replace(cohort, phased=False), ctx)
    assert unphased["coupled_wasserstein"].note == "not phased"
    # Of many haplotypes at as many sites, some are drawn, the same again.
    some = [measure(Reference(*sides), cohort, ctx, max_haplotypes=50) for _ in range(2)]
    assert some[0]["coupled_wasserstein"] == some[1]["coupled_wasserstein"]
    assert some[0]["coupled_wasserstein"].n == 50
    assert some[0]["coupled_wasserstein"].value == pytest.approx(expected, rel=0.5)


def test_steps_along_paths_are_ranked(
    reference: Reference, cohorts: dict[str, Panel], ctx: RunContext
) -> None:
    train = reference.train
    ends = np.flatnonzero(train.population == "A")[:6], np.flatnonzero(train.population == "C")[:6]
    cut = np.linspace(0, train.n_sites, 9).astype(int)

    def path(first: int, second: int, order: Any) -> Panel:
        a, b = (train.haplotypes[[2 * i, 2 * i + 1]] for i in (first, second))
        steps = [np.where(np.arange(train.n_sites) < cut[k], b, a) for k in order]
        return train.with_haplotypes(np.concatenate(steps))

    def measured(order: Any) -> tuple[Any, Any]:
        paths = tuple(path(a, b, order) for a, b in zip(*ends, strict=True))
        found = measure(reference, cohorts["floor"], replace(ctx, paths=paths))
        return found["path_monotone"], found["path_longest_step"]

    rank, longest = measured(np.arange(9))
    assert rank.n == 6
    assert rank.value > 0.85
    assert 1 / 8 <= longest.value < 0.6
    rank, longest = measured([0, 0, 0, 0, 8, 8, 8, 8, 8])
    assert longest.value == pytest.approx(1)
    jumped, _ = measured([0, 7, 6, 5, 4, 3, 2, 1, 8])
    assert jumped.value == pytest.approx(1 / 15, abs=0.1)
    assert measured(np.zeros(9, int))[0].note == "no path leads anywhere"
    absent = measure(reference, cohorts["floor"], ctx)["path_monotone"]
    assert absent.note == "the generator doesn't interpolate between people"
    empty = np.full(train.n_samples, "")
    alone = Reference(replace(train, population=empty, superpopulation=empty), reference.holdout)
    assert measure(alone, cohorts["floor"], ctx)["path_monotone"].note == "one population"


def test_share_nearest_to_own_centroid(
    reference: Reference, cohorts: dict[str, Panel], ctx: RunContext
) -> None:
    from sklearn.neighbors import NearestCentroid

    found = measure(reference, cohorts["floor"], ctx)
    axes = principal_axes(reference.train, 10)
    model = NearestCentroid().fit(axes.project(reference.train), reference.train.population)
    shares = [
        float((model.predict(axes.project(panel)) == panel.population).mean())
        for panel in (cohorts["floor"], reference.holdout)
    ]
    assert found["population_match"].value == pytest.approx(shares[0])
    assert found["population_match_holdout"].value == pytest.approx(shares[1])
    assert found["population_match_difference"].value == pytest.approx(shares[0] - shares[1])
    assert shares[1] > 0.5
    # Labels dealt out at random are no better than chance.
    shuffled = np.random.default_rng(0).permutation(cohorts["floor"].superpopulation)
    wrong = measure(reference, replace(cohorts["floor"], superpopulation=shuffled), ctx)
    assert wrong["superpopulation_match"].value < found["superpopulation_match"].value - 0.1


def test_copy_is_ideal_and_independent_sites_collapse(
    reference: Reference, cohorts: dict[str, Panel], ctx: RunContext
) -> None:
    copy = measure(reference, cohorts["copy"], ctx)
    assert copy["wasserstein"].value == 0
    assert copy["population_match_difference"].value == 0
    floor = measure(reference, cohorts["floor"], ctx)
    independent = measure(reference, cohorts["independent"], ctx)
    assert independent["wasserstein"].value > 1.5 * floor["wasserstein"].value
    assert independent["population_match"].value is None
    assert independent["population_match"].note == "the cohort has no labels"
    assert independent["population_match_holdout"].value is not None


def test_axes_of_a_sample_of_many_people(
    reference: Reference, cohorts: dict[str, Panel], ctx: RunContext
) -> None:
    found = measure(reference, cohorts["floor"], ctx, max_people=40)
    n_train = reference.train.n_samples
    assert found["wasserstein"].note == f"axes of 40 of {n_train} training people"
    again = measure(reference, cohorts["floor"], ctx, max_people=40)
    assert found["wasserstein"].value == again["wasserstein"].value
    other = measure(reference, cohorts["floor"], replace(ctx, seed=6), max_people=40)
    assert found["wasserstein"].value != other["wasserstein"].value


def test_few_people_and_sites_without_variation(
    reference: Reference, cohorts: dict[str, Panel], ctx: RunContext
) -> None:
    train = reference.train.select_samples(np.arange(4))
    few = measure(Reference(train, reference.holdout), cohorts["floor"], ctx)
    assert len(few["wasserstein_pc"]) == 3
    flat = reference.train.with_haplotypes(np.zeros_like(reference.train.haplotypes))
    none = measure(Reference(flat, reference.holdout), cohorts["floor"], ctx)
    assert set(none) == {submetric.name for submetric in PCA.submetrics}
    assert none["wasserstein"].value is None
    assert "no site varies" in none["wasserstein"].note
