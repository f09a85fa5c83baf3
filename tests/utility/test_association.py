"""Regressions against PLINK 2, scikit-learn, scipy and densities written out."""

from __future__ import annotations

import csv
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import linregress, norm, t
from trait_panels import repeated, split_panel, write_table

from haplobench import Panel
from haplobench.data.formats import write_panel
from haplobench_utility import association
from haplobench_utility.association import (
    Association,
    Traits,
    approximate_bayes_factors,
    covariate_basis,
    credible_sets,
    linear,
    logistic,
    obstacle,
    principal_components,
    relative,
    simulate_traits,
    student_p,
    thinned,
)
from haplobench_utility.specs_studies import TraitParams

Floats = NDArray[np.float64]


@pytest.fixture(scope="module")
def panel() -> Panel:
    return split_panel(260, 1).train


@pytest.fixture(scope="module")
def traits(panel: Panel) -> Floats:
    rng = np.random.default_rng(1)
    dosages = panel.dosages()[:, [40, 111]].astype(float)
    return np.column_stack(
        [dosages @ [1.5, -1.0] + rng.normal(size=panel.n_samples), rng.normal(size=panel.n_samples)]
    )


@pytest.fixture(scope="module")
def covariates(panel: Panel) -> Floats:
    sex = np.random.default_rng(2).integers(0, 2, panel.n_samples)
    return np.column_stack([principal_components(panel, 3), sex])


def plink(
    folder: Path, panel: Panel, traits: dict[str, Any], covariates: Floats, *modifiers: str
) -> dict[str, list[dict[str, str]]]:
    """Rows of `plink2 --glm` for each trait; ALT is the allele that is counted."""
    program = shutil.which("plink2")
    if program is None:
        pytest.skip("program absent: plink2")
    write_panel(panel, folder / "panel.pgen")
    write_table(folder / "traits.txt", panel.samples, traits)
    write_table(
        folder / "covariates.txt",
        panel.samples,
        {f"c{i}": column for i, column in enumerate(covariates.T)},
    )
    words = ["--pfile", "panel", "--pheno", "traits.txt", "--covar", "covariates.txt"]
    words += ["--glm", "hide-covar", "omit-ref", *modifiers, "cols=chrom,pos,beta,se,p,err"]
    # A covariate's scale mustn't matter, but PLINK warns where they differ much.
    subprocess.run(
        [program, *words, "--threads", "1", "--out", "glm"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    found = {}
    for name in traits:
        (path,) = folder.glob(f"glm.{name}.glm.*")
        with path.open() as handle:
            found[name] = list(csv.DictReader(handle, delimiter="\t"))
    return found


def column(rows: list[dict[str, str]], name: str) -> Floats:
    return np.array([np.nan if row[name] == "NA" else float(row[name]) for row in rows])


def test_linear_regression_equals_plink2(
    panel: Panel, traits: Floats, covariates: Floats, tmp_path: Path
) -> None:
    rows = plink(tmp_path, panel, {"q1": traits[:, 0], "q2": traits[:, 1]}, covariates)
    found = linear(panel, traits, covariate_basis(covariates))
    assert np.nanmin(found.p) < 1e-12
    for i, name in enumerate(("q1", "q2")):
        for key, mine in (("BETA", found.beta), ("SE", found.se), ("P", found.p)):
            theirs = column(rows[name], key)
            np.testing.assert_array_equal(np.isnan(theirs), np.isnan(mine[:, i]))
            np.testing.assert_allclose(mine[:, i], theirs, rtol=1e-4)


def test_logistic_regression_equals_plink2(
    panel: Panel, traits: Floats, covariates: Floats, tmp_path: Path
) -> None:
    cases = traits > [0.8, 1.2]
    coded = {f"b{i}": cases[:, i].astype(int) + 1 for i in range(2)}
    rows = plink(tmp_path, panel, coded, covariates, "no-firth")
    found = logistic(panel, cases, covariate_basis(covariates))
    for i, name in enumerate(coded):
        theirs = {key: column(rows[name], key) for key in ("BETA", "SE", "P")}
        # Where cases and controls are separated neither has an estimate.
        np.testing.assert_array_equal(np.isnan(theirs["BETA"]), np.isnan(found.beta[:, i]))
        np.testing.assert_allclose(found.se[:, i], theirs["SE"], rtol=1e-4)
        np.testing.assert_allclose(found.p[:, i], theirs["P"], rtol=1e-4)
        # PLINK's single precision moves log odds near 0 by some 1e-5 of their standard errors.
        size = np.maximum(np.abs(theirs["BETA"]), theirs["SE"])
        assert np.nanmax(np.abs(found.beta[:, i] - theirs["BETA"]) / size) < 1e-4
    assert np.isnan(found.beta).any()
    assert np.isfinite(found.beta).mean() > 0.9


def test_linear_regression_equals_scipy_and_least_squares(
    panel: Panel, traits: Floats, covariates: Floats, monkeypatch: pytest.MonkeyPatch
) -> None:
    dosages = panel.dosages().astype(float)
    bare = linear(panel, traits, covariate_basis(np.zeros((panel.n_samples, 0))))
    monkeypatch.setattr(association, "_BLOCK_BYTES", 8 * panel.n_samples * 7)
    found = linear(panel, traits, covariate_basis(covariates))
    for site in (0, 40, 299):
        one = linregress(dosages[:, site], traits[:, 0])
        assert bare.beta[site, 0] == pytest.approx(one.slope, rel=1e-9)
        assert bare.se[site, 0] == pytest.approx(one.stderr, rel=1e-9)
        assert bare.p[site, 0] == pytest.approx(one.pvalue, rel=1e-6)
        design = np.column_stack([np.ones(panel.n_samples), covariates, dosages[:, site]])
        slopes, rest, *_ = np.linalg.lstsq(design, traits[:, 0], rcond=None)
        variance = rest[0] / (panel.n_samples - design.shape[1])
        error = np.sqrt(variance * np.linalg.inv(design.T @ design)[-1, -1])
        assert found.beta[site, 0] == pytest.approx(slopes[-1], rel=1e-8)
        assert found.se[site, 0] == pytest.approx(error, rel=1e-8)


def test_single_precision_of_many_people_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    many = repeated(split_panel(300, 1).train, 5)
    rng = np.random.default_rng(0)
    dosages = many.dosages().astype(float)
    traits = rng.normal(size=(many.n_samples, 3)) + dosages[:, [30]] * [0.0, 0.5, 2.0]
    # A covariate that explains a site almost wholly, and one of large numbers.
    covariates = np.column_stack([dosages[:, 60] + rng.normal(size=1500) / 4, 1e6 + dosages[:, 7]])
    basis = covariate_basis(covariates)
    single = linear(many, traits, basis)
    monkeypatch.setattr(association, "_MANY_PEOPLE", 10**9)
    double = linear(many, traits, basis)
    assert np.nanmax(np.abs(double.statistic)) > 20
    np.testing.assert_array_equal(np.isnan(single.beta), np.isnan(double.beta))
    assert np.nanmax(np.abs(single.beta - double.beta) / double.se) < 1e-5
    np.testing.assert_allclose(single.se, double.se, rtol=1e-6)
    moderate = np.abs(double.statistic) < 12
    np.testing.assert_allclose(single.p[moderate], double.p[moderate], rtol=1e-4)


@pytest.mark.parametrize("df", [3, 499, 500, 5000])
def test_p_values_are_students(df: int) -> None:
    statistic = np.array([0.0, 0.1, -1.0, 2.0, -5.0, 12.0, 30.0, np.nan])
    np.testing.assert_allclose(student_p(statistic, df), 2 * t.sf(np.abs(statistic), df), rtol=1e-6)


def test_logistic_regression_equals_scikit_learn(panel: Panel, traits: Floats) -> None:
    from sklearn.linear_model import LogisticRegression

    pcs = principal_components(panel, 2) * 10
    cases = traits[:, :1] > 0.5
    found = logistic(panel, cases, covariate_basis(pcs))
    dosages = panel.dosages().astype(float)
    for site in np.flatnonzero(np.isfinite(found.beta[:, 0]))[[3, 40, 150]]:
        design = np.column_stack([pcs, dosages[:, site]])
        model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000).fit(design, cases[:, 0])
        assert found.beta[site, 0] == pytest.approx(model.coef_[0, -1], rel=1e-4, abs=1e-5)


def test_sites_that_cannot_be_tested_are_nan(panel: Panel, traits: Floats) -> None:
    alleles = np.array(panel.haplotypes)
    alleles[:, 5] = 1
    fixed = panel.with_haplotypes(alleles)
    dosage = fixed.dosages()[:, [9]].astype(float)
    rng = np.random.default_rng(0)
    near = dosage + 0.01 * rng.normal(size=dosage.shape)
    for scan in (
        linear(fixed, traits, covariate_basis(near)),
        logistic(fixed, traits > 0.5, covariate_basis(near)),
    ):
        assert np.isnan(scan.beta[[5, 9]]).all()
        assert np.isfinite(scan.beta[200]).all()
    # A trait that nobody or everybody has.
    nobody = logistic(fixed, np.zeros((panel.n_samples, 1), bool), covariate_basis(near))
    assert np.isnan(nobody.beta).all()


def test_haploid_people_are_tested(panel: Panel, traits: Floats) -> None:
    men = replace(panel, haplotypes=np.ascontiguousarray(panel.haplotypes[::2]), ploidy=1)
    found = linear(men, traits, covariate_basis(np.zeros((men.n_samples, 0))))
    one = linregress(men.haplotypes[:, 40], traits[:, 0])
    assert found.beta[40, 0] == pytest.approx(one.slope, rel=1e-9)


@pytest.mark.parametrize("n_sites", [300, 80, 20])
def test_components_are_singular_vectors(panel: Panel, n_sites: int) -> None:
    few = panel.select_sites(np.arange(n_sites))
    few = few.select_sites(few.maf > 0)
    p = few.frequencies
    standard = (few.dosages() - 2 * p) / np.sqrt(2 * p * (1 - p))
    left, values, _ = np.linalg.svd(standard, full_matrices=False)
    found = principal_components(few, 3)
    np.testing.assert_allclose(np.abs((found * left[:, :3]).sum(axis=0)), 1, atol=1e-6)
    assert np.all(np.diff(values[:3]) < 0)


def test_components_of_few_people_or_none() -> None:
    panel = split_panel(4, 1).train
    assert principal_components(panel, 10).shape == (4, 3)
    flat = panel.with_haplotypes(np.zeros_like(panel.haplotypes))
    assert principal_components(flat, 2).shape == (4, 0)
    # Twice the same covariate is one.
    assert covariate_basis(np.repeat(np.arange(4.0)[:, None], 2, axis=1)).shape == (4, 2)


def test_bayes_factors_are_ratios_of_densities(panel: Panel, traits: Floats) -> None:
    found = linear(panel, traits, covariate_basis(principal_components(panel, 1)))
    prior = np.full((panel.n_sites, 1), 0.04)
    logs = approximate_bayes_factors(found, prior)
    with_effect = norm.logpdf(found.beta, scale=np.sqrt(found.se**2 + prior))
    without = norm.logpdf(found.beta, scale=found.se)
    np.testing.assert_allclose(logs, with_effect - without, atol=1e-9)
    nothing = Association(found.beta * np.nan, found.se, found.spread, found.df)
    assert (approximate_bayes_factors(nothing, prior) == -np.inf).all()


def test_credible_sets_by_hand() -> None:
    posterior = np.array([[0.5, 0.5], [0.3, 0.1], [0.15, 0.4], [0.05, 1e-9]])
    sizes, covered = credible_sets(np.log(posterior), np.array([2, 1]), 0.85)
    assert sizes.tolist() == [3, 2]
    assert covered.tolist() == [True, False]
    # Sites that nothing tells apart are all in it, or none.
    tied = np.zeros((20, 1))
    sizes, covered = credible_sets(tied, np.array([7]), 0.5)
    assert sizes.tolist() == [20]
    assert covered.all()


def test_heritability_holds_among_the_people_simulated_on() -> None:
    people = split_panel(150, 1).train
    traits = simulate_traits(people, TraitParams(h2=0.3), 40, 7)
    genetic = traits.genetic_values(people)
    np.testing.assert_allclose(genetic.var(axis=0), 0.3, rtol=1e-9)
    np.testing.assert_allclose(genetic.mean(axis=0), 0, atol=1e-9)
    many = repeated(people, 30)
    values = traits.values(many, np.random.default_rng(0))
    np.testing.assert_allclose(values.var(axis=0), 1, atol=0.1)
    assert all(np.unique(sites).size == 7 for sites in traits.causal)
    weaker = traits.with_h2(0.1)
    np.testing.assert_allclose(weaker.genetic_values(people).var(axis=0), 0.1, rtol=1e-9)


def test_effects_are_carried_by_site_and_allele() -> None:
    reference = split_panel(80, 30)
    traits = simulate_traits(reference.train, TraitParams(), 5, 3)
    expected = [
        reference.holdout.dosages()[:, sites] @ effects
        for sites, effects in zip(traits.causal, traits.effects, strict=True)
    ]
    expected = np.array(expected).T - traits.centre
    np.testing.assert_allclose(traits.genetic_values(reference.holdout), expected, atol=1e-12)
    # A cohort in which causal sites don't vary has less heritability, not larger effects.
    flat = reference.holdout.with_haplotypes(np.zeros_like(reference.holdout.haplotypes))
    np.testing.assert_allclose(traits.genetic_values(flat).std(axis=0), 0, atol=1e-12)


@pytest.mark.parametrize(("alpha", "slope"), [(-1.0, -0.5), (0.0, 0.0)])
def test_effects_by_frequency(alpha: float, slope: float) -> None:
    people = split_panel(200, 1).train
    traits = simulate_traits(people, TraitParams(alpha=alpha), 1000, 1)
    # One causal site: its effect is what gives h², whatever alpha; of several it is alpha's.
    np.testing.assert_allclose(
        np.abs(traits.effects[:, 0]).max(),
        np.sqrt(0.5) / np.min([people.dosages()[:, site].std() for site in traits.causal[:, 0]]),
        rtol=1e-6,
    )
    several = simulate_traits(people, TraitParams(alpha=alpha), 300, 50)
    p = people.frequencies[several.causal].ravel()
    relative_size = np.log(np.abs(several.effects).ravel())
    found = np.polyfit(np.log(2 * p * (1 - p)), relative_size, 1)[0]
    assert found == pytest.approx(slope, abs=0.05)


def test_the_same_traits_for_every_cohort_but_other_seeds() -> None:
    people = split_panel(60, 1).train
    first, again = (simulate_traits(people, TraitParams(), 4, 3) for _ in range(2))
    other = simulate_traits(people, TraitParams(trait_seed=2), 4, 3)
    np.testing.assert_array_equal(first.effects, again.effects)
    assert (first.causal != other.causal).any()


@pytest.mark.slow  # tstrait compiles itself for half a minute
def test_genetic_values_equal_tstrait() -> None:
    tstrait = pytest.importorskip("tstrait")
    msprime = pytest.importorskip("msprime")
    trees = msprime.sim_ancestry(
        50, sequence_length=2e5, recombination_rate=1e-8, population_size=1e4, random_seed=1
    )
    trees = msprime.sim_mutations(
        trees, rate=1e-8, random_seed=2, model=msprime.BinaryMutationModel()
    )
    model = tstrait.trait_model(distribution="normal", mean=0, var=1)
    done = tstrait.sim_phenotype(
        ts=trees, num_causal=20, model=model, h2=0.5, alpha=-0.5, random_seed=3
    )
    rows = done.trait.sort_values("site_id")
    haplotypes = np.ascontiguousarray(trees.genotype_matrix().T.astype(np.int8))
    panel = Panel(
        haplotypes=haplotypes,
        positions=1 + np.arange(haplotypes.shape[1]),
        contig="1",
        samples=np.array([f"p{i}" for i in range(50)]),
    )
    sites = rows["site_id"].to_numpy()
    derived = np.array([variant.alleles[1] for variant in trees.variants()])[sites]
    assert (rows["causal_allele"].to_numpy() == derived).all()
    ours = Traits(sites[None], rows["effect_size"].to_numpy()[None], np.zeros(1), 0.5)
    theirs = done.phenotype.sort_values("individual_id")["genetic_value"].to_numpy()
    np.testing.assert_allclose(ours.genetic_values(panel)[:, 0], theirs, atol=1e-9)


def test_what_stands_in_the_way_is_said() -> None:
    reference = split_panel(40, 20)
    cohort = reference.train
    assert obstacle(reference, cohort, 10, 4) == ""
    few = cohort.select_samples(np.arange(3))
    assert "too few people in the synthetic panel: 3, expected 4" in obstacle(reference, few, 10, 4)
    alleles = np.array(reference.holdout.haplotypes)
    alleles[0, 0] = -1
    gaps = replace(reference, holdout=reference.holdout.with_haplotypes(alleles))
    assert obstacle(gaps, cohort, 10, 4) == "missing alleles in the held-out panel"
    flat = replace(reference, train=cohort.with_haplotypes(np.zeros_like(cohort.haplotypes)))
    assert "0 sites vary" in obstacle(flat, cohort, 10, 4)


def test_sites_are_thinned_evenly_and_it_is_said() -> None:
    reference = split_panel(20, 10)
    same, cohort, note = thinned(reference, reference.train, 300)
    assert same is reference
    assert note == ""
    fewer, cohort, note = thinned(reference, reference.train, 100)
    assert fewer.holdout.n_sites == cohort.n_sites == 100
    assert cohort.positions[[0, -1]].tolist() == reference.train.positions[[0, -1]].tolist()
    assert note == "100 of 300 sites"


def test_ratios_need_something_to_divide_by() -> None:
    assert relative(0.3, 0.6, 10, "").value == pytest.approx(0.5)
    for value, real in ((0.3, 0.0), (0.3, np.nan), (np.nan, 0.6)):
        found = relative(value, real, 10, "")
        assert found.value is None
        assert found.note
