#!/bin/sh
# PyDP: the maximum of a hundred values is 14 too small, whatever the privacy budget is.
#
# Expected: `Max` and `Min` give the greatest and the least value "in a differentially private
# manner": the noise, and any error with it, goes away as epsilon grows, as it does for `Median`, so
# that the numbers 1 to 100 with an epsilon of 1000 have a maximum near 100.
# Seen: 86.4 and 14.5, at an epsilon of 20 and of 1000 alike, while the median is 50.5. With 10,000 values
# between the same ends it is 99.56 and 1.44. The error hangs on the number of values, not on the budget,
# and no documentation of the package speaks of it. diffprivlib's `quantile(values, 1)`
# gives 99 to 100 at that epsilon. The ranges of columns of a small cohort come out too narrow by a seventh
# at either end.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --only-binary :all: python-dp==1.1.5 diffprivlib==0.6.6 scikit-learn==1.6.1 numpy==2.2.6 scipy==1.15.3 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python -W ignore - <<'PYTHON'
import importlib.metadata

import numpy as np
from diffprivlib.tools import quantile
from pydp.algorithms.laplacian import Max, Median, Min

for package in ("python-dp", "diffprivlib"):
    print(package, importlib.metadata.version(package))


def mean_of(algorithm, values, epsilon):
    draws = [
        algorithm(epsilon=epsilon, lower_bound=0.0, upper_bound=100.0, dtype="float").quick_result(values)
        for _ in range(20)
    ]
    return float(np.mean(draws))


seen = {}
for people in (100, 10_000):
    values = np.linspace(1, 100, people).tolist()
    for epsilon in (20.0, 1000.0):
        least, median, greatest = (mean_of(one, values, epsilon) for one in (Min, Median, Max))
        other = float(quantile(np.array(values), 1.0, epsilon=epsilon, bounds=(0, 100)))
        seen[people, epsilon] = least, median, greatest
        print(
            f"{people} values from 1 to 100, epsilon {epsilon:.0f}: Min {least:.2f}, Median {median:.2f},"
            f" Max {greatest:.2f}; diffprivlib's quantile(1) {other:.2f}"
        )
        assert other > 99 or epsilon < 1000
for (people, epsilon), (least, median, greatest) in seen.items():
    assert abs(median - 50.5) < 1
    if people == 100:
        assert 10 < least < 20 and 80 < greatest < 90
    else:
        assert least < 2.5 and greatest > 98.5
PYTHON
