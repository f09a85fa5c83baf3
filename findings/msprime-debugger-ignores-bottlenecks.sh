#!/bin/sh
# msprime: coalescence rates and mean coalescence times of a model leave its bottlenecks out.
#
# Expected: the numbers that `Demography.debug()` computes are those of the demography that
# `sim_ancestry` simulates, or it refuses events that they can't take into account. (Population
# splits, mass migrations, admixture and changes of size are in them.)
# Seen: `add_instantaneous_bottleneck` and `add_simple_bottleneck` change nothing in
# `mean_coalescence_time` and `coalescence_rate_trajectory`, and nothing is said, though the table
# that the same object prints lists the event. After a bottleneck 50 generations ago that joins a
# pair of lineages with probability 0.63, 64 per cent of simulated pairs have met by generation 51
# and the trajectory says 2.5; the mean time is 2000 in place of 760, and the diversity expected
# from it is as wrong. A short epoch of small size, the other way to write it, is taken into account.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet msprime==1.4.4 tskit==1.0.3 numpy==2.4.6 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import importlib.metadata

import msprime
import numpy as np

SIZE = 1000
print("msprime", importlib.metadata.version("msprime"))


def model(kind):
    demography = msprime.Demography()
    demography.add_population(name="A", initial_size=SIZE)
    if kind == "instantaneous bottleneck":
        demography.add_instantaneous_bottleneck(time=50, strength=2 * SIZE, population="A")
    elif kind == "simple bottleneck":
        demography.add_simple_bottleneck(time=50, proportion=0.8, population="A")
    elif kind == "bottleneck of 10 generations":
        demography.add_population_parameters_change(time=40, initial_size=5, population="A")
        demography.add_population_parameters_change(time=50, initial_size=SIZE, population="A")
    return demography


result = {}
for kind in ("none", "bottleneck of 10 generations", "instantaneous bottleneck", "simple bottleneck"):
    demography = model(kind)
    debugger = demography.debug()
    mean = debugger.mean_coalescence_time({"A": 2})
    _, apart = debugger.coalescence_rate_trajectory([0, 30, 51, 100], {"A": 2})
    trees = msprime.sim_ancestry(
        {"A": 1}, demography=demography, num_replicates=5000, random_seed=2
    )
    times = np.array([ts.first().tmrca(0, 1) for ts in trees])
    result[kind] = (mean, times.mean(), 1 - apart[2], (times < 51).mean())
    print(
        f"{kind}: mean coalescence time {mean:.0f}, simulated {times.mean():.0f};"
        f" coalesced by generation 51: {1 - apart[2]:.3f}, simulated {(times < 51).mean():.3f}"
    )
    assert ("ottleneck" in str(debugger)) == (kind.endswith("bottleneck"))
for kind in ("none", "bottleneck of 10 generations"):
    mean, simulated, met, simulated_met = result[kind]
    assert abs(simulated / mean - 1) < 0.08 and abs(met - simulated_met) < 0.03
for kind in ("instantaneous bottleneck", "simple bottleneck"):
    mean, simulated, met, simulated_met = result[kind]
    assert abs(mean / result["none"][0] - 1) < 1e-4 and abs(met - result["none"][2]) < 1e-9
    assert simulated < mean / 2 and simulated_met > 0.6
PYTHON
