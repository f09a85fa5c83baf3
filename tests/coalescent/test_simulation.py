"""Simulating a region: its map, its positions and its bases."""

from __future__ import annotations

import msprime
import numpy as np
import pytest
from coalescent_cases import context, fitted, region_panel, sampled
from scipy import stats

from haplobench import RecombinationMap, ReferenceSequence
from haplobench.data.formats import sites as variants_module
from haplobench.data.formats.sites import Cohort
from haplobench_coalescent import simulation
from haplobench_coalescent.simulation import Region, assign_bases

START, END = 5_000_001, 5_400_000


def hot_half() -> RecombinationMap:
    """No recombination up to 5.2 Mb, 5 cM/Mb from there."""
    positions = np.array([4_000_000, 5_200_000, 6_000_000])
    return RecombinationMap(positions, np.array([7.0, 7.0, 11.0]))


def test_rate_map_is_the_maps_own():
    """msprime integrates the rates back to the map's cM at any position."""
    rng = np.random.default_rng(0)
    positions = np.sort(rng.choice(np.arange(4_900_000, 5_500_000), 300, replace=False))
    whole = RecombinationMap(positions, 3 + np.cumsum(rng.exponential(0.01, 300)))
    region = Region.of(region_panel(START, END), whole)
    rates = region.rate_map()
    assert rates.left[0] == 0
    assert rates.sequence_length == END - START + 1 == region.length
    at = rng.integers(START, END, 50)
    morgans = (whole.at(at) - whole.at(START)) / 100
    assert rates.get_cumulative_mass(at - START) == pytest.approx(morgans, rel=1e-9)


def incompatible(haplotypes):
    """Pairs of sites at which all four gametes occur: (n_sites, n_sites) bool."""
    ones = haplotypes.astype(np.int64)
    zeros = 1 - ones
    return np.logical_and.reduce([(a.T @ b) > 0 for a in (ones, zeros) for b in (ones, zeros)])


@pytest.mark.parametrize("model", ["hudson", "smc_k"])
def test_recombination_happens_where_the_map_has_it(model, tmp_path):
    ctx = context(tmp_path, recombination_map=hot_half())
    train = region_panel(START, END)
    panel = sampled(fitted("msprime", train, ctx, ne=10_000, model=model), ctx, 60)
    left = panel.positions < 5_200_000
    assert left.sum() > 100
    assert (~left).sum() > 100
    pairs = incompatible(panel.haplotypes)
    # A site hit twice could break the rule, but is rarer than one in a thousand here.
    assert pairs[np.ix_(left, left)].mean() < 0.005
    assert pairs[np.ix_(~left, ~left)].mean() > 0.05


def test_positions_and_conventions_are_the_regions(tmp_path):
    ctx = context(tmp_path)
    panel = sampled(fitted("msprime", region_panel(START, END), ctx, ne=10_000), ctx, 20)
    assert panel.n_sites > 100
    assert panel.positions[0] >= START
    assert panel.positions[-1] <= END
    # Spread over the whole of it: 20 uniform parts.
    parts = np.histogram(panel.positions, bins=4, range=(START, END + 1))[0]
    assert parts.min() > panel.n_sites / 12
    assert (panel.contig, panel.build, panel.ploidy) == ("chr7", "GRCh38", 2)
    count = panel.haplotypes.sum(axis=0)
    assert ((count > 0) & (count < 20)).all()


def test_decoding_against_tskit(monkeypatch):
    monkeypatch.setattr(variants_module, "_BLOCK_ALLELES", 12 * 16)
    ancestry = msprime.sim_ancestry(6, population_size=1e4, sequence_length=1e5, random_seed=3)
    # A high rate, so that some sites are hit twice and lose their derived allele.
    mutated = msprime.sim_mutations(
        ancestry, rate=2e-6, random_seed=4, model=msprime.BinaryMutationModel()
    )
    genotypes = mutated.genotype_matrix()
    expected = (genotypes.sum(axis=1) > 0) & (genotypes.sum(axis=1) < 12)
    assert not expected.all()
    sites = simulation._polymorphic(mutated)
    assert np.array_equal(sites, np.flatnonzero(expected))
    nobody = np.full(6, "")
    bases = np.full(sites.size, "A")
    simulated = simulation.Simulated(mutated, sites, np.arange(sites.size) + 1, bases, bases)
    people, rows = Cohort(np.arange(6).astype(str), nobody, nobody, 2), np.arange(12)[::-1]
    region = Region("7", "", 1, 100_000, 2, np.array([1, 100_001]), np.array([0.0, 1.0]))
    variants = simulated.variants(region, people, rows)
    assert variants.step < sites.size / 3
    assert np.array_equal(variants.panel().haplotypes, genotypes[expected].T[rows])


class TestBases:
    rng = np.random.default_rng(1)
    sequence = ReferenceSequence(
        rng.choice(np.frombuffer(b"ACGTNacgt", np.uint8), 30_000), 1000, surrogate=False
    )
    positions = np.arange(500, 32_000)
    ref, alt = assign_bases(positions, sequence, np.random.default_rng(2))

    def test_reference_is_the_sequences(self):
        inside = (self.positions >= 1000) & (self.positions < 31_000)
        real = np.char.upper(self.sequence.bases.view("S1").astype(np.str_))
        named = real != "N"
        assert np.array_equal(self.ref[inside][named], real[named])

    def test_random_where_the_sequence_has_none(self):
        inside = (self.positions >= 1000) & (self.positions < 31_000)
        unknown = np.ones(self.positions.size, bool)
        unknown[inside] = self.sequence.bases == ord("N")
        _, counts = np.unique(self.ref[unknown], return_counts=True)
        assert counts.size == 4
        assert stats.chisquare(counts).pvalue > 1e-4

    def test_alternate_differs_two_transitions_to_a_transversion(self):
        assert (self.ref != self.alt).all()
        partner = {"A": "G", "G": "A", "C": "T", "T": "C"}
        transitions = sum(
            partner[r] == a for r, a in zip(self.ref.tolist(), self.alt.tolist(), strict=True)
        )
        assert stats.binomtest(transitions, self.ref.size, 2 / 3).pvalue > 1e-4

    def test_without_a_sequence(self):
        ref, alt = assign_bases(self.positions, None, np.random.default_rng(3))
        assert set(ref) == set(alt) == set("ACGT")
