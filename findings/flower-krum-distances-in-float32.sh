#!/bin/sh
# Flower: the message API's Krum takes the rounding of float32 for distances between clients.
#
# Expected: `flwr.serverapp.strategy.Krum` and the older `flwr.server.strategy.Krum` choose the same
# client, one that lies among the others, never the one whose update is ten times as far away.
# Seen: the older one sums squared differences. The newer one computes |x|^2 + |y|^2 - 2 x.y in the
# arrays' own type. For models of 100,000 float32 weights that moved by 3e-5 in a round this leaves
# nothing but rounding: there are negative "squared distances", and the outlier wins now and then.
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
from flwr.app import Array, ArrayRecord, MetricRecord, RecordDict
from flwr.server.strategy.aggregate import aggregate_krum
from flwr.serverapp.strategy.multikrum import compute_distances, select_multikrum

logging.disable(logging.CRITICAL)
rng = np.random.default_rng(1)
rounds, negative = 40, 0
chosen = {"older": [], "newer": []}
for _ in range(rounds):
    model = rng.normal(size=100_000)
    moves = rng.normal(scale=3e-5, size=(6, model.size))
    moves[0] *= 10  # the outlier
    clients = (model + moves).astype(np.float32)
    (best,) = aggregate_krum([([weights], 1) for weights in clients], 1, 0)
    chosen["older"].append(next(i for i in range(6) if np.array_equal(clients[i], best)))
    records = [
        RecordDict({"arrays": ArrayRecord({"w": Array(w)}), "m": MetricRecord({"num-examples": 1})})
        for w in clients
    ]
    (best,) = select_multikrum(records, 1, 1)
    chosen["newer"].append(next(i for i in range(6) if records[i] is best))
    distances = compute_distances([record["arrays"] for record in records])
    negative += int((distances < 0).any())
wide = clients.astype(float)
print("flwr", flwr.__version__)
print("squared distances to client 1", ((wide - wide[1]) ** 2).sum(1).round(5).tolist())
print("by the newer Krum            ", distances[1].round(5).tolist())
for name, picks in chosen.items():
    print(f"{name} Krum chose the outlier in {picks.count(0)} of {rounds} rounds")
print(f"rounds with negative squared distances: {negative}")
assert chosen["older"].count(0) == 0 < chosen["newer"].count(0) and negative > 0
PYTHON
