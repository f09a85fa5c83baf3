#!/bin/sh
# Flower: FedAvg averages arrays of whole numbers to zero.
#
# Expected: counts sent by clients (allele counts, a layer's number of batches) are averaged by
# their weights, as arrays of floating point are: 100 of 10 and 200 of 30 examples make 175.
# Seen: the default, `FedAvg(inplace=True)`, casts the weights 0.25 and 0.75 to the array's type,
# where both are 0: every integer array comes out as 0, without a warning. With a single client
# (weight 1) and with `inplace=False` the mean is right.
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
from flwr.server.strategy import FedAvg

logging.disable(logging.CRITICAL)
print("flwr", flwr.__version__, "default of inplace:", FedAvg().inplace)


def answer(array, examples):
    parameters = ndarrays_to_parameters([np.array(array)])
    return None, FitRes(Status(Code.OK, ""), parameters, examples, {})


def mean(answers, **options):
    parameters, _ = FedAvg(**options).aggregate_fit(1, answers, [])
    return parameters_to_ndarrays(parameters)[0].tolist()


counts = [answer([100, 8], 10), answer([200, 4], 30)]
floats = [answer([100.0, 8.0], 10), answer([200.0, 4.0], 30)]
print("floating point          ", mean(floats))
print("integers                ", mean(counts))
print("integers, inplace=False ", mean(counts, inplace=False))
print("integers of one client  ", mean(counts[:1]))
assert FedAvg().inplace is True
assert mean(floats) == [175.0, 5.0] == mean(counts, inplace=False)
assert mean(counts) == [0, 0] and mean(counts[:1]) == [100, 8]
PYTHON
