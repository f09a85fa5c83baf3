#!/bin/sh
# tstrait: people who have no genome left in a tree sequence have a genetic value of 0, which counts.
#
# Expected: after `simplify(samples, filter_individuals=False)`, which keeps the numbers of all
# individuals and the genomes of some, the others have no genetic value (nan), or none in the
# variance from which the noise for a heritability follows.
# Seen: they are rows with genetic value 0 and get phenotypes like anybody else. The zeros lie far
# from the real values, so that the variance and with it everybody's noise is too large: people asked
# to have a heritability of 0.5 have one of 0.2, and it changes with the number of those who aren't
# there. Means and normalised phenotypes are theirs in part, too. `filter_individuals=True`, the
# default, is right.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet tstrait==0.2.0 tskit==1.0.3 msprime==1.4.4 numpy==2.4.6 pandas==3.1.1 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import importlib.metadata

import msprime
import numpy as np
import tstrait

ts = msprime.sim_ancestry(
    400, sequence_length=1e5, population_size=1e4, recombination_rate=1e-8, random_seed=3
)
ts = msprime.sim_mutations(ts, rate=2e-8, random_seed=4)
model = tstrait.trait_model(distribution="fixed", value=1.0, random_sign=False)
genomes = range(400)  # those of the first 200 people
print("tstrait", importlib.metadata.version("tstrait"))
values = {}
heritability = {}
for kept in (True, False):
    people = ts.simplify(genomes, filter_individuals=kept)
    trait = tstrait.sim_trait(people, model=model, num_causal=40, random_seed=1)
    table = tstrait.sim_env(tstrait.genetic_value(people, trait), h2=0.5, random_seed=2)
    values[kept] = table.genetic_value.to_numpy()
    real = table[:200]
    heritability[kept] = real.genetic_value.var() / (
        real.genetic_value.var() + real.environmental_noise.var()
    )
    print(
        f"filter_individuals={kept}: {len(table)} rows, genetic values 0: {(values[kept] == 0).sum()},"
        f" heritability among the 200 people {heritability[kept]:.3f}"
    )
    assert {node.individual for node in people.nodes() if node.is_sample()} == set(range(200))
assert (values[False][:200] == values[True]).all() and values[True].min() > 0
assert len(values[False]) == 400 and (values[False][200:] == 0).all()
assert abs(heritability[True] - 0.5) < 0.08 and heritability[False] < 0.3
assert not np.isnan(values[False]).any()
PYTHON
