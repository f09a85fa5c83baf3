"""Simulated traits against their definition and tstrait."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from trait_panels import repeated, split_panel

from haplobench import Panel
from haplobench_utility.specs.studies import TraitParams
from haplobench_utility.traits import Traits, obstacle, relative, simulate_traits, thinned


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
