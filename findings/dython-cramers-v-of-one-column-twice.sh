#!/bin/sh
# dython: Cramer's V of a column of two values with itself is not 1.
#
# Expected: `cramers_v(x, x)` is 1, as it is for columns of three values, and for two columns of two
# values V is the absolute correlation, so that it is |r| of linkage disequilibrium for two sites.
# Seen: 0.90 where ten of twenty haplotypes have the allele, 0.47 where one has it. The statistic is
# taken with Yates' correction for continuity, which serves the p-value of a 2 x 2 table and which
# no documentation tells, with `bias_correction=False` too. scipy's `association` gives 1 and |r|.
# The rarer the allele and the fewer the haplotypes, the lower V is: a table of associations of a
# small synthetic cohort lies below that of a large real one with the same haplotypes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --only-binary :all: dython==0.7.10 numpy==2.4.6 pandas==2.3.3 scipy==1.17.1 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import importlib.metadata
import warnings

warnings.simplefilter("ignore")
import numpy as np
from dython.nominal import cramers_v
from scipy.stats.contingency import association, crosstab

print("dython", importlib.metadata.version("dython"))
seen = {}
for people, carriers in ((5, 2), (20, 10), (20, 2), (20, 1), (1000, 500)):
    site = np.repeat(["A", "C"], [people - carriers, carriers])
    phi = abs(np.corrcoef(site == "C", site == "C")[0, 1])
    scipys = association(crosstab(site, site).count, method="cramer")
    seen[people, carriers] = cramers_v(site, site, bias_correction=False)
    print(
        f"{carriers} of {people} carry it: dython {seen[people, carriers]:.4f},"
        f" with bias_correction {cramers_v(site, site):.4f}, scipy {scipys:.4f}, |r| {phi:.4f}"
    )
    assert np.isclose(phi, 1) and np.isclose(scipys, 1)
three = np.repeat(["A", "C", "G"], 7)
print("three values:", cramers_v(three, three, bias_correction=False))
assert np.isclose(cramers_v(three, three, bias_correction=False), 1)
assert np.isclose(seen[20, 10], 0.9) and seen[5, 2] < 0.65 and seen[20, 1] < 0.5
assert np.isclose(seen[1000, 500], 0.998)

draw = np.random.default_rng(1)
first = draw.integers(0, 2, 30)
second = np.where(draw.random(30) < 0.2, 1 - first, first)
r = abs(np.corrcoef(first, second)[0, 1])
v = cramers_v(first.astype(str), second.astype(str), bias_correction=False)
print(f"two sites of 30 haplotypes: |r| {r:.4f}, dython {v:.4f}")
assert np.isclose(association(crosstab(first, second).count, method="cramer"), r) and r - v > 0.03
PYTHON
