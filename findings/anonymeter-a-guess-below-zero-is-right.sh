#!/bin/sh
# Anonymeter: an attacker who guesses a number below zero is always right.
#
# Expected: with `regression=True` a guess within 5% (the tolerance) of the secret is right, so
# that a trait and the same trait with its signs turned round (a z-score, a log frequency, a change
# in weight) have the same risk.
# Seen: the difference is divided by the guess itself, not by its size. A guess below zero makes it
# negative, which is below any tolerance, whatever the secret is. Of 200 guesses from unrelated
# synthetic data 9 are right, and with the signs turned round all 200 are; so are the naive
# attack's and those on the control data. The risk, the excess over the control, is then 0 in an
# interval from 0 to 1: neither a leak nor its absence can be seen. Nothing says so.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet anonymeter==1.1.0 numpy==1.26.4 pandas==2.3.3 scipy==1.17.1 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import importlib.metadata
import warnings

import numpy as np
import pandas as pd
from anonymeter.evaluators import InferenceEvaluator
from anonymeter.evaluators.inference_evaluator import evaluate_inference_guesses

warnings.simplefilter("ignore")


def table(draw, sign):
    return pd.DataFrame(
        {"age": draw.integers(20, 80, 200), "trait": sign * draw.uniform(1, 20, 200)}
    )


print("anonymeter", importlib.metadata.version("anonymeter"))
right = {}
for sign in (1, -1):
    draw = np.random.default_rng(1)
    real, synthetic, control = (table(draw, sign) for _ in range(3))
    np.random.seed(1)  # Anonymeter draws its targets from numpy's global generator
    attack = InferenceEvaluator(
        ori=real,
        syn=synthetic,
        control=control,
        aux_cols=["age"],
        secret="trait",
        regression=True,
        n_attacks=200,
    ).evaluate(n_jobs=1)
    found = attack.results()
    right[sign] = int(found.n_success), int(found.n_baseline), int(found.n_control)
    print(
        f"traits from {real.trait.min():.1f} to {real.trait.max():.1f}: right guesses of 200:"
        f" {right[sign][0]}, naive {right[sign][1]}, control {right[sign][2]}; {found.risk()}"
    )
assert right[-1] == (200, 200, 200)
assert max(right[1]) < 30
guesses, secrets = pd.Series([-1.0, -1.0, 1.0]), pd.Series([-1000.0, 1000.0, 1000.0])
single = evaluate_inference_guesses(guesses, secrets, regression=True).tolist()
for guess, secret, success in zip(guesses, secrets, single):
    print(f"guess {guess:g}, secret {secret:g}: {success}")
assert single == [True, True, False]
PYTHON
