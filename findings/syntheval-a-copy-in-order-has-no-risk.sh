#!/bin/sh
# SynthEval: the real table given as the synthetic one, row by row, has an identifiability risk of 0.
#
# Expected: where every synthetic record is a real one, each real record has a synthetic one at a
# distance of 0, so that `eps_risk`, the share of real records nearer to a synthetic than to any
# other real one, is 1 and the median distance to the closest record, `dcr`, is 0.
# Seen: 0 and 1, the values of a safe table. Two tables that are equal in order are taken for a
# comparison of one table with itself, in which a record is no neighbour of its own. Any other order
# of the same rows gives 1 and 0, and so does the change of a single cell. The two that a check of a
# tool starts with, "the real data" and "a good copy", are thus told apart by their order alone.
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
real = pd.DataFrame(draw.normal(size=(100, 3)), columns=list("abc"))
changed = real.copy()
changed.iloc[0, 0] += 1e-6
print("SynthEval", importlib.metadata.version("syntheval"))
seen = {}
for name, synthetic in (
    ("the same rows in order", real.copy()),
    ("the same rows, the last first", real[::-1].reset_index(drop=True)),
    ("in order, one cell changed", changed),
):
    found = SynthEval(real, **QUIET).evaluate(synthetic, eps_risk={}, dcr={})
    values = found.set_index("metric")["val"]
    seen[name] = float(values["eps_identif_risk"]), float(values["median_DCR"])
    print(f"{name}: identifiability risk {seen[name][0]:.2f}, median DCR {seen[name][1]:.2f}")
in_order, reversed_, one_changed = seen.values()
assert in_order == (0, 1) and reversed_ == (1, 0) and one_changed[0] == 1 and one_changed[1] < 1e-6
PYTHON
