#!/bin/sh
# stdpopsim: the msprime engine simulates too many gene conversions, by the factor 1 / (1 - fraction).
#
# Expected: a contig's recombination map has the rate of double-strand breaks, of which
# `gene_conversion_fraction` resolve as gene conversion and the rest as crossing-over, as the
# documentation of `Contig` says. At 1e-8 breaks per base pair and a fraction of 0.9 (near
# what is known of people) msprime gets a crossing-over rate of 1e-9 and a gene conversion rate of 9e-9.
# Seen: the first is right. The second is 9e-8, ten times too large and more than all breaks: the
# engine multiplies the rate of breaks, not that of crossing-over, by fraction / (1 - fraction). The
# simulation records more than ten times as many as one with the right rates. For
# D. melanogaster, the one species whose catalogue has a fraction (0.83), the factor is 5.9.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet stdpopsim==0.3.0 msprime==1.4.4 tskit==1.0.3 numpy==2.4.6 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import json
import warnings

warnings.simplefilter("ignore")
import msprime
import numpy as np
import stdpopsim

BREAKS, LENGTH, TRACT = 1e-8, 1_000_000, 300
print("stdpopsim", stdpopsim.__version__, "msprime", msprime.__version__)
model = stdpopsim.PiecewiseConstantSize(1000)
engine = stdpopsim.get_engine("msprime")
SEEDS = (1, 2, 3)
record = {"additional_nodes": msprime.NodeType.GENE_CONVERSION, "coalescing_segments_only": False}


def conversions(trees):
    """Nodes of gene conversion that the tree sequences record."""
    kind = msprime.NodeType.GENE_CONVERSION.value
    return sum(np.count_nonzero(ts.nodes_flags & kind) for ts in trees)


for fraction in (0.5, 0.9):
    contig = stdpopsim.Contig.basic_contig(
        length=LENGTH, recombination_rate=BREAKS,
        gene_conversion_fraction=fraction, gene_conversion_length=TRACT,
    )
    seen = [engine.simulate(model, contig, {"pop_0": 4}, seed=seed, **record) for seed in SEEDS]
    right = [
        msprime.sim_ancestry(
            4, population_size=1000, sequence_length=LENGTH,
            recombination_rate=BREAKS * (1 - fraction), gene_conversion_rate=BREAKS * fraction,
            gene_conversion_tract_length=TRACT, random_seed=seed, **record,
        )
        for seed in SEEDS
    ]
    said = json.loads(seen[0].provenance(0).record)["parameters"]
    crossing = said["recombination_rate"]["rate"]["__ndarray__"][0]
    rate = said["gene_conversion_rate"]
    factor = conversions(seen) / conversions(right)
    print(
        f"fraction {fraction}: conversions per base pair {BREAKS * fraction:.1e} expected,"
        f" {rate:.1e} seen; crossing-over {crossing:.1e}; {conversions(seen)} conversions recorded,"
        f" with the right rates {conversions(right)}"
    )
    assert np.isclose(crossing, BREAKS * (1 - fraction))
    assert np.isclose(rate, BREAKS * fraction / (1 - fraction)) and rate >= BREAKS * (1 - 1e-9)
    assert 0.7 / (1 - fraction) < factor < 1.4 / (1 - fraction)
fly = stdpopsim.get_species("DroMel")
contig = fly.get_contig("2L", left=0, right=20_000, use_species_gene_conversion=True)
ts = engine.simulate(model, contig, {"pop_0": 1}, seed=1)
said = json.loads(ts.provenance(0).record)["parameters"]["gene_conversion_rate"]
fraction, crossing = contig.gene_conversion_fraction, fly.genome.get_chromosome("2L").recombination_rate
factor = said / (crossing * fraction / (1 - fraction))
print(
    f"D. melanogaster 2L: fraction {fraction}, crossing-over {crossing:.2e},"
    f" conversions {said:.2e}: {factor:.2f} times too many"
)
assert fraction == 0.83 and np.isclose(factor, 1 / (1 - fraction))
PYTHON
