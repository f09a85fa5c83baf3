#!/bin/sh
# msprime: a mean coalescence time "to a relative tolerance of 0.005" is 18 per cent too large.
#
# Expected: `DemographyDebugger.mean_coalescence_time` refines its steps of time until the mean is
# known to `rtol` (or says that it doesn't converge). For one population of 1000 that has grown by
# 1 per cent a generation it is 259 generations: exp(b) E1(b) / g with b = 1 / (2 N g), which
# simulations of the same model confirm.
# Seen: 306.8, and the same with an `rtol` of 1e-5. The first round adds steps at the end, where no
# pair is left that could coalesce, finds that the mean didn't change and takes that for convergence:
# the steps of 120 generations, in each of which the size falls to a third, are never made finer. At
# a growth of 5 per cent the mean is half too large. A fine grid in `steps` gives the right number,
# and `coalescence_rate_trajectory`, on which the mean is built, warns of the coarse one.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet msprime==1.4.4 tskit==1.0.3 numpy==2.4.6 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import importlib.metadata
import warnings

import msprime
import numpy as np

SIZE = 1000


def closed_form(growth):
    """Integral of P(T > t) = exp(-(exp(growth t) - 1) / (2 N growth)), by the trapezoidal rule."""
    t = np.linspace(0, 20 / growth, 2_000_001)[: 1_200_000]
    return np.trapezoid(np.exp(-np.expm1(growth * t) / (2 * SIZE * growth)), t)


print("msprime", importlib.metadata.version("msprime"))
ratio = {}
for growth in (0.001, 0.01, 0.05):
    demography = msprime.Demography()
    demography.add_population(name="A", initial_size=SIZE, growth_rate=growth)
    debugger = demography.debug()
    truth = closed_form(growth)
    seen = {rtol: debugger.mean_coalescence_time({"A": 2}, rtol=rtol) for rtol in (5e-3, 1e-5)}
    steps = np.linspace(0, 10 / growth, 2001)
    fine = debugger.mean_coalescence_time({"A": 2}, steps=steps)
    trees = msprime.sim_ancestry(
        {"A": 1}, demography=demography, num_replicates=5000, random_seed=1
    )
    simulated = np.mean([ts.first().tmrca(0, 1) for ts in trees])
    print(
        f"growth {growth}: closed form {truth:.1f}, simulated {simulated:.1f},"
        f" with 2000 steps {fine:.1f}; rtol 0.005 {seen[5e-3]:.1f}, rtol 1e-5 {seen[1e-5]:.1f}"
    )
    assert seen[5e-3] == seen[1e-5]
    assert abs(simulated / truth - 1) < 0.03 and abs(fine / truth - 1) < 0.005
    ratio[growth] = seen[5e-3] / truth
print("seen / closed form:", {growth: round(float(r), 3) for growth, r in ratio.items()})
assert 1.02 < ratio[0.001] < 1.05 and 1.15 < ratio[0.01] < 1.25 and 1.4 < ratio[0.05] < 1.6
demography = msprime.Demography()
demography.add_population(name="A", initial_size=SIZE, growth_rate=0.01)
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    demography.debug().coalescence_rate_trajectory(np.linspace(0, 1200, 11), {"A": 2})
assert any("smaller step sizes" in str(w.message) for w in said)
PYTHON
