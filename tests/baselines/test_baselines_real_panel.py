"""The baselines on real people: what each keeps of the LD of 300 Europeans, and what it leaks."""

from __future__ import annotations

import allel
import numpy as np
import pytest
from baseline_cases import context, fitted, rows, sampled

from haplobench.registry import load_registry, resolve

EDGES = np.array([0, 1e3, 1e4, 1e5, 1e6])


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """Train (400 haplotypes) and held-out people (200) at 600 SNPs, and the context."""
    spec = load_registry(["haplobench.datasets"]).dataset("embedded")
    ctx = context(tmp_path_factory.mktemp("real"))
    loaded = resolve(spec.target)().load(spec.params(), ctx)
    common = np.flatnonzero(loaded.panel.maf > 0.05)[1000:1600]
    people = np.random.default_rng(5).permutation(loaded.panel.n_samples)
    panel = loaded.panel.select_sites(common)
    ctx = context(ctx.scratch, recombination_map=loaded.recombination_map)
    return panel.select_samples(people[:200]), panel.select_samples(people[200:]), ctx


def ld_decay(haplotypes, positions):
    """Mean r² (scikit-allel) by distance, of haplotypes coded as homozygous people."""
    pairs = np.triu_indices(positions.size, 1)
    r2 = allel.rogers_huff_r((2 * haplotypes.T).astype(np.int8)) ** 2
    distance = positions[pairs[1]] - positions[pairs[0]]
    which = np.digitize(distance, EDGES)
    known = np.isfinite(r2)
    return np.array([r2[known & (which == k)].mean() for k in range(1, EDGES.size)])


@pytest.fixture(scope="module")
def cohorts(real):
    train, holdout, ctx = real
    labels = holdout.haplotype_populations
    generators = {
        "independent": fitted("independent", train, ctx),
        "markov-1": fitted("markov", train, ctx, order=1),
        "markov-8": fitted("markov", train, ctx),
        "li-stephens": fitted("li-stephens", train, ctx),
        "copycat": fitted("copycat", train, ctx),
    }
    return {
        name: sampled(g, ctx, labels.size, populations=labels) for name, g in generators.items()
    }


def test_ld_is_kept_as_far_as_each_model_sees(real, cohorts):
    _, holdout, _ = real
    truth = ld_decay(holdout.haplotypes, holdout.positions)
    error = {
        name: float(np.abs(ld_decay(drawn, holdout.positions) - truth).mean())
        for name, drawn in cohorts.items()
    }
    assert error["independent"] > 1.3 * error["markov-1"] > 1.6 * error["markov-8"]
    assert error["markov-8"] > 2 * error["li-stephens"]
    assert max(error["li-stephens"], error["copycat"]) < 0.03


def test_frequencies_are_kept_by_all(real, cohorts):
    train, _, _ = real
    for name, drawn in cohorts.items():
        assert np.corrcoef(drawn.mean(axis=0), train.frequencies)[0, 1] > 0.97, name


def test_only_the_copycat_returns_whole_training_haplotypes(real, cohorts):
    train, _, _ = real
    known = rows(train.haplotypes)
    copies = {
        name: np.mean([row.tobytes() in known for row in drawn]) for name, drawn in cohorts.items()
    }
    assert copies["copycat"] == 1
    assert copies["independent"] == copies["markov-1"] == 0
    assert copies["li-stephens"] < 0.9
