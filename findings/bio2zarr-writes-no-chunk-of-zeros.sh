#!/bin/sh
# bio2zarr: a chunk in which everybody is homozygous reference isn't written at all.
#
# Expected: the arrays' fill value is null, which leaves the content of an absent chunk undefined,
# so that every chunk of genotypes is written, and a chunk lost on the way can be told.
# Seen: a chunk of zeros isn't there, and zarr-python reads it as zeros all the same. A store that
# lost a chunk of carriers reads as one whose people carry nothing: the two look alike to the
# reader. `ZARR_ARRAY__WRITE_EMPTY_CHUNKS=True` in the environment writes them all.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet bio2zarr[vcf]==0.2.1 pysam==0.24.1 zarr==3.1.6 numpy==2.4.6 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import importlib.metadata
import os
import subprocess

import pysam
import zarr

rows = ["0|0\t0|0"] * 4 + ["0|1\t1|1"] * 4
open("panel.vcf", "w").write(
    "##fileformat=VCFv4.2\n"
    "##contig=<ID=1,length=1000>\n"
    '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n'
    "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tP1\tP2\n"
    + "".join(f"1\t{10 + i}\t.\tA\tC\t.\tPASS\t.\tGT\t{row}\n" for i, row in enumerate(rows))
)
pysam.tabix_index("panel.vcf", preset="vcf", keep_original=True)
print("bio2zarr", importlib.metadata.version("bio2zarr"), "zarr", zarr.__version__)
written = {}
for setting in (None, "True"):
    environment = dict(os.environ)
    if setting:
        environment["ZARR_ARRAY__WRITE_EMPTY_CHUNKS"] = setting
    store = f"panel-{setting}.vcz"
    command = ["venv/bin/vcf2zarr", "convert", "--variants-chunk-size", "4", "panel.vcf.gz", store]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    calls = zarr.open_group(store, mode="r")["call_genotype"]
    written[setting] = calls.nchunks_initialized
    print(f"WRITE_EMPTY_CHUNKS {setting}: fill_value {calls.fill_value},",
          f"{calls.nchunks_initialized} of {calls.nchunks} chunks written, first row", calls[0].tolist())
    assert calls.nchunks == 2 and calls.fill_value is None and calls[0].tolist() == [[0, 0], [0, 0]]
assert written == {None: 1, "True": 2}
PYTHON
