#!/bin/sh
# table-evaluator: values beyond the real column's range have no part in the Jensen-Shannon distance.
#
# Expected: `jensenshannon_distance`, by which `js_distance_df` compares a table's numerical columns,
# grows towards 1 (0.83 with natural logarithms) as more of the synthetic values lie where no real
# one does.
# Seen: the bins are cut between the real column's least and greatest value, what is outside is missing
# from the synthetic counts, and the rest is made to sum to 1. A column of which nine tenths
# are 5 too large has a distance of 0.08, near the 0.03 of a perfect one, instead of 0.73 over bins
# that hold both. Where all of them are out of range the result is nan.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --only-binary :all: table-evaluator==1.9.0 numpy==1.26.4 pandas==2.2.2 scipy==1.12.0 >pip.log 2>&1 || { cat pip.log; exit 1; }
MPLBACKEND=Agg venv/bin/python -W ignore - <<'PYTHON' 2>log || { cat log; exit 1; }
import importlib.metadata

import numpy as np
import pandas as pd
from scipy.spatial.distance import jensenshannon
from table_evaluator.metrics import jensenshannon_distance

print("table-evaluator", importlib.metadata.version("table-evaluator"))
draw = np.random.default_rng(1)
real = pd.Series(draw.uniform(0, 1, 5000))
edges = np.linspace(0, 6, 151)
seen, right = {}, {}
for share in (0, 0.5, 0.9, 1):
    synthetic = draw.uniform(0, 1, 5000)
    synthetic[: int(5000 * share)] += 5
    found = jensenshannon_distance("x", real, pd.Series(synthetic))
    seen[share] = float(found["js_distance"])
    right[share] = jensenshannon(np.histogram(real, edges)[0], np.histogram(synthetic, edges)[0])
    print(f"{share:.0%} out of range: table-evaluator {seen[share]:.3f}, by scipy {right[share]:.3f}")
assert seen[0] < 0.06 and right[0] < 0.06
assert seen[0.5] < 0.1 < 0.4 < right[0.5] and seen[0.9] < 0.15 < 0.6 < right[0.9]
assert np.isnan(seen[1]) and np.isclose(right[1], np.sqrt(np.log(2)))
PYTHON
