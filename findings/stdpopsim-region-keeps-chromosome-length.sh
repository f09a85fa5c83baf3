#!/bin/sh
# stdpopsim and tskit: a region's statistics per base pair are diluted by the rest of the chromosome.
#
# Expected: `get_contig("chr22", left=..., right=...)` of 100 kb gives a contig and a tree sequence
# of 100 kb, so that `ts.diversity()` is per simulated base pair (about 4 N mu).
# Seen: the sequence keeps all 50.8 Mb of chromosome 22, and `diversity()`, whose default is per
# base pair, divides by them: 500 times too little, without a warning. `ts.trim()` mends it.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet stdpopsim==0.3.0 msprime==1.4.4 tskit==1.0.3 numpy==2.4.6 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import warnings

import stdpopsim

warnings.simplefilter("ignore")
human = stdpopsim.get_species("HomSap")
contig = human.get_contig("chr22", left=20e6, right=20.1e6, mutation_rate=1.29e-8)
model = stdpopsim.PiecewiseConstantSize(10_000)
ts = stdpopsim.get_engine("msprime").simulate(model, contig, {"pop_0": 20}, seed=1)
expected = 4 * 10_000 * 1.29e-8
print("stdpopsim", stdpopsim.__version__, "- contig", contig.length, "ts", ts.sequence_length)
print("4 N mu", expected, "diversity()", float(ts.diversity()), "trimmed", float(ts.trim().diversity()))
assert contig.length == ts.sequence_length == 50_818_468
assert float(ts.diversity()) < expected / 300
assert expected / 2 < float(ts.trim().diversity()) < 2 * expected
PYTHON
