#!/bin/sh
# gower: half of the distances between two tables of the same size are those of other pairs.
#
# Expected: `gower_matrix(real, synthetic)` has the distance of each real record (row) to each
# synthetic one (column), and the least of a column is a synthetic record's distance to its closest
# real one.
# Seen: where both have the same number of records the matrix is taken for that of one table with
# itself. The upper half is computed and mirrored onto the lower: a synthetic record is compared
# with the real ones up to its own row only, and the rest of its column holds distances of other
# records. Copies of real records come out at a distance, and 58 of 100 closest distances are
# wrong. With one record less in either table all is right. Synthetic data often has the size of
# the real data, and nothing warns.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet gower==0.1.2 numpy==2.4.6 pandas==3.1.1 scipy==1.16.3 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import importlib.metadata

import gower
import numpy as np
import pandas as pd

draw = np.random.default_rng(1)
real = pd.DataFrame({"height": draw.normal(170, 10, 100), "weight": draw.normal(70, 10, 100)})
synthetic = real.sample(frac=1, random_state=1, ignore_index=True)  # copies, in any order
print("gower", importlib.metadata.version("gower"))


def by_hand(first, second):
    ranges = np.ptp(np.concatenate([first, second]), axis=0)
    differences = np.abs(first.to_numpy()[:, None] - second.to_numpy()) / ranges
    return differences.mean(axis=2)


wrong = {}
for size in (100, 99):
    synthetic = real.sample(size, random_state=1, ignore_index=True)  # copies, in any order
    seen = gower.gower_matrix(real, synthetic)
    right = by_hand(real, synthetic)
    assert (right.min(axis=0) < 1e-6).all()
    missed = int((seen.min(axis=0) > 1e-6).sum())
    others = real + draw.normal(0, 5, (100, 2))
    closest = gower.gower_matrix(real, others[:size]).min(axis=0)
    differs = ~np.isclose(closest, by_hand(real, others[:size]).min(axis=0), atol=1e-5)
    wrong[size] = int(differs.sum())
    cells = np.isclose(seen, right, atol=1e-5).mean()
    print(
        f"100 real and {size} synthetic records: right cells {cells:.2f},"
        f" copies that aren't found {missed}, wrong closest distances of others {wrong[size]}"
    )
    if size == 100:
        assert np.array_equal(seen, seen.T) and not np.allclose(right, right.T)
        upper = np.triu_indices(100)
        assert np.allclose(seen[upper], right[upper], atol=1e-5)
        assert missed > 5 and wrong[size] > 30
    else:
        assert np.allclose(seen, right, atol=1e-5)
        assert missed == wrong[size] == 0
PYTHON
