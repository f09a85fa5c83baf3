"""msprime with one population: estimated size, determinism, save and load."""

from __future__ import annotations

import allel
import numpy as np
import pytest
from coalescent_cases import REGISTRY, context, fitted, neutral_panel, region_panel, sampled

from haplobench import PluginError, RecombinationMap
from haplobench.registry import resolve
from haplobench.testing import check_generator

TRAIN = neutral_panel(8_000, 300_000, 50, seed=11)


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
