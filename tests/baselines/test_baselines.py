"""The baselines keep the contract of generators."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from baseline_cases import NAMES, REGISTRY, context, fitted, panel, sampled
from hypothesis import given, settings
from hypothesis import strategies as st

from haplobench import PanelError, PluginError, RunContext
from haplobench.registry import resolve
from haplobench.testing import check_generator, example_panel

TRAIN = example_panel(n_samples=30, n_sites=70, populations=("YRI", "CEU", "CHB"))
N = 700  # three blocks


@pytest.mark.parametrize("name", NAMES)
def test_conformance(name):
    assert "start" in check_generator(name, registry=REGISTRY)


def test_controls_say_why():
    controls = {spec.name: spec.control for spec in REGISTRY.generators.values() if spec.control}
    assert set(controls) == {"independent", "copycat"}


def test_description_imports_no_heavy_library():
    heavy = "('numba', 'scipy', 'torch', 'msprime', 'haplobench_baselines.markov')"
    code = f"import sys, haplobench_baselines; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Of each generator: fitted, context, labels, and the haplotypes sampled at one go."""
    ctx = context(tmp_path_factory.mktemp("baselines"))
    labels = np.repeat(np.random.default_rng(3).choice(["YRI", "CEU", "CHB"], N // 2), 2)
    found = {}
    for name in NAMES:
        generator = fitted(name, TRAIN, ctx)
        found[name] = generator, sampled(generator, ctx, N, populations=labels)
    return ctx, labels, found


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=12, deadline=None)
@given(cuts=st.lists(st.integers(0, N), max_size=3), batch_size=st.integers(1, 600), data=st.data())
def test_a_haplotype_is_the_same_however_requests_are_cut(whole, name, cuts, batch_size, data):
    ctx, labels, found = whole
    generator, expected = found[name]
    edges = sorted({0, N, *cuts})
    begin = data.draw(st.integers(0, len(edges) - 2))
    start, end = edges[begin], edges[begin + 1]
    part = sampled(generator, ctx, end - start, start, batch_size, labels[start:end])
    assert np.array_equal(part, expected[start:end])


@pytest.mark.parametrize("name", ["copycat", "li-stephens"])
def test_a_haplotype_does_not_depend_on_the_labels_of_others(whole, name):
    ctx, labels, found = whole
    generator, expected = found[name]
    kept = np.repeat(np.random.default_rng(0).random(N // 2) < 0.5, 2)
    others = np.where(kept, labels, "YRI")
    again = sampled(generator, ctx, N, populations=others)
    assert np.array_equal(again[kept], expected[kept])
    assert not np.array_equal(again, expected)


@pytest.mark.parametrize("name", NAMES)
def test_saved_and_loaded_samples_the_same(whole, name, tmp_path):
    ctx, labels, found = whole
    generator, expected = found[name]
    generator.save(tmp_path)
    loaded = resolve(REGISTRY.generator(name).target)().load(tmp_path, ctx)
    assert np.array_equal(sampled(loaded, ctx, N, populations=labels), expected)


@pytest.mark.parametrize("name", NAMES)
def test_another_generators_folder_is_refused(name, tmp_path):
    ctx = context(tmp_path)
    other = "markov" if name != "markov" else "independent"
    fitted(other, TRAIN, ctx).save(tmp_path)
    with pytest.raises(PluginError, match=f"not a fitted '{name}': it holds '{other}'"):
        resolve(REGISTRY.generator(name).target)().load(tmp_path, ctx)


@pytest.mark.parametrize("name", ["copycat", "markov", "li-stephens"])
def test_missing_alleles_are_refused(name, tmp_path):
    holes = TRAIN.haplotypes.copy()
    holes[3, 5] = -1
    with pytest.raises(PanelError, match="max_missing"):
        fitted(name, panel(holes), context(tmp_path))


@pytest.mark.parametrize("name", ["copycat", "li-stephens"])
def test_unknown_population_is_named_with_the_known(whole, name):
    ctx, _, found = whole
    with pytest.raises(PluginError, match="'GBR' is asked for.*CEU, CHB, YRI"):
        sampled(found[name][0], ctx, 2, populations=np.array(["GBR", "GBR"]))


def test_haploid_panels(tmp_path):
    ctx = context(tmp_path)
    haploid = panel(TRAIN.haplotypes[:31], ploidy=1)
    for name in NAMES:
        assert sampled(fitted(name, haploid, ctx), ctx, 9).shape == (9, haploid.n_sites)


def test_people_of_one_draw_have_one_population_where_none_is_asked_for(tmp_path):
    """A site fixed for different alleles tells the populations apart."""
    alleles = np.zeros((40, 3), np.int8)
    alleles[20:, 1] = 1
    train = panel(alleles, population=np.repeat(["A", "B"], 10))
    ctx: RunContext = context(tmp_path)
    drawn = sampled(fitted("li-stephens", train, ctx, theta=0), ctx, 2000)[:, 1].reshape(-1, 2)
    assert np.array_equal(drawn[:, 0], drawn[:, 1])
    assert 0.4 < drawn.mean() < 0.6
