#!/bin/sh
# tspop: a person without any ancestry of a population has the fraction nan, not 0.
#
# Expected: `calculate_ancestry_fraction(population, sample)` is the fraction of the sample's genome
# that descends from the population: 0 where no part does, so that a sample's fractions add up to 1.
# Seen: 0 is nan. Fractions below 1 are right, and so is 1. The mean over people is nan as soon as one
# of them has none of the ancestry, and a mean that skips nan is one of the carriers alone: 0.41 here,
# where the people's genomes have 0.14 of it.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet tspop==0.0.2 msprime==1.4.4 tskit==1.0.3 pandas==3.1.1 numpy==2.4.6 matplotlib==3.11.2 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python -W ignore - <<'PYTHON'
import importlib.metadata

import msprime
import numpy as np
import tspop

model = msprime.Demography()
for name in ("A", "B", "MIXED", "ANCESTRAL"):
    model.add_population(name=name, initial_size=500)
model.add_admixture(time=20, derived="MIXED", ancestral=["A", "B"], proportions=[0.9, 0.1])
model.add_census(time=20.01)
model.add_population_split(time=1000, derived=["A", "B"], ancestral="ANCESTRAL")
ts = msprime.sim_ancestry(
    {"MIXED": 10}, demography=model, sequence_length=1e6, recombination_rate=1e-7, random_seed=4
)
table = tspop.get_pop_ancestry(ts, census_time=20.01)
print("tspop", importlib.metadata.version("tspop"))
b = [population.metadata["name"] for population in ts.populations()].index("B")
right = np.zeros(ts.num_samples)
for tree in ts.trees():
    for sample in ts.samples():
        node = sample
        while ts.node(node).time < 20.01:
            node = tree.parent(node)
        right[sample] += tree.span * (ts.node(node).population == b) / ts.sequence_length
seen = np.array([table.calculate_ancestry_fraction(b, int(sample)) for sample in ts.samples()])
print("from the trees:", np.round(right, 3))
print("tspop:         ", np.round(seen, 3))
print("means:", right.mean(), "and without nan", np.nanmean(seen))
none = right == 0
assert 2 < none.sum() < ts.num_samples - 1
assert np.isnan(seen[none]).all() and np.allclose(seen[~none], right[~none])
PYTHON
