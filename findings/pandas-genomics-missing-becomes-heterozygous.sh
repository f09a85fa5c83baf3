#!/bin/sh
# pandas-genomics: a missing genotype is written to a PLINK file as a heterozygous one.
#
# Expected: `to_plink` writes a missing genotype as the code for one, and `from_plink` gives it
# back.
# Seen: it is given the bits of a missing one first, 01, and then counts as one with a single
# alternate allele, and gets the bits of those, 10. Whoever has a missing call is heterozygous in
# the file, for pandas-genomics as for bed-reader: the call rate of a panel that went through it is
# 1, and half of a site's rate of missing calls is added to its frequency. Nothing warns.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet pandas-genomics==1.0.1 bed-reader==1.1.0 numpy==1.26.4 pandas==2.3.3 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import importlib.metadata
import warnings

warnings.simplefilter("ignore")
import bed_reader
import numpy as np
import pandas as pd
from pandas_genomics import io
from pandas_genomics.arrays import GenotypeArray
from pandas_genomics.scalars import Variant

for package in ("pandas-genomics", "bed-reader"):
    print(package, importlib.metadata.version(package))
site = Variant("1", 10, id="site", ref="A", alt=["C"])
pairs = [("A", "A"), ("A", "C"), ("C", "C"), (), (), ("A", "A"), (), ("A", "A")]
before = GenotypeArray([site.make_genotype(*pair) for pair in pairs])
assert before.is_missing.sum() == 3
io.to_plink(pd.DataFrame({"site": before}), "x")
after = io.from_plink("x").iloc[:, 0].array
counts = bed_reader.open_bed("x.bed").read()[:, 0]
print("before:", [str(call) for call in before], "missing:", before.is_missing.sum())
print("after: ", [str(call) for call in after], "missing:", after.is_missing.sum())
print("copies of an allele by bed-reader:", counts.tolist(), "missing:", np.isnan(counts).sum())
assert after.is_missing.sum() == np.isnan(counts).sum() == 0
assert (after.is_heterozygous == (before.is_missing | before.is_heterozygous)).all()
assert (counts[before.is_missing] == 1).all()
PYTHON
