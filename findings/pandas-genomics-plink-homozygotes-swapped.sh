#!/bin/sh
# pandas-genomics: the two homozygotes of a PLINK file have each other's alleles.
#
# Expected: `from_plink` of a .bed file, in which a person's bits 00 are two copies of the .bim
# file's first allele and 11 two of its second one, gives these people these alleles. The second
# one is its "reference allele", so that 00 is homozygous for the alternate one.
# Seen: 00 becomes two reference alleles, 11 two alternate ones, named by the right columns of the
# .bim file. With A1 = C and A2 = A everybody with C/C is read as A/A and the other way round;
# heterozygotes and missing calls are right. An allele carried once by 6 people has a frequency of
# 11/12, and additive codes and EDGE weights are of the wrong allele. `swap_alleles=True` renames
# both and is as wrong. `to_plink` makes the same exchange, so that reading what it wrote shows
# nothing, and other programs read its files swapped.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet pandas-genomics==1.0.1 bed-reader==1.1.0 numpy==1.26.4 pandas==2.3.3 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import importlib.metadata
import warnings
from pathlib import Path

warnings.simplefilter("ignore")
import bed_reader
import numpy as np
import pandas as pd
from pandas_genomics import io
from pandas_genomics.arrays import GenotypeArray
from pandas_genomics.scalars import Variant

# Two sites with alleles C (first) and A; people are pairs of bits, the first one lowest.
codes = np.array([[0b00, 0b10, 0b11, 0b01, 0b11, 0b00], [0b11, 0b11, 0b11, 0b10, 0b11, 0b11]])
packed = np.zeros((2, 2), np.uint8)
for person in range(6):
    packed[:, person // 4] |= (codes[:, person] << (2 * (person % 4))).astype(np.uint8)
Path("x.bed").write_bytes(b"\x6c\x1b\x01" + packed.tobytes())
Path("x.bim").write_text("1\tcommon\t0\t10\tC\tA\n1\trare\t0\t20\tC\tA\n")
Path("x.fam").write_text("".join(f"P{i} P{i} 0 0 0 -9\n" for i in range(6)))
by_hand = [[{0: "C/C", 2: "A/C", 3: "A/A", 1: "<Missing>"}[code] for code in row] for row in codes]
copies = bed_reader.open_bed("x.bed").read().T  # of the first allele
names = {2: "C/C", 1: "A/C", 0: "A/A"}
by_bed_reader = [[names.get(count, "<Missing>") for count in row] for row in copies]

for package in ("pandas-genomics", "bed-reader"):
    print(package, importlib.metadata.version(package))
seen = {}
for swap in (False, True):
    table = io.from_plink("x", swap_alleles=swap)
    calls = [[str(call) for call in table[column]] for column in table.columns]
    seen[swap] = [["/".join(sorted(call.split("/"))) for call in row] for row in calls]
    frequency = table.genomics.maf.tolist()
    variant = table.iloc[:, 1].array.variant
    reference, alternate = variant.alleles
    print(f"swap_alleles={swap}: reference {reference}, frequency of {alternate}: {frequency}")
    if not swap:
        assert variant.alleles == ["A", "C"] and np.isclose(frequency[1], 11 / 12)
for row in (0, 1):
    print("by the format ", by_hand[row])
    print("bed-reader    ", by_bed_reader[row])
    print("from_plink    ", seen[False][row])
assert by_hand == by_bed_reader
exchange = {"A/A": "C/C", "C/C": "A/A"}
for swap in (False, True):
    assert seen[swap] == [[exchange.get(call, call) for call in row] for row in by_hand]

site = Variant("1", 10, id="site", ref="A", alt=["C"])
people = GenotypeArray([site.make_genotype(*pair) for pair in ("AA", "AA", "AC", "AA")])
io.to_plink(pd.DataFrame({"site": people}), "y")
alleles = Path("y.bim").read_text().split()[4:]
counts = bed_reader.open_bed("y.bed").read()[:, 0].tolist()
print("to_plink of A/A, A/A, A/C, A/A: alleles", alleles, "copies of", alleles[0], counts)
assert alleles == ["C", "A"] and counts == [2, 2, 1, 2]
PYTHON
