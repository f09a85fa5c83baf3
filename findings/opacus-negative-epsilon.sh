#!/bin/sh
# Opacus: accountants answer a small spend with a negative epsilon, or not at all.
#
# Expected: epsilon is at least 0. With much noise and a large delta (as with few people, where
# delta is often set near 1/n) it is 0, as dp-accounting's accountants say.
# Seen: the RDP and the PRV accountant give a negative number, the Gaussian one raises
# "f(a) and f(b) must have different signs" out of its root finder.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet torch==2.13.0 opacus==1.6.0 numpy==2.4.6 scipy >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import warnings

import opacus
from opacus.accountants import GaussianAccountant, PRVAccountant, RDPAccountant

warnings.simplefilter("ignore")
print("opacus", opacus.__version__)
for accountant in (RDPAccountant(), PRVAccountant(), GaussianAccountant()):
    accountant.history = [(50.0, 0.01, 1)]  # noise multiplier, sampling rate, steps
    try:
        epsilon = float(accountant.get_epsilon(delta=0.1))
    except ValueError as error:
        print(type(accountant).__name__, "raises", error)
        assert isinstance(accountant, GaussianAccountant)
        assert "must have different signs" in str(error)
    else:
        print(type(accountant).__name__, "epsilon at delta 0.1:", epsilon)
        assert not isinstance(accountant, GaussianAccountant) and epsilon < -0.09
PYTHON
