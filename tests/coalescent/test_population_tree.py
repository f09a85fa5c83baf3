"""Several populations' fitted history, against moments, msprime and known histories."""

from __future__ import annotations

import logging
from dataclasses import replace

import allel
import demes
import moments
import msprime
import numpy as np
import pytest
from coalescent_cases import REGISTRY, context, fitted, people_of, region_panel, sampled
from pydantic import ValidationError
from scipy import stats

from haplobench import Panel, PluginError
from haplobench.testing import check_generator
from haplobench_coalescent import MsprimeParams
from haplobench_coalescent.constant import Coalescent
from haplobench_coalescent.population_tree import (
    FittedTree,
    Functions,
    Groups,
    History,
    Tree,
    _drawn,
    expected,
    left_by_filter,
)

TREE = Tree(((0, 1), (2, 3)))
HISTORY = History(
    np.array([0, 0, 0, 0.1, 0.3]),
    np.array([0.3, 0.5, 1.2, 0.2, 1.5]),
    np.array([1.0, 0.6, 2.0]),
    0.4,
)
LABELS = np.repeat(["far", "near", "next"], 40)


def split_panel(seed: int, span: float = 3e6, labels: np.ndarray = LABELS) -> Panel:
    """Forty people each of three populations that split 3,000 and 600 generations ago."""
    history = msprime.Demography()
    for name, size in (("far", 12_000), ("near", 3_000), ("next", 6_000), ("both", 3_000)):
        history.add_population(name=name, initial_size=size)
    history.add_population(name="root", initial_size=10_000)
    history.add_population_split(time=600, derived=["near", "next"], ancestral="both")
    history.add_population_split(time=3_000, derived=["far", "both"], ancestral="root")
    people = people_of(history, {"far": 40, "near": 40, "next": 40}, span, seed)
    return replace(people, population=labels, superpopulation=np.where(labels == "far", "F", "N"))


@pytest.fixture(scope="module")
def panel() -> Panel:
    return split_panel(1)


def fst(panel: Panel) -> dict[tuple[str, str], float]:
    counts = {
        name: allel.HaplotypeArray(
            panel.haplotypes[panel.haplotype_populations == name].T
        ).count_alleles(max_allele=1)
        for name in np.unique(panel.population).tolist()
    }
    pairs = [(a, b) for a in counts for b in counts if a < b]
    sums = {pair: allel.hudson_fst(counts[pair[0]], counts[pair[1]]) for pair in pairs}
    return {pair: float(np.nansum(up) / np.nansum(down)) for pair, (up, down) in sums.items()}


def test_spectra_are_those_of_moments():
    sizes = (4, 6, 6)
    functions = Functions(np.array(sizes))
    whole, pairs = functions.spectra(expected(TREE, HISTORY, functions.values()))
    graph = demes.loads(FittedTree(("A", "B", "C"), TREE, HISTORY, 5_000.0).demes())
    joint = np.array(
        moments.Demes.SFS(graph, sampled_demes=["A", "B", "C"], sample_sizes=sizes).data
    )
    joint[0, 0, 0] = joint[-1, -1, -1] = 0
    copies = np.indices(joint.shape).sum(axis=0)
    folded = np.bincount(np.minimum(copies, 16 - copies).ravel(), joint.ravel())
    assert whole / whole.sum() == pytest.approx(folded / folded.sum(), rel=1e-4)
    shares = np.indices(joint.shape).reshape(3, -1) / np.array(sizes)[:, None]
    weights = joint.ravel() / joint.sum()
    a, b, c = shares
    differing = [2 * x * (1 - x) * n / (n - 1) for x, n in zip(shares, sizes, strict=True)]
    differing += [x + y - 2 * x * y for x, y in ((a, b), (a, c), (b, c))]
    oracle = [float(weights @ values) for values in differing]
    assert pairs.sum(axis=1) / whole.sum() == pytest.approx(oracle, rel=1e-4)


def test_one_size_gives_the_standard_spectrum():
    ones = History(np.array([0, 0, 0.2]), np.ones(3), np.ones(2), 0.5)
    ones = replace(ones, heights=np.array([0.0, 0.0, 1e-9]))
    functions = Functions(np.array([8, 12]))
    whole, _ = functions.spectra(expected(Tree(((0, 1),)), ones, functions.values()))
    i = np.arange(1, 20)
    standard = np.bincount(np.minimum(i, 20 - i), 2 / i)
    assert whole == pytest.approx(standard, rel=1e-6)


def test_observed_functions_are_projections():
    """Against moments' projection of two populations' joint spectrum."""
    rng = np.random.default_rng(3)
    people = np.array([14, 10])
    copies = rng.integers(0, people[:, None] + 1, (2, 300))
    joint = np.zeros(people + 1)
    np.add.at(joint, tuple(copies), 1)
    oracle = moments.Spectrum(joint).project([6, 4])
    total = np.indices(oracle.shape).sum(axis=0)
    folded = np.bincount(np.minimum(total, 10 - total).ravel(), np.asarray(oracle.data).ravel())
    functions = Functions(np.array([6, 4]))
    whole, _ = functions.spectra(functions.observed(copies, people).sum(axis=0))
    assert whole[1:] == pytest.approx(folded[1:], rel=1e-6)


def test_chances_are_scipys():
    copies = np.arange(31)
    oracle = stats.hypergeom.pmf(np.arange(9), 30, copies[:, None], 8)
    assert _drawn(30, copies, 8) == pytest.approx(oracle, abs=1e-12)


def test_a_filter_leaves_common_classes():
    left = left_by_filter(4_000, 40, 60)
    assert left[1] < 0.6 < left[2]
    assert left[6:] == pytest.approx(1, abs=1e-3)
    assert left_by_filter(4_000, 1, 60)[1:] == pytest.approx(1)


@pytest.mark.slow
@pytest.mark.parametrize("min_maf", [0.0, 0.03])
def test_a_known_history_comes_back(panel, min_maf, tmp_path):
    """Times and sizes within a factor of two, Fst and diversity as the panel has them."""
    ctx = context(tmp_path, min_maf=min_maf)
    kept = panel.select_sites(panel.maf >= min_maf) if min_maf else panel
    generator = fitted("msprime", kept, ctx, demography="fitted", within="population")
    graph = demes.load(tmp_path / "demography.yaml")
    assert graph == demes.loads(generator.demography)
    ends = {deme.name: deme.end_time for deme in graph.demes}
    inner = next(name for name in ends if name in ("near_next", "next_near"))
    assert ends[inner] == pytest.approx(600, rel=0.5)
    assert ends["ancestral"] == pytest.approx(3_000, rel=0.5)
    for name, size in (("far", 12_000), ("near", 3_000), ("next", 6_000)):
        assert 0.5 < graph[name].size_at(0.4 * graph[name].start_time) / size < 2
    cohorts = [sampled(generator, ctx, 240, start, populations=people()) for start in (0, 240)]
    real = fst(panel)
    for pair, value in real.items():
        drawn = np.mean([fst(cohort)[pair] for cohort in cohorts])
        assert drawn == pytest.approx(value, rel=0.25), pair
    common = [int((cohort.maf >= 0.03).sum()) for cohort in cohorts]
    assert np.mean(common) == pytest.approx((panel.maf >= 0.03).sum(), rel=0.15)


def people() -> np.ndarray:
    return np.repeat(np.random.default_rng(1).permutation(LABELS), 2)


def test_people_keep_their_labels_and_a_seed_its_people(panel, tmp_path):
    ctx = context(tmp_path)
    small = panel.select_sites(np.arange(panel.n_sites) < 1_500)
    generator = fitted("msprime", small, ctx, demography="fitted", within="population")
    again = fitted("msprime", small, ctx, demography="fitted", within="population")
    assert again.demography == generator.demography
    cohort = sampled(generator, ctx, 240, populations=people())
    assert cohort.population.tolist() == people()[::2].tolist()
    assert set(zip(cohort.population, cohort.superpopulation, strict=True)) == {
        ("far", "F"),
        ("near", "N"),
        ("next", "N"),
    }
    apart = fst(cohort)
    assert min(apart["far", "near"], apart["far", "next"]) > apart["near", "next"]
    generator.save(tmp_path)
    loaded = Coalescent().load(tmp_path, ctx)
    assert sampled(loaded, ctx, 240, populations=people()).digest == cohort.digest
    # Unasked, in the training people's shares; a superpopulation is its populations.
    names, counts = np.unique(sampled(generator, ctx, 24).population, return_counts=True)
    assert dict(zip(names.tolist(), counts.tolist(), strict=True)) == dict.fromkeys(names, 4)
    far = sampled(generator, ctx, 8, populations=np.repeat(["F", "N"], 4))
    assert far.superpopulation.tolist() == ["F", "F", "N", "N"]
    with pytest.raises(PluginError, match="'XYZ' is asked for"):
        sampled(generator, ctx, 4, populations=np.array(["XYZ"] * 4))


def test_superpopulations_are_populations_unless_told(panel, tmp_path):
    log = logging.getLogger("test")
    groups = Groups.of(panel, "superpopulation", log)
    assert groups.names == ("F", "N", "N")
    assert groups.rows.tolist() == [0] * 80 + [1] * 160
    assert len(Groups.of(panel, "all", log).demes) == 1
    bare = replace(panel, population=np.empty(0, "U1"), superpopulation=np.empty(0, "U1"))
    assert Groups.of(bare, "superpopulation", log).demes == ("unlabelled",)


def test_few_people_join_the_nearest(panel, caplog):
    labels = LABELS.astype("U5")
    labels[40:44] = "a few"
    few = replace(panel, population=labels, superpopulation=labels)
    with caplog.at_level(logging.WARNING):
        groups = Groups.of(few, "population", logging.getLogger("test"))
    assert dict(zip(np.unique(labels).tolist(), groups.names, strict=True))["a few"] == "near"
    assert "4 people of a few are one population with those of near: fewer than 10" in caplog.text


def test_more_than_eight_are_joined(panel, caplog):
    labels = np.array([f"{label}-{i % 4}" for i, label in enumerate(LABELS)])
    many = replace(panel, population=labels, superpopulation=labels)
    groups = Groups.of(many, "population", logging.getLogger("test"))
    assert len(groups.demes) == 8
    assert all(name.isidentifier() for name in groups.demes)
    assert "more than 8 populations" in caplog.text
    for name, deme in zip(np.unique(labels).tolist(), groups.names, strict=True):
        assert deme.startswith("far") == name.startswith("far")


def test_gene_conversion_breaks_up_haplotypes(tmp_path):
    ctx = context(tmp_path)
    train = region_panel(1, 100_000)

    def close(rate: float) -> float:
        """Mean r² of neighbours 1 to 5 kb apart."""
        generator = fitted("msprime", train, ctx, ne=10_000, gene_conversion_rate=rate)
        generator.save(tmp_path)
        generator = Coalescent().load(tmp_path, ctx)
        found = []
        for start in range(0, 240, 60):
            drawn = sampled(generator, ctx, 60, start)
            drawn = drawn.select_sites(drawn.maf >= 0.1)
            r = np.corrcoef(drawn.haplotypes.T) ** 2
            apart = np.abs(drawn.positions[:, None] - drawn.positions)
            found.append(r[(apart > 1_000) & (apart < 5_000)].mean())
        return float(np.mean(found))

    assert close(2e-7) < 0.75 * close(0)


def test_gene_conversion_that_can_not_be_simulated_is_refused(tmp_path):
    with pytest.raises(ValidationError, match="model: hudson"):
        MsprimeParams(gene_conversion_rate=1e-8, model="smc_k")
    with pytest.raises(PluginError, match="gene_conversion_tract: 5000 bp.*1000 bp"):
        fitted(
            "msprime",
            region_panel(1, 1_000),
            context(tmp_path),
            ne=10_000,
            gene_conversion_rate=1e-8,
            gene_conversion_tract=5_000,
        )


@pytest.mark.slow
def test_conformance_of_fitted_populations():
    params = {"demography": "fitted", "within": "population"}
    assert "determinism" in check_generator("msprime", params=params, registry=REGISTRY)
