#!/bin/sh
# SynthEval: the privacy loss in epsilon identifiability grows as the holdout gets smaller.
#
# Expected: the privacy loss is the share of real people who have a synthetic one nearer than the
# nearest real one, less the same share of the people held out. Where every person held out stands in
# the synthetic table, that second share is 1 and the loss below 0, however many they are.
# Seen: the second count is divided by the number of real people, not of those held out. With 200 real
# people and 200, 100 and 50 held out, all of them copied, the share is taken for 1, 0.5 and 0.25, and
# the loss goes from -0.5 to 0 and 0.25: a generator that copied nobody of the real people, and all
# whom it never saw, is told to leak. A holdout is mostly the smaller part, and then this number is
# above what its definition gives.
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

draw = np.random.default_rng(1)
population = pd.DataFrame(draw.normal(size=(600, 3)), columns=list("abc"))
real, others = population[:200], population[400:]
print("SynthEval", importlib.metadata.version("syntheval"))
loss = {}
for people in (200, 100, 50):
    held_out = population[200 : 200 + people].reset_index(drop=True)
    synthetic = pd.concat([others[people:], held_out[::-1]], ignore_index=True)
    tool = SynthEval(real, holdout_dataframe=held_out, **QUIET)
    found = tool.evaluate(synthetic, eps_risk={}).set_index("metric")["val"]
    risk, loss[people] = float(found["eps_identif_risk"]), float(found["priv_loss_eps"])
    print(
        f"{people} held out and copied: risk {risk:.3f}, privacy loss {loss[people]:.3f},"
        f" over the held-out {risk - 1:.3f}"
    )
    assert len(synthetic) == len(real) and 0.35 < risk < 0.65
    assert np.isclose(loss[people], risk - people / len(real))
assert loss[200] < -0.35 and loss[50] > 0.1
PYTHON
