#!/bin/sh
# gower: a column whose largest value is 0 doesn't count.
#
# Expected: a numeric column adds the difference over the column's range, wherever the range lies:
# log frequencies from -10 to 0 give the distances of the same column counted from 0 to 10.
# Seen: columns are divided by their largest value before the range is taken. Where that is 0, as
# for log frequencies of which one is that of a fixed allele, log p-values, or depths below ground,
# the column adds nothing to any distance, though it keeps its weight in the mean. Records that
# differ there alone have distance 0. With a largest value of -1 or 1e-9 the column counts. Nothing
# warns.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet gower==0.1.2 numpy==2.4.6 pandas==3.1.1 scipy==1.16.3 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import importlib.metadata
import warnings

import gower
import numpy as np
import pandas as pd

warnings.simplefilter("error")
print("gower", importlib.metadata.version("gower"))
column = np.array([-10.0, -6.0, -3.0, 0.0])
right = np.abs(column[:, None] - column) / np.ptp(column)
seen = {}
for shift in (10, 1e-9, 0, -1):
    seen[shift] = gower.gower_matrix(pd.DataFrame({"x": column + shift}))
    print(
        f"from {column.min() + shift:g} to {column.max() + shift:g}:"
        f" distances from the first record {seen[shift][0].tolist()}"
    )
    assert np.allclose(seen[shift], 0 if shift == 0 else right, atol=1e-5)
both = pd.DataFrame({"x": column, "y": [1.0, 2.0, 3.0, 5.0]})
distance = gower.gower_matrix(both)[0, 3]
print(f"records that differ by the whole range of both of two columns: {distance:g}")
assert distance == 0.5
PYTHON
