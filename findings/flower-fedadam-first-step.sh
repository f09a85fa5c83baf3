#!/bin/sh
# Flower: the bias correction of FedAdam is one round ahead.
#
# Expected: the correction that the code names (Kingma and Ba 2014, with t = 1 at the first step)
# makes the first step as long as the learning rate, whatever the size of the update.
# Seen: the exponent is the round plus 1 while rounds count from 1, so that the first step is 0.74
# times the learning rate, the second of a constant update 0.86 times, and so on, each of which
# should be 1. A server learning rate tuned on another FedAdam isn't the same here.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet flwr==1.41.0 numpy==2.4.6 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import os

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
import logging

import flwr
import numpy as np
from flwr.common import Code, FitRes, Status, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.server.strategy import FedAdam

logging.disable(logging.CRITICAL)
rate, update = 0.5, np.array([1e-3, 0.5, 20.0])
start = ndarrays_to_parameters([np.zeros(3)])
strategy = FedAdam(initial_parameters=start, eta=rate, tau=1e-12)
print("flwr", flwr.__version__, "betas", strategy.beta_1, strategy.beta_2)
before, steps = np.zeros(3), []
for number in (1, 2, 3):
    client = ndarrays_to_parameters([before + update])
    fit = FitRes(Status(Code.OK, ""), client, 1, {})
    parameters, _ = strategy.aggregate_fit(number, [(None, fit)], [])
    (after,) = parameters_to_ndarrays(parameters)
    steps.append((after - before) / rate)
    print(f"round {number}: step over learning rate", steps[-1].round(4).tolist())
    before = after
for t, step in enumerate(steps, start=1):
    b1, b2 = strategy.beta_1, strategy.beta_2
    shift = np.sqrt((1 - b2 ** (t + 1)) / (1 - b2**t)) * (1 - b1**t) / (1 - b1 ** (t + 1))
    assert np.allclose(step, shift, rtol=1e-6)  # 1 if the exponent were t
assert np.allclose(steps[0], 0.7425, atol=1e-4)
PYTHON
