#!/bin/sh
# DendroPy: a base that isn't known (N) is a derived allele in the frequency spectrum, and agrees
# with everything in the mean number of pairwise differences.
#
# Expected: a sequence with N at a site is left out at that site by all statistics, or at least by
# those that are called with `ignore_uncertain=True`.
# Seen: `unfolded_site_frequency_spectrum` counts N as derived with either value of
# `ignore_uncertain`, at a site where no other base than A was seen, too;
# `average_number_of_pairwise_differences` (and so Tajima's D, which divides by all pairs)
# treats N as no difference, while `nucleotide_diversity` leaves it out of its denominator.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet dendropy==5.1.3 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import dendropy
from dendropy.calculate import popgenstat


def matrix(*rows):
    fasta = "".join(f">s{i}\n{row}\n" for i, row in enumerate(rows))
    return dendropy.DnaCharacterMatrix.get(data=fasta, schema="fasta")


print("DendroPy", dendropy.__version__)
plain = matrix("A", "A", "A", "A")
unknown = matrix("A", "N", "A", "A")
spectra = []
for name, panel in (("A A A A", plain), ("A N A A", unknown)):
    for ignore in (False, True):
        spectrum = popgenstat.unfolded_site_frequency_spectrum(panel, ignore_uncertain=ignore)
        spectra.append(spectrum)
        print(f"{name}, ignore_uncertain {ignore}: sites by number of derived", spectrum)
    print(f"{name}: segregating sites", popgenstat.num_segregating_sites(panel))
assert [s[0] for s in spectra] == [1, 1, 0, 0] and [s[1] for s in spectra] == [0, 0, 1, 1]
assert popgenstat.num_segregating_sites(unknown) == 0

half = matrix("A", "C", "N", "N", "N", "N")  # the one pair that is known differs
mean = popgenstat.average_number_of_pairwise_differences(half)
known = matrix("A", "C", "A", "C", "A", "C")
print("A C N N N N: mean differences of the known pairs 1, by DendroPy", mean)
print("A C N N N N: Tajima's D", popgenstat.tajimas_d(half))
print("A C A C A C: Tajima's D", popgenstat.tajimas_d(known))
assert abs(mean - 1 / 15) < 1e-12
assert popgenstat.tajimas_d(half) < -1 and popgenstat.tajimas_d(known) > 1
PYTHON
