#!/bin/sh
# diffprivlib: a private histogram with weights has the noise of one without.
#
# Expected: `histogram(..., weights=...)` either bounds a person's weight and scales its noise by the
# bound, or refuses weights: a person of weight 100 changes a bin by 100.
# Seen: weights reach numpy, the noise is that of a count (sensitivity 1), and epsilon 1 is booked.
# A person of weight 100 is there for everybody to see: such a release spends 100. The weighted
# counts' fractions are cut off, too: ten weights of 0.99 make a bin of 9 and its noise.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet diffprivlib==0.6.6 scikit-learn==1.6.1 numpy==2.2.6 scipy==1.15.3 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import warnings

warnings.simplefilter("error")
import diffprivlib
import numpy as np
from diffprivlib import BudgetAccountant, tools

dosages = np.repeat([0, 1, 2], 50)
options = {"bins": 3, "range": (0, 3)}
light, heavy = np.ones(150), np.ones(150)
heavy[0] = 100  # the first person carries no copy: a count in bin 0


def bins(weights, epsilon=1, sample=dosages):
    draws = range(1000)
    return np.array([tools.histogram(sample, epsilon=epsilon, weights=weights, random_state=s, **options)[0]
                     for s in draws])


print("diffprivlib", diffprivlib.__version__)
accountant = BudgetAccountant()
tools.histogram(dosages, epsilon=1, weights=heavy, accountant=accountant, **options)
print("booked:", accountant.total())
plain, weighted = bins(light), bins(heavy)
count = np.sqrt(2 * np.exp(-1)) / (1 - np.exp(-1))  # of the geometric mechanism, sensitivity 1
print(f"noise: {plain[:, 0].std():.2f} without and {weighted[:, 0].std():.2f} with a weight of 100; "
      f"formula for sensitivity 1: {count:.2f}")
print(f"bin 0: {plain[:, 0].min():.0f} to {plain[:, 0].max():.0f} without, "
      f"{weighted[:, 0].min():.0f} to {weighted[:, 0].max():.0f} with")
assert accountant.total()[0] == 1
assert abs(weighted[:, 0].std() / count - 1) < 0.1 and abs(plain[:, 0].std() / count - 1) < 0.1
assert plain[:, 0].max() < weighted[:, 0].min()

ten = bins(np.full(10, 0.99), epsilon=50, sample=np.zeros(10))
print("ten weights of 0.99, sum 9.9, next to no noise:", np.unique(ten[:, 0]))
assert np.unique(ten[:, 0]).tolist() == [9.0]
PYTHON
