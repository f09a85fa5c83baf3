#!/bin/sh
# Flower: the local DP of an epsilon above 9 spends more than that epsilon.
#
# Expected: `LocalDpMod(clipping_norm, sensitivity, epsilon, delta)` adds Gaussian noise that makes
# one release (epsilon, delta)-private, or refuses an epsilon which its formula doesn't cover.
# Seen: the scale is sensitivity * sqrt(2 ln(1.25 / delta)) / epsilon at any epsilon. The formula is
# proven up to 1. From about 8.5 on, where local DP often works, the noise is too small: at 20
# the exact epsilon is 25, at 50 it is 96 (delta 1e-5). Nothing says so.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet flwr==1.41.0 dp-accounting==0.6.0 numpy==2.4.6 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import os

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
import logging
from types import SimpleNamespace

import dp_accounting
import flwr
import numpy as np
from dp_accounting import pld
from flwr.app import Array, ArrayRecord, RecordDict
from flwr.clientapp.mod import LocalDpMod

logging.disable(logging.CRITICAL)
delta, size = 1e-5, 200_000
print("flwr", flwr.__version__)
spent = {}
for epsilon in (1.0, 5.0, 10.0, 20.0, 50.0):
    records = [RecordDict({"a": ArrayRecord({"w": Array(np.zeros(size))})}) for _ in range(2)]
    records[1]["a"]["w"] = Array(np.full(size, 1e-9))  # the client's (all but empty) update
    # Messages need a running server; the mod reads no more of them than this.
    request, answer = [SimpleNamespace(content=r, has_error=lambda: False) for r in records]
    mod = LocalDpMod(clipping_norm=1.0, sensitivity=1.0, epsilon=epsilon, delta=delta)
    reply = mod(request, None, lambda message, context: answer)
    scale = reply.content["a"]["w"].numpy().std()
    accountant = pld.PLDAccountant()
    accountant.compose(dp_accounting.GaussianDpEvent(float(scale)))
    spent[epsilon] = accountant.get_epsilon(delta)
    print(f"asked epsilon {epsilon:4}: noise {scale:.4f}, exact epsilon {spent[epsilon]:.2f}")
assert spent[1.0] < 0.8 and spent[5.0] < 5
assert spent[10.0] > 10.1 and spent[20.0] > 24 and spent[50.0] > 90
PYTHON
