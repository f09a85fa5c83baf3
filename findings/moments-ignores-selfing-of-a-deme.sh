#!/bin/sh
# moments, msprime: a Demes model in which people self is refused by one, and taken for random
# mating by the other.
#
# Expected: `moments.Demes.SFS` of a deme with a selfing rate s has 1 / (1 + F) of the diversity, F =
# s / (2 - s) (Nordborg and Donnelly 1997), .55 for s = .9; or it refuses the model, as
# `msprime.Demography.from_demes` does.
# Seen: the spectrum is that of the same deme without selfing, to the last digit, without a word; so
# it is with a cloning rate.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet moments-popgen==1.6.1 msprime==1.4.4 demes==0.2.3 numpy==2.4.6 \
    >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python -W ignore - <<'PYTHON'
from importlib.metadata import version

import demes
import moments
import msprime
import numpy as np


def deme(**rates):
    builder = demes.Builder()
    builder.add_deme("A", epochs=[{"start_size": 1000, **rates}])
    return builder.resolve()


def spectrum(**rates):
    found = moments.Demes.SFS(deme(**rates), sampled_demes=["A"], sample_sizes=[10])
    return np.asarray(found.data)[1:-1]


for name in ("moments-popgen", "msprime", "demes"):
    print(name, version(name))
outcrossing, selfing, cloning = spectrum(), spectrum(selfing_rate=0.9), spectrum(cloning_rate=0.9)
print("singletons: outcrossing", outcrossing[0], "selfing", selfing[0], "cloning", cloning[0])
print("expected of selfing:", round(outcrossing[0] / (1 + 0.9 / (2 - 0.9)), 1))
refused = []
for rates in ({"selfing_rate": 0.9}, {"cloning_rate": 0.9}):
    try:
        msprime.Demography.from_demes(deme(**rates))
    except ValueError as error:
        refused.append(str(error))
print("msprime:", *refused, sep="\n    ")
assert len(refused) == 2
assert (selfing == outcrossing).all() and (cloning == outcrossing).all()
PYTHON
