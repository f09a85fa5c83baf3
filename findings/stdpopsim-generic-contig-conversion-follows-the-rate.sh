#!/bin/sh
# stdpopsim: another recombination rate changes how much and how long a generic contig converts.
#
# Expected: `get_contig(length=..., recombination_rate=r, use_species_gene_conversion=True)` has the
# given rate and, as documented, the mean of the species' chromosomes for the fraction and the length
# of gene conversions (D. melanogaster: 0.83 and 518 bp), as a named chromosome has with the same `r`.
# Seen: sums weighted with the chromosomes' own rates are divided by a sum of the given one. With r
# of 5 times the species' rate the fraction is 0.17 and a tract has 104 bp; with half of it the
# contig is refused because the fraction isn't below 1. E. coli, whose recombination is all transfer
# of segments, has segments of 542 bp, but 54 bp at ten times the rate and 5420 bp at a tenth of
# it: rate times length, the share of the genome that is exchanged, doesn't follow `r` at all.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet stdpopsim==0.3.0 msprime==1.4.4 tskit==1.0.3 numpy==2.4.6 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import warnings

warnings.simplefilter("ignore")
import numpy as np
import stdpopsim

print("stdpopsim", stdpopsim.__version__)
fly, coli = stdpopsim.get_species("DroMel"), stdpopsim.get_species("EscCol")
LENGTH = 1_000_000


def usual(species):
    """Crossing-over (or transfer) per base pair of a generic contig: the mean of the chromosomes."""
    return species.get_contig(length=LENGTH).recombination_map.mean_rate


seen = {}
for times in (1, 2, 5, 0.5):
    asked = {"recombination_rate": times * usual(fly), "use_species_gene_conversion": True}
    named = fly.get_contig("2L", left=0, right=LENGTH, **asked)
    try:
        generic = fly.get_contig(length=LENGTH, **asked)
        seen[times] = (generic.gene_conversion_fraction, generic.gene_conversion_length)
        text = f"fraction {seen[times][0]:.3f}, length {seen[times][1]:.1f}"
    except ValueError as error:
        seen[times], text = None, f"refused: {error}"
    print(
        f"D. melanogaster, {times} times the rate: generic contig {text};"
        f" 2L {named.gene_conversion_fraction}, {named.gene_conversion_length}"
    )
    assert (named.gene_conversion_fraction, named.gene_conversion_length) == (0.83, 518)
for times in (1, 2, 5):
    assert np.allclose(seen[times], (0.83 / times, 518 / times))
assert seen[0.5] is None
for times in (1, 10, 0.1):
    contig = coli.get_contig(length=LENGTH, recombination_rate=times * usual(coli))
    print(f"E. coli, {times} times the rate: length {contig.gene_conversion_length:.1f}")
    assert np.isclose(contig.gene_conversion_length, 542 / times)
chromosome = coli.genome.chromosomes[0]
contig = coli.get_contig(chromosome.id, recombination_rate=10 * usual(coli))
print("E. coli, named chromosome, 10 times the rate: length", contig.gene_conversion_length)
assert contig.gene_conversion_length == 542
PYTHON
