#!/bin/sh
# scikit-allel and moments: the joint folded spectrum of one panel has other cells.
#
# Expected: folding a joint spectrum joins a site with its mirror image (derived and ancestral
# swapped in both populations), as moments, dadi and tskit do: one allele is the minor one, counted
# in both. An allele that is fixed in one population and absent in the other stays a difference.
# Seen: scikit-allel's `joint_sfs_folded` takes the minor allele of each population by itself. Ten
# sites with 10 derived of 10 in the first and 0 of 10 in the second are in its cell (0, 0), with
# the sites that don't vary at all; moments has them in (0, 10) and (10, 0). Divergence isn't in the
# former's spectrum any more, and the cells of common sites mix both kinds.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet scikit-allel==1.3.13 moments-popgen==1.6.1 numpy==2.4.6 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import importlib.metadata
import warnings

warnings.simplefilter("ignore")
import allel
import moments
import numpy as np

# Derived counts in two samples of 10: 10 fixed differences, 5 absent, 7 common in one, rare in one.
derived = np.array([(10, 0)] * 10 + [(0, 0)] * 5 + [(9, 1)] * 7)
a, b = derived.T
folded = allel.joint_sfs_folded(np.column_stack([10 - a, a]), np.column_stack([10 - b, b]), 10, 10)
spectrum = np.zeros((11, 11))
np.add.at(spectrum, (a, b), 1)
by_moments = moments.Spectrum(spectrum, mask_corners=False).fold()
for package in ("scikit-allel", "moments-popgen"):
    print(package, importlib.metadata.version(package))


def cells(table):
    """Sites of each cell that has any."""
    return {(int(i), int(j)): float(table[i, j]) for i, j in np.argwhere(np.asarray(table) > 0)}


seen = {"scikit-allel": cells(folded), "moments": cells(np.ma.filled(by_moments, 0))}
for package, found in seen.items():
    print(f"{package:13} {found}")
assert seen["scikit-allel"] == {(0, 0): 15.0, (1, 1): 7.0}
assert seen["moments"][(0, 0)] == 5
assert sum(v for (i, j), v in seen["moments"].items() if abs(i - j) == 10) == 10
assert sum(v for (i, j), v in seen["moments"].items() if abs(i - j) == 8) == 7
PYTHON
