#!/bin/sh
# xarray and VCF Zarr: a fill value of 0 turns every reference allele into a missing one.
#
# Expected: call_genotype written as int8 in Zarr format 2 (which VCF Zarr uses) comes back from
# xarray as int8 with its zeros, whatever the array's fill value: every chunk was written.
# Seen: xarray takes format 2's fill_value for CF's _FillValue. With zarr-python's own default of
# 0 the array is read as floating point and each 0 as NaN; with a null fill value (as bio2zarr
# writes) it is read as stored.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet zarr==3.1.6 xarray==2026.9.0 numpy==2.4.6 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import importlib.metadata

import numpy as np
import xarray
import zarr

calls = np.array([[[0, 1], [0, 0]], [[1, 1], [0, 1]]], np.int8)
print("zarr", zarr.__version__, "xarray", xarray.__version__)
for fill in (0, None):
    group = zarr.open_group(f"panel-{fill}.vcz", mode="w", zarr_format=2)
    array = group.create_array(
        "call_genotype", shape=calls.shape, chunks=calls.shape, dtype="i1", fill_value=fill,
        config={"write_empty_chunks": True},
        attributes={"_ARRAY_DIMENSIONS": ["variants", "samples", "ploidy"]},
    )
    array[:] = calls
    assert array.nchunks_initialized == 1
    read = xarray.open_zarr(f"panel-{fill}.vcz", consolidated=False)["call_genotype"]
    print(f"fill_value {fill}: {read.dtype}", read.values.tolist())
    if fill == 0:
        assert read.dtype.kind == "f" and np.isnan(read.values[calls == 0]).all()
    else:
        assert read.dtype == np.int8 and (read.values == calls).all()
PYTHON
