#!/bin/sh
# diffprivlib: the private median of whole numbers is any number between two of them.
#
# Expected: with 1,000 people, 900 of whom have dosage 0 and 100 dosage 1, the median at a generous
# epsilon (1) is 0 or close to it, as numpy says: moving it would take 400 people.
# Seen: the mechanism draws from the gaps between neighbouring values, weighted by their width, and
# ties have none. The answer is uniform between 0 and 1, .5 on average, at epsilon .1 and at 1:
# noise that no epsilon shrinks. At 10 all weights underflow and it raises. Spread-out values are
# answered within .03 at epsilon 1.
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

print("diffprivlib", diffprivlib.__version__)
dosages = np.repeat([0.0, 1.0], [900, 100])
spread = np.linspace(0, 1, 1000) ** 2
seen = {}
for name, values in (("dosages", dosages), ("spread out", spread)):
    for epsilon in (0.1, 1.0):
        draws = np.array([
            tools.median(values, epsilon=epsilon, bounds=(0, 2), random_state=seed)
            for seed in range(300)
        ])
        seen[name, epsilon] = draws
        print(f"{name}, epsilon {epsilon}: numpy {np.median(values):.3f}, draws' mean",
              f"{draws.mean():.3f}, quartiles", np.quantile(draws, [0.25, 0.75]).round(3))
for epsilon in (0.1, 1.0):
    draws = seen["dosages", epsilon]
    assert 0.4 < draws.mean() < 0.6 and draws.std() > 0.2 and draws.min() > 0 and draws.max() < 1
assert abs(seen["spread out", 1.0] - np.median(spread)).max() < 0.03
try:
    tools.median(dosages, epsilon=10.0, bounds=(0, 2), random_state=1)
except RuntimeError as error:
    print("dosages, epsilon 10: raises", str(error)[:34])
else:
    raise SystemExit("epsilon 10 is answered")
PYTHON
