#!/bin/sh
# tskit: the two-locus statistics of some people change with alleles that none of them carries.
#
# Expected: `ld_matrix([people])` depends on these people's haplotypes alone, as `diversity([people])`
# does, so that a site at which they carry two alleles is a biallelic one.
# Seen: the alleles of the whole tree sequence count. Where somebody outside the set carries a third
# one, D is half its value (a mean over two derived alleles, one of them absent), D2 and the unbiased
# pi2 are two thirds of theirs, and r2 is nan, not the number that `simplify(people)` gives for the
# same haplotypes. So it is with an allele that a later mutation replaced in everybody.
# The nans are known (issue 3474 of tskit); the finite numbers show nothing. Means of D2 in one
# population of several are too low, the more so the more of the sites have mutated twice.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet tskit==1.0.3 numpy==2.4.6 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import numpy as np
import tskit

people = [0, 1, 2, 3, 4]  # sample 5 is somebody else
tables = tskit.TableCollection(100)
for _ in range(6):
    tables.nodes.add_row(flags=tskit.NODE_IS_SAMPLE, time=0)
left, right, root = (tables.nodes.add_row(time=time) for time in (1, 1.5, 2))
for parent, children in ((left, (0, 1)), (right, (2, 3, 4, 5)), (root, (left, right))):
    for child in children:
        tables.edges.add_row(0, 100, parent, child)
first = tables.sites.add_row(10, "A")
tables.mutations.add_row(first, left, "C")
tables.mutations.add_row(first, 5, "G")
second = tables.sites.add_row(20, "A")
tables.mutations.add_row(second, 0, "C")
tables.sort()
ts = tables.tree_sequence()
alone = ts.simplify(people, filter_sites=False)
haplotypes = ts.genotype_matrix(samples=people)
print("tskit", tskit.__version__)
print("haplotypes of the five:", haplotypes.tolist(), "of the sixth:", ts.genotype_matrix()[:, 5])
assert (haplotypes == alone.genotype_matrix()).all() and haplotypes.max() == 1
assert np.isclose(ts.diversity(people), alone.diversity())
a, b = haplotypes
d = (a * b).mean() - a.mean() * b.mean()
right_values = {
    "D": d,
    "D2": d**2,
    "r2": d**2 / (a.mean() * (1 - a.mean()) * b.mean() * (1 - b.mean())),
    "pi2_unbiased": 0.05,
}
seen = {}
for stat, value in right_values.items():
    seen[stat] = float(ts.ld_matrix(people, stat=stat)[0, 1])
    other = float(alone.ld_matrix(stat=stat)[0, 1])
    print(f"{stat:12} of the five {seen[stat]:.4f}, after simplify {other:.4f}, by hand {value:.4f}")
    assert np.isclose(other, value)
assert np.isclose(seen["D"], right_values["D"] / 2) and np.isnan(seen["r2"])
assert seen["D2"] < 0.7 * right_values["D2"]
assert seen["pi2_unbiased"] < 0.7 * right_values["pi2_unbiased"]
PYTHON
