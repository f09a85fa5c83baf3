"""msprime with one population: estimated size, diversity of filtered panels, save and load."""

from __future__ import annotations

from dataclasses import replace

import allel
import numpy as np
import pytest
from coalescent_cases import REGISTRY, context, fitted, neutral_panel, region_panel, sampled

from haplobench import PluginError, RecombinationMap
from haplobench.registry import resolve
from haplobench.testing import check_generator
from haplobench_coalescent.constant import estimate

TRAIN = neutral_panel(8_000, 300_000, 50, seed=11)
NE, SPAN, MU = 10_000, 100_000, 1.25e-8
THETA = 4 * NE * MU * SPAN


def pi(panel):
    return allel.sequence_diversity(
        panel.positions, allel.HaplotypeArray(panel.haplotypes.T).count_alleles()
    )


def test_conformance():
    assert "determinism" in check_generator("msprime", registry=REGISTRY)


def test_simulated_people_are_as_diverse_as_the_panel(tmp_path):
    """Of many simulations, the mean; Ne itself comes back within a panel's own noise."""
    kept = TRAIN.select_sites(TRAIN.maf >= 0.02)
    ctx = context(tmp_path, min_maf=0.02)
    generator = fitted("msprime", kept, ctx)
    assert generator.ne == pytest.approx(8_000, rel=0.35)
    found = np.array([pi(sampled(generator, ctx, 40, start)) for start in range(0, 1200, 40)])
    error = found.std() / np.sqrt(found.size)
    assert found.mean() == pytest.approx(pi(TRAIN), abs=3.5 * error + 0.03 * pi(TRAIN))


def test_spectrum_is_neutral(tmp_path):
    """Sites with i derived alleles are theta / i on average."""
    ctx = context(tmp_path)
    generator = fitted("msprime", region_panel(1, 400_000), ctx, ne=10_000)
    spectra = np.stack(
        [
            np.bincount(sampled(generator, ctx, 12, start).haplotypes.sum(axis=0), minlength=12)
            for start in range(0, 960, 12)
        ]
    )
    assert not spectra[:, 0].any()
    expected = 4 * 10_000 * 1.25e-8 * 400_000 / np.arange(1, 12)
    error = spectra[:, 1:].std(axis=0) / np.sqrt(len(spectra))
    z = (spectra[:, 1:].mean(axis=0) - expected) / error
    assert np.abs(z).max() < 4
    assert (error < 0.12 * expected).all()


def test_same_seed_same_panel_other_start_another(tmp_path):
    train = region_panel(1, 100_000)
    ctx = context(tmp_path)
    generator = fitted("msprime", train, ctx, ne=10_000)
    digests = [
        sampled(generator, context(tmp_path, seed=seed), 10, start).digest
        for seed, start in ((1, 0), (1, 0), (1, 10), (2, 0))
    ]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


@pytest.mark.parametrize("model", ["hudson", "smc_k"])
def test_saved_and_loaded_samples_the_same(model, tmp_path):
    recombination_map = RecombinationMap(
        np.array([1, 40_000, 100_000]), np.array([0.0, 0.5, 0.6]), "1"
    )
    ctx = context(tmp_path, recombination_map=recombination_map)
    generator = fitted("msprime", region_panel(10, 90_000), ctx, ne=10_000, model=model)
    generator.save(tmp_path)
    # The map travels with the fitted generator.
    loaded = resolve(REGISTRY.generator("msprime").target)().load(tmp_path, context(tmp_path))
    assert sampled(loaded, ctx, 20).digest == sampled(generator, ctx, 20).digest


def test_size_given_is_taken(tmp_path):
    assert fitted("msprime", TRAIN, context(tmp_path), ne=1234.5).ne == 1234.5


def test_mutation_rate_scales_the_size_and_min_maf_can_be_said(tmp_path):
    ctx = context(tmp_path, min_maf=0.2)
    kept = TRAIN.select_sites(TRAIN.maf >= 0.2)
    size = fitted("msprime", kept, ctx).ne
    assert fitted("msprime", kept, ctx, mutation_rate=2.5e-8).ne == pytest.approx(size / 2)
    assert fitted("msprime", kept, ctx, min_maf=0.4).ne > 1.5 * size


def test_haploid_panels_have_the_same_size(tmp_path):
    """Ne is of diploids: one haplotype of each person doesn't change it."""
    train = neutral_panel(8_000, 300_000, 50, seed=11)
    haploid = type(train)(
        haplotypes=train.haplotypes,
        positions=train.positions,
        contig="1",
        samples=np.array([f"h{i}" for i in range(100)]),
        ploidy=1,
    )
    ctx = context(tmp_path)
    generator = fitted("msprime", haploid, ctx)
    assert generator.ne == fitted("msprime", train, ctx).ne
    panel = sampled(generator, ctx, 7)
    assert (panel.n_haplotypes, panel.n_samples, panel.ploidy) == (7, 7, 1)
    found = [pi(sampled(generator, ctx, 20, start)) for start in range(0, 400, 20)]
    assert np.mean(found) == pytest.approx(pi(train), rel=0.3)


def test_another_generators_folder_is_refused(tmp_path):
    (tmp_path / "generator.json").write_text('{"generator": "stdpopsim"}')
    with pytest.raises(PluginError, match="not a fitted 'msprime'"):
        resolve(REGISTRY.generator("msprime").target)().load(tmp_path, context(tmp_path))


@pytest.fixture(scope="module")
def panels():
    return [neutral_panel(NE, SPAN, 40, seed) for seed in range(1, 121)]


@pytest.mark.parametrize("estimator", ["pi", "segregating-sites"])
@pytest.mark.parametrize("min_maf", [0.0, 0.05, 0.2])
def test_unbiased_whatever_the_filter(panels, estimator, min_maf):
    found = []
    for panel in panels:
        kept = panel.select_sites(panel.maf >= min_maf)
        found.append(estimate(kept, min_maf, estimator).theta)
    error = np.std(found) / np.sqrt(len(found))
    assert np.mean(found) == pytest.approx(THETA, abs=3.5 * error)
    assert error < 0.06 * THETA


def test_the_usual_estimators_are_not(panels):
    """What the correction is for: Watterson's loses half of theta to a 5 % filter."""
    kept = [panel.select_sites(panel.maf >= 0.05) for panel in panels]
    assert np.mean([estimate(p, 1 / 80, "pi").theta for p in kept]) == pytest.approx(
        np.mean([estimate(p, 0.05, "pi").theta for p in kept])
    ), "the rarest site shows that the panel was filtered"
    naive = np.mean([p.n_sites / (1 / np.arange(1, 80)).sum() for p in kept])
    assert naive < 0.75 * THETA


def test_unfiltered_against_scikit_allel(panels):
    panel = next(p for p in panels if p.allele_counts[0].min() == 1)
    counts = allel.HaplotypeArray(panel.haplotypes.T).count_alleles()
    pi = allel.mean_pairwise_difference(counts).sum()
    assert estimate(panel, 0, "pi").theta == pytest.approx(pi)
    span = (int(panel.positions[0]), int(panel.positions[-1]))
    watterson = allel.watterson_theta(panel.positions, counts, *span) * panel.span
    assert estimate(panel, 0, "segregating-sites").theta == pytest.approx(watterson)


def test_missing_alleles_are_left_out(panels):
    panel = panels[0]
    holes = panel.haplotypes.copy()
    holes[np.random.default_rng(0).random(holes.shape) < 0.1] = -1
    theta = estimate(replace(panel, haplotypes=holes), 0).theta
    assert theta == pytest.approx(estimate(panel, 0).theta, rel=0.1)


def test_effective_size(panels):
    diversity = estimate(panels[0], 0)
    assert diversity.effective_size(MU) == pytest.approx(diversity.theta / 4 / MU / diversity.span)
    assert diversity.effective_size(2 * MU) == diversity.effective_size(MU) / 2


def test_nothing_polymorphic(panels):
    fixed = panels[0].with_haplotypes(np.zeros_like(panels[0].haplotypes))
    with pytest.raises(PluginError, match="polymorphic.*set ne"):
        estimate(fixed, 0.01)
