#!/bin/sh
# tskit: statistics count a missing sample as a carrier of the ancestral allele.
#
# Expected: a sample whose genotype is missing (isolated: `variants()` gives -1) is left out of
# diversity and of the allele-frequency spectrum at that site, as scikit-allel and bcftools do.
# Seen: `diversity` is that of the same panel with the missing genotypes set to the ancestral
# allele, to the last digit, and the spectrum holds all sites at the full number of samples. Data
# with missing calls that went through tskit has too many rare alleles, without a warning.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet tskit==1.0.3 msprime==1.4.4 numpy==2.4.6 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import msprime
import numpy as np
import tskit

whole = msprime.sim_ancestry(5, sequence_length=1e4, population_size=1e4, random_seed=1)
tables = whole.dump_tables()
tables.edges.clear()
for edge in whole.edges():
    if edge.child != 0:  # nothing is known of sample 0
        tables.edges.append(edge)
ts = msprime.sim_mutations(
    tables.tree_sequence(), rate=1e-7, random_seed=2, model=msprime.BinaryMutationModel()
)


def diversity(genotypes):
    total = 0.0
    for row in genotypes:
        row = row[row >= 0]
        total += 2 * row.mean() * (1 - row.mean()) * row.size / (row.size - 1)
    return total


genotypes = np.array([v.genotypes for v in ts.variants()])
missing = genotypes == -1
seen = float(ts.diversity(span_normalise=False))
spectrum = ts.allele_frequency_spectrum(span_normalise=False, polarised=True)
print("tskit", tskit.__version__, "- genotypes missing:", int(missing.sum()), "of", genotypes.size)
print("diversity by tskit", seen)
print("missing left out  ", diversity(genotypes))
print("missing as 0      ", diversity(np.where(missing, 0, genotypes)))
print("spectrum's samples", spectrum.size - 1, "samples with calls", ts.num_samples - 1)
assert missing[:, 0].all() and missing.sum() == len(genotypes) > 10
assert np.isclose(seen, diversity(np.where(missing, 0, genotypes)))
assert not np.isclose(seen, diversity(genotypes))
assert spectrum.size == ts.num_samples + 1 and spectrum[-2:].sum() == 0
PYTHON
