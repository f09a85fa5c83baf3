#!/bin/sh
# diffprivlib: the private mean of the called values has the noise of the mean of all.
#
# Expected: `nanmean` of 1,000 people's dosages, 10 of which are called, has at least the noise of
# `mean` of those 10: one person moves it by up to 2/10 at dosages from 0 to 2.
# Seen: the mean is over the called values, and the noise is scaled by the length of the array. The
# standard deviation is 0.0028 in place of 0.28: what is asked for with epsilon 1 spends 100.
# `nanvar` and `nanstd` do the same. Nothing warns, and BudgetAccountant books 1.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet diffprivlib==0.6.6 scikit-learn==1.6.1 numpy==2.2.6 scipy==1.15.3 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import warnings

warnings.simplefilter("ignore")
import diffprivlib
import numpy as np
from diffprivlib import tools

dosages = np.full(1000, np.nan)
dosages[:10] = 1.0
called = dosages[:10]
options = {"epsilon": 1, "bounds": (0, 2)}


def deviation(tool, values):
    return np.std([tool(values, random_state=seed, **options) for seed in range(2000)])


print("diffprivlib", diffprivlib.__version__)
seen = {
    "mean of the 10": deviation(tools.mean, called),
    "nanmean of 1,000, 10 called": deviation(tools.nanmean, dosages),
    "nanvar of 1,000, 10 called": deviation(tools.nanvar, dosages),
    "var of the 10": deviation(tools.var, called),
}
for name, value in seen.items():
    print(f"{name:28} noise of {value:.4f}")
by_formula = np.sqrt(2) * 2 / 10
print(f"Laplace noise of epsilon 1 for a change by 2/10: {by_formula:.4f}")
assert abs(seen["mean of the 10"] / by_formula - 1) < 0.1
assert abs(seen["nanmean of 1,000, 10 called"] / by_formula * 100 - 1) < 0.1
assert seen["nanvar of 1,000, 10 called"] < seen["var of the 10"] / 20

# Two arrays that differ in one called person are told apart by a single answer.
other = dosages.copy()
other[0] = 2.0
answers = [[tools.nanmean(x, random_state=s, **options) for s in range(500)] for x in (dosages, other)]
share = (np.array(answers) > 1.05).mean(axis=1)
print(f"answers above 1.05: {share[0]:.3f} of those without, {share[1]:.3f} with the person's dosage of 2")
assert share[0] == 0 and share[1] == 1  # epsilon 1 allows a ratio of e
PYTHON
