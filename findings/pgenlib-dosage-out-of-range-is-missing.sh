#!/bin/sh
# pgenlib: a dosage that can't be is written as missing, and one that can reads as missing, too.
#
# Expected: `append_dosages` refuses a dosage above 2, as `append_alleles` refuses an allele code
# above the limit, and `read` of a dosage of 1.5 gives the nearest genotype.
# Seen: 2.5 is stored as missing, without an error. A file written with dosages holds hard calls
# only within 0.1 of a whole number: `read` gives -9 (missing) for 1.5 and 0.3, whose dosages are
# there for `read_dosages`. A program that counts alleles with `read` loses imputed calls silently.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet pgenlib==0.95.1 numpy==2.4.6 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import importlib.metadata

import numpy as np
import pgenlib

dosages = np.array([0.05, 0.3, 1.0, 1.5, 2.0, 2.5], np.float32)
writer = pgenlib.PgenWriter(
    b"x.pgen", dosages.size, variant_ct=1, nonref_flags=False, dosage_present=True
)
writer.append_dosages(dosages)
writer.close()
reader = pgenlib.PgenReader(b"x.pgen", raw_sample_ct=dosages.size)
stored, calls = np.empty(dosages.size, np.float32), np.empty(dosages.size, np.int8)
reader.read_dosages(0, stored)
reader.read(0, calls)
print("pgenlib", importlib.metadata.version("pgenlib"))
print("written     ", dosages.tolist())
print("read_dosages", stored.round(3).tolist())
print("read        ", calls.tolist())
assert np.allclose(stored[:5], dosages[:5], atol=1e-4) and stored[5] == -9
assert calls.tolist() == [0, -9, 1, -9, 2, -9]
PYTHON
