#!/bin/sh
# SynthEval: the quantile mean squared error of a table with itself isn't 0.
#
# Expected: `q_mse` of a synthetic table that equals the real one is 0, and categorical columns have
# no part in it unless `cat_mse=True`, which "enables" them by its documentation.
# Seen: each bin between two of the real column's quantiles is held against a share of 1/10, which
# it has for numbers without ties alone. A column of dosages (0, 1, 2) has bins of no width, and its
# copy an error of 0.03. With `cat_mse` off, categorical columns are not left out but taken as
# numbers, by the numbers of their categories: the copy of a table of genotypes has an error, which
# is gone with `cat_mse=True`. Tables are then ranked by how many ties they have.
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
from syntheval import SynthEval

QUIET = {"verbose": False, "console": "off", "enable_plots": False}

draw = np.random.default_rng(1)
numbers = pd.DataFrame(draw.normal(size=(200, 2)), columns=["one", "two"])
dosages = pd.DataFrame(draw.binomial(2, 0.4, (200, 2)), columns=["one", "two"])
genotypes = dosages.replace({0: "AA", 1: "AC", 2: "CC"})


def error(table, columns, **settings):
    found = SynthEval(table, cat_cols=columns, **QUIET).evaluate(table.copy(), q_mse=settings)
    return float(found["val"].iloc[0])


print("SynthEval", importlib.metadata.version("syntheval"))
seen = {
    "numbers": error(numbers, []),
    "dosages": error(dosages, []),
    "numbers and a category": error(numbers.assign(g=genotypes["one"]), ["g"]),
    "numbers and a category, cat_mse": error(numbers.assign(g=genotypes["one"]), ["g"], cat_mse=True),
}
for name, value in seen.items():
    print(f"q_mse of a table with itself, {name}: {value:.4f}")
assert seen["numbers"] < 1e-4 and seen["numbers and a category, cat_mse"] < 1e-4
assert seen["dosages"] > 0.02 and seen["numbers and a category"] > 0.005
PYTHON
