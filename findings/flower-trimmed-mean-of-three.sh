#!/bin/sh
# Flower: the trimmed mean trims nobody where there are few clients.
#
# Expected: the default of FedTrimmedAvg (beta 0.2) drops at least the largest and the smallest
# value of three clients, the smallest federation in which trimming is defined.
# Seen: it drops the whole part of beta times n, that is none of three or four: one hostile client
# moves the "robust" mean as it moves the plain one, without a warning.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet flwr==1.41.0 numpy==2.4.6 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import os

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
import flwr
import numpy as np
from flwr.server.strategy.aggregate import aggregate_trimmed_avg
from flwr.server.strategy import FedTrimmedAvg

beta = FedTrimmedAvg().beta
print("flwr", flwr.__version__, "default beta", beta)
means = []
for honest in ((1.0, 2.0), (1.0, 2.0, 3.0), (1.0, 2.0, 3.0, 4.0)):
    clients = [([np.array([value])], 1) for value in (*honest, 300.0)]
    (mean,) = aggregate_trimmed_avg(clients, beta)
    means.append(float(mean[0]))
    print(f"{len(clients)} clients, one of them with 300: {means[-1]}")
assert beta == 0.2
assert means == [101.0, 76.5, 3.0]
PYTHON
