#!/bin/sh
# SynthEval: the Hellinger distance between columns that share half of their values is 0.
#
# Expected: `h_dist` of real genotypes AA and CC and synthetic ones AA and AC, half of each, is
# sqrt(1 - 1/2) = 0.707, as the definition has it for two distributions with one value in common.
# Seen: 0, the value of two equal columns. The histogram of each side's category numbers is taken
# with bins of its own, spread from that side's least to its greatest number, so that AC stands in
# the bin of CC. A generator that makes a heterozygote of every second homozygote gets the full mark;
# one that only loses the rarest of three genotypes is charged for the second as well (0.45, not 0.23).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --only-binary :all: syntheval==1.7.3 numpy==2.4.6 pandas==2.3.3 scipy==1.17.1 scikit-learn==1.9.1 >pip.log 2>&1 || { cat pip.log; exit 1; }
MPLBACKEND=Agg venv/bin/python -W ignore - <<'PYTHON' 2>log || { cat log; exit 1; }
import importlib.metadata

import numpy as np
import pandas as pd
from syntheval import SynthEval

QUIET = {"verbose": False, "console": "off", "enable_plots": False}


def by_hand(a, b):
    values = sorted({*a, *b})
    p, q = ([np.mean(np.array(side) == value) for value in values] for side in (a, b))
    return np.linalg.norm(np.sqrt(p) - np.sqrt(q)) / np.sqrt(2)


def seen(a, b):
    real, synthetic = (pd.DataFrame({"one": side, "two": side}) for side in (a, b))
    found = SynthEval(real, cat_cols=["one", "two"], **QUIET).evaluate(synthetic, h_dist={})
    return float(found.set_index("metric").loc["avg_h_dist", "val"])


print("SynthEval", importlib.metadata.version("syntheval"))
cases = {
    "the same": (["AA", "CC"] * 50, ["AA", "CC"] * 50),
    "AA, CC and AA, AC": (["AA", "CC"] * 50, ["AA", "AC"] * 50),
    "the rarest lost": (["AA"] * 60 + ["AC"] * 30 + ["CC"] * 10, ["AA"] * 60 + ["AC"] * 40),
}
found = {name: (seen(a, b), by_hand(a, b)) for name, (a, b) in cases.items()}
for name, (theirs, right) in found.items():
    print(f"{name}: SynthEval {theirs:.4f}, by hand {right:.4f}")
(same, _), (half, right), (lost, right_of_lost) = found.values()
assert same == 0 and half == 0 and np.isclose(right, 0.5**0.5)
assert lost > right_of_lost + 0.2
PYTHON
