#!/bin/sh
# TenSEAL: a CKKS product that outgrows its modulus decrypts to other numbers, without an error.
#
# Expected: an overflow raises, as a mismatch of lengths, a NaN or a used-up level does; or at
# least the slots that hold small numbers stay right.
# Seen: with the parameters of the library's own tutorials (8192; 60, 40, 40, 60; scale 2**40)
# the square of (1e9, 1) has about 0 in the slot that should hold 1, and that of (1e12, 1) has
# numbers of the size of 1e17 in both. Nothing says so: what clients add up under CKKS must be
# bounded beforehand.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet tenseal==0.3.18 numpy==2.4.6 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import importlib.metadata

import tenseal

context = tenseal.context(
    tenseal.SCHEME_TYPE.CKKS, poly_modulus_degree=8192, coeff_mod_bit_sizes=[60, 40, 40, 60]
)
context.global_scale = 2**40
print("tenseal", importlib.metadata.version("tenseal"))
squares = {}
for size in (1e6, 1e9, 1e12):
    vector = tenseal.ckks_vector(context, [size, 1.0])
    squares[size] = (vector * vector).decrypt()
    print(f"({size:.0e}, 1) squared decrypts to", squares[size])
assert abs(squares[1e6][1] - 1) < 1e-3
assert abs(squares[1e9][1]) < 0.5
assert abs(squares[1e12][0] - 1e24) > 1e23 and abs(squares[1e12][1]) > 1e6
PYTHON
