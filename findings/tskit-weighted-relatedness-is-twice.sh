#!/bin/sh
# tskit: the weighted genetic relatedness is twice the relatedness that it weighs.
#
# Expected: `genetic_relatedness_weighted(W)` is the sum of W[a, i] W[b, j] C[a, b], where C is "as
# returned by `genetic_relatedness`", and `polarised` "defaults to True", both by its documentation.
# Seen: the signature's default is `polarised=False`, `genetic_relatedness` has True. At a site with two
# alleles the ancestral one then counts like the derived one, and the result is exactly twice the
# sum. A ratio of the two, such as the share of a trait's variance that relatedness explains,
# is off by 2 without a word. With `polarised=True` both agree with numpy's product.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet tskit==1.0.3 msprime==1.4.4 numpy==2.4.6 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import inspect

import msprime
import numpy as np
import tskit

print("tskit", tskit.__version__)
ts = msprime.sim_ancestry(
    6, population_size=1000, sequence_length=2000, recombination_rate=1e-6, random_seed=2
)
ts = msprime.sim_mutations(ts, 5e-6, random_seed=3, model=msprime.BinaryMutationModel())
ts = ts.delete_sites([site.id for site in ts.sites() if len(site.mutations) > 1])
n = ts.num_samples
weights = np.random.default_rng(1).normal(size=(n, 2))
haplotypes = ts.genotype_matrix().T.astype(float)
centred = haplotypes - haplotypes.mean(axis=0)
pairs = [(0, 0), (0, 1), (1, 1)]
by_hand = np.array([(weights.T @ centred @ centred.T @ weights)[pair] for pair in pairs])
every = [(a, b) for a in range(n) for b in range(n)]
c = ts.genetic_relatedness(
    [[sample] for sample in range(n)], every, span_normalise=False, proportion=False
).reshape(n, n)
from_sets = np.array([(weights.T @ c @ weights)[pair] for pair in pairs])
seen = ts.genetic_relatedness_weighted(weights, pairs, span_normalise=False)
polarised = ts.genetic_relatedness_weighted(weights, pairs, span_normalise=False, polarised=True)
print("numpy                       ", by_hand)
print("W' C W, genetic_relatedness ", from_sets)
print("weighted, polarised=True    ", polarised)
print("weighted, default           ", seen)
method = tskit.TreeSequence.genetic_relatedness_weighted
print("default in the signature:", inspect.signature(method).parameters["polarised"])
assert "Defaults to True" in method.__doc__.split(":param bool polarised:")[1].split(":param")[0]
assert np.allclose(from_sets, by_hand) and np.allclose(polarised, by_hand)
assert np.allclose(seen, 2 * by_hand)
PYTHON
