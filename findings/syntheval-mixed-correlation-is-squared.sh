#!/bin/sh
# SynthEval: "Cramér's V" of the mixed correlation matrix is its square, "Spearman's rho" Pearson's r.
#
# Expected: `corr_diff` holds against each other matrices of Spearman's rho for two numerical columns,
# and of Cramér's V for two categorical ones, as its documentation says.
# Seen: no root is taken of V, so that two sites with a V of 0.2 have 0.04 in the matrix, and two
# numerical columns have Pearson's r: 0.27 where one is a rising function of the other and rho is 1.
# Weak associations, which most of LD is, all but vanish from the sum. scipy's `association` and
# `spearmanr` give V and rho.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --only-binary :all: syntheval==1.7.3 numpy==2.4.6 pandas==2.3.3 scipy==1.17.1 scikit-learn==1.9.1 >pip.log 2>&1 || { cat pip.log; exit 1; }
MPLBACKEND=Agg venv/bin/python -W ignore - <<'PYTHON' 2>log || { cat log; exit 1; }
import importlib.metadata

import numpy as np
import pandas as pd
from scipy.stats import pearsonr, spearmanr
from scipy.stats.contingency import association, crosstab
from syntheval.metrics.utility.metric_mixed_correlation import mixed_correlation

draw = np.random.default_rng(1)
site = draw.integers(0, 3, 2000)
other = np.where(draw.random(2000) < 0.2, site, draw.integers(0, 3, 2000))
x = draw.normal(size=2000)
table = pd.DataFrame({"site": site, "other": other, "x": x, "y": np.exp(2 * x)})
matrix = mixed_correlation(table, ["x", "y"], ["site", "other"])
v = association(crosstab(site, other).count, method="cramer")
rho, r = spearmanr(table.x, table.y).statistic, pearsonr(table.x, table.y).statistic
print("SynthEval", importlib.metadata.version("syntheval"))
print(f"site and other: SynthEval {matrix.loc['site', 'other']:.4f}, scipy's V {v:.4f}, V squared {v**2:.4f}")
print(f"x and exp(2x): SynthEval {matrix.loc['x', 'y']:.4f}, Spearman's rho {rho:.4f}, Pearson's r {r:.4f}")
assert np.isclose(matrix.loc["site", "other"], v**2) and v > 3 * v**2
assert np.isclose(matrix.loc["x", "y"], r) and rho > 0.999 > r + 0.2
PYTHON
