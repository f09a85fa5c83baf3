#!/bin/sh
# scikit-allel: `fold_sfs` of an even number of chromosomes isn't the folded spectrum.
#
# Expected: `fold_sfs(sfs(counts, n), n)` equals `sfs_folded(allele_counts, n)`: classes i and n - i
# are added, n/2 stays by itself, and no site is lost.
# Seen: it does for odd n. For even n, that is for diploid people, class i is added to n - 1 - i, the
# middle class counts as one of the pair below it, and the last class (all chromosomes) is dropped.
# With 6 chromosomes and one site in each class 1 to 5 it is [1, 2, 2], in place of [0, 2, 2, 1].
# `fold_joint_sfs` folds each of its two axes in the same way. Nothing warns.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet scikit-allel==1.3.13 numpy==2.4.6 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import importlib.metadata
import warnings

warnings.simplefilter("ignore")
import allel
import numpy as np

print("scikit-allel", importlib.metadata.version("scikit-allel"))
folds = {}
for n in (5, 6):
    derived = np.arange(1, n)
    counts = np.column_stack([n - derived, derived])
    spectrum = allel.sfs(derived, n)
    folds[n] = (allel.fold_sfs(spectrum, n).tolist(), allel.sfs_folded(counts, n).tolist())
    print(f"n = {n}: sfs {spectrum.tolist()}, fold_sfs {folds[n][0]}, sfs_folded {folds[n][1]}")
assert folds[5] == ([0, 2, 2], [0, 2, 2])
assert folds[6] == ([1, 2, 2], [0, 2, 2, 1])

neutral = np.zeros(41)
neutral[1:40] = 1000 / np.arange(1, 40)
folded = allel.fold_sfs(neutral, 40)
print(f"a neutral spectrum, n = 40, none fixed: {folded[0]:.1f} sites of minor allele count 0")
assert abs(folded[0] - 1000 / 39) < 1e-9

fixed = np.zeros((7, 7), int)
fixed[6, 6] = 10
print("10 sites at which all of 2 x 6 chromosomes are derived, after fold_joint_sfs:",
      allel.fold_joint_sfs(fixed, 6, 6).sum())
assert allel.fold_joint_sfs(fixed, 6, 6).sum() == 0
PYTHON
