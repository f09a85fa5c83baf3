#!/bin/sh
# bioutils: the "VCF" normal form is another one than that of VCF.
#
# Expected: `normalize(..., mode="VCF")` gives the form of VCF records that `bcftools norm` and `vt
# normalize` write and by which records are joined: left-aligned and parsimonious. Where every
# allele has a base of its own none is added, so that a SNV T>G stays T>G. Where one would be empty
# the base before it is, or, at the start of the sequence, the base after it: VCF has no empty allele.
# Seen: each SNV and each other substitution gets the base before it, CT>CG at the position before,
# and matches no SNV of any VCF file. An insertion or a deletion in the run of equal bases at the
# start of the sequence comes out with an empty allele, which can't be written. Insertions and
# deletions elsewhere are right.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet bioutils==0.6.2 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import importlib.metadata

from bioutils.normalize import normalize

SEQUENCE = "CCCCCACACACACTAGCAGCAGCA"


def normal_form(start, end, alternate):
    """Left-aligned and parsimonious record, as Tan et al. (2015) define it, on SEQUENCE."""
    alleles = [SEQUENCE[start:end], alternate]
    while True:
        if all(alleles) and alleles[0][-1] == alleles[1][-1]:
            alleles = [allele[:-1] for allele in alleles]
        elif not all(alleles) and start > 0:
            start -= 1
            alleles = [SEQUENCE[start] + allele for allele in alleles]
        elif not all(alleles):  # at the start of the sequence
            after = SEQUENCE[start + len(alleles[0])]
            return start, *(allele + after for allele in alleles)
        else:
            break
    while min(map(len, alleles)) > 1 and alleles[0][0] == alleles[1][0]:
        alleles, start = [allele[1:] for allele in alleles], start + 1
    return start, *alleles


print("bioutils", importlib.metadata.version("bioutils"), "on", SEQUENCE)
seen = {}
for name, start, end, alternate in (
    ("SNV", 13, 14, "G"), ("two bases", 13, 15, "GC"), ("insertion", 9, 9, "CA"),
    ("deletion", 11, 13, ""), ("deletion in the first run", 2, 3, ""),
    ("insertion in the first run", 4, 4, "C"),
):
    (position, _), alleles = normalize(SEQUENCE, (start, end), (None, alternate), mode="VCF")
    seen[name] = (position, *alleles)
    expected = normal_form(start, end, alternate)
    print(f"{name}: {seen[name]}, expected {expected}")
    assert (seen[name] == expected) == (name in ("insertion", "deletion"))
assert seen["SNV"] == (12, "CT", "CG") and seen["two bases"] == (12, "CTA", "CGC")
assert seen["deletion in the first run"] == (0, "C", "")
assert seen["insertion in the first run"] == (0, "", "C")
spoiled = 0
for i, base in enumerate(SEQUENCE):
    for alternate in set("ACGT") - {base}:
        (position, _), alleles = normalize(SEQUENCE, (i, i + 1), (None, alternate), mode="VCF")
        spoiled += (position, *alleles) != (i, base, alternate)
print(f"SNVs that aren't what they were: {spoiled} of {3 * len(SEQUENCE)}")
assert spoiled == 3 * (len(SEQUENCE) - 1)
PYTHON
