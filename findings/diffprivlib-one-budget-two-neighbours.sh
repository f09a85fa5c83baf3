#!/bin/sh
# diffprivlib: sums are private against a person's change, counts against a person's absence.
#
# Expected: BudgetAccountant adds up epsilons of one kind of neighbours, so that a sum of heights
# from 1 to 2 m and a histogram of them, at epsilon 1 each, spend 2 for that kind.
# Seen: `sum`, `mean` and `count_nonzero` scale their noise by upper - lower, right if a person's
# value is replaced and the number of people is public; `histogram` by 1, right if a person comes or
# goes. Replacing a person moves two bins: the histogram spends 2, both together 3. Leaving one out
# changes the sum by up to 2 m: it spends 2, both together 3 again. The accountant says 2.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet diffprivlib==0.6.6 scikit-learn==1.6.1 numpy==2.2.6 scipy==1.15.3 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import warnings

warnings.simplefilter("error")
from math import exp, log

import diffprivlib
import numpy as np
from diffprivlib import BudgetAccountant, tools

heights = np.repeat([1.25, 1.5, 1.75], 100)
changed = heights.copy()
changed[0] = 1.5  # one person is of another height
accountant = BudgetAccountant()
rng = np.random.RandomState(1)
options = {"epsilon": 1, "bins": 3, "range": (1.125, 1.875)}


def counts(values):
    return tools.histogram(values, random_state=rng, **options)[0]


tools.sum(heights, epsilon=1, bounds=(1, 2), accountant=accountant)
tools.histogram(heights, accountant=accountant, **options)
booked = accountant.total()[0]
print("diffprivlib", diffprivlib.__version__, "books", booked, "for a sum and a histogram")

# How often the noisy counts are (at least 100, at most 100) in the two bins, by which data.
share = [np.mean([h[0] >= 100 and h[1] <= 100 for h in (counts(x) for _ in range(20000))])
         for x in (heights, changed)]
# Geometric noise of sensitivity 1: P(noise >= 0) = 1 / (1 + exp(-1)), P(noise >= 1) that times exp(-1).
tail = 1 / (1 + exp(-1))
print(f"histogram: {share[0]:.4f} and {share[1]:.4f}, by formula {tail**2:.4f} and {(tail / exp(1))**2:.4f}")
spent = log(share[0] / share[1])
print(f"the histogram spends {spent:.2f} on a person who is replaced")
assert booked == 2
assert abs(share[0] - tail**2) < 0.015 and abs(share[1] - (tail / exp(1)) ** 2) < 0.008
assert 1.85 < spent < 2.15

# A sum with bounds 1 and 2 has noise for a change by 1; a person who leaves changes it by up to 2.
noise = np.array([tools.sum(np.full(100, 2.0), epsilon=1, bounds=(1, 2), random_state=s) for s in range(4000)])
low = 200 - noise[noise < 200]  # the upper half is cut off at the largest sum
print(f"sum with bounds (1, 2): mean size of the noise {low.mean():.2f}, right for a person who leaves: 2")
assert 0.9 < low.mean() < 1.1
PYTHON
