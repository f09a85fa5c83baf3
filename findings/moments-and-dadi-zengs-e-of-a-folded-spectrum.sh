#!/bin/sh
# moments, dadi: Zeng's E and theta_L of a folded spectrum are other numbers, without a word.
#
# Expected: theta_L weighs a site by its number of derived alleles and can't be had from a folded
# spectrum, so that `theta_L` and `Zengs_E` of one raise, as other methods that need the ancestral
# state do; what a folded spectrum allows (`pi`, `Watterson_theta`, `Tajima_D`) keeps its value.
# Seen: the latter keep theirs. `theta_L` sums over minor alleles instead: for the neutral spectrum
# it falls from theta to 0.70 theta, and E, a test for selection, from 0 to -1.2.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet moments-popgen==1.6.1 dadi==2.4.4 numpy==2.4.6 scipy >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import importlib.metadata
import warnings

warnings.simplefilter("ignore")
import dadi
import moments
import numpy as np

n, theta = 20, 1000
for package in (moments, dadi):
    neutral = np.zeros(n + 1)
    neutral[1:n] = theta / np.arange(1, n)
    unfolded = package.Spectrum(neutral)
    folded = unfolded.fold()
    name = {"moments": "moments-popgen"}.get(package.__name__, package.__name__)
    print(name, importlib.metadata.version(name))
    for method in ("pi", "Watterson_theta", "Tajima_D", "theta_L", "Zengs_E"):
        values = [float(getattr(spectrum, method)()) for spectrum in (unfolded, folded)]
        print(f"  {method:16} unfolded {values[0]:9.3f}  folded {values[1]:9.3f}")
        if method in ("pi", "Watterson_theta", "theta_L"):
            assert np.isclose(values[0], theta)
        if method in ("pi", "Watterson_theta", "Tajima_D"):
            assert np.isclose(*values, atol=1e-9)
    assert folded.folded and abs(float(unfolded.Zengs_E())) < 1e-9
    assert float(folded.theta_L()) < 0.71 * theta and float(folded.Zengs_E()) < -1
PYTHON
