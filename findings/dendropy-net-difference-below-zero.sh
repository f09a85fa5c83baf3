#!/bin/sh
# DendroPy: net differences between populations subtract the within-population mean twice.
#
# Expected: net pairwise differences are those between two samples less the mean of those within
# each (Nei and Li 1979), so that they are near 0 for two samples of one population.
# Seen: `average_number_of_pairwise_differences_within` is the sum of the two populations' means,
# not their mean, and `..._net` subtracts it: two samples of one population come out far below 0,
# about minus their diversity.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet dendropy==5.1.3 msprime==1.4.4 tskit==1.0.3 numpy==2.4.6 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import dendropy
import msprime
from dendropy.calculate.popgenstat import PopulationPairSummaryStatistics

ts = msprime.sim_ancestry(
    20, ploidy=1, sequence_length=5e3, recombination_rate=1e-8, population_size=1e5, random_seed=1
)
ts = msprime.sim_mutations(ts, rate=1e-7, random_seed=2)
rows = ts.alignments(reference_sequence="A" * 5000)
fasta = "".join(f">s{i}\n{row}\n" for i, row in enumerate(rows))
matrix = dendropy.DnaCharacterMatrix.get(data=fasta, schema="fasta")
first, second = range(10), range(10, 20)
seen = PopulationPairSummaryStatistics(*[[matrix[i] for i in side] for side in (first, second)])
between = float(ts.divergence([first, second], span_normalise=False))
within = ts.diversity([first, second], span_normalise=False).tolist()
net = between - sum(within) / 2
print("DendroPy", dendropy.__version__, "tskit: between", between, "within", within, "net", net)
print("DendroPy: between", seen.average_number_of_pairwise_differences_between)
print("DendroPy: within", seen.average_number_of_pairwise_differences_within)
print("DendroPy: net", seen.average_number_of_pairwise_differences_net)
assert abs(seen.average_number_of_pairwise_differences_between - between) < 1e-6
assert abs(seen.average_number_of_pairwise_differences_within - sum(within)) < 1e-6
assert abs(seen.average_number_of_pairwise_differences_net - (between - sum(within))) < 1e-6
assert abs(net) < 0.2 * between and seen.average_number_of_pairwise_differences_net < -0.8 * between
PYTHON
