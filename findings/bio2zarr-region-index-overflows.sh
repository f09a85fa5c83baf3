#!/bin/sh
# bio2zarr: on a short contig long deletions drop out of region queries.
#
# Expected: `vcztools view -r` on the converted file gives the records that overlap the region, as
# `bcftools view -r` does on the VCF.
# Seen: positions that fit in 16 bits are stored in 16 bits, and the region index adds the record's
# length to them in that type. Deletions of 1 kb at 32,000 end at -32,536 there, so that the index
# says that nothing lies behind 31,000, and the query comes back empty.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet bio2zarr[vcf]==0.2.1 vcztools==0.2.0 pysam==0.24.1 zarr==3.1.6 numpy==2.4.6 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import importlib.metadata
import subprocess

import pysam
import pysam.bcftools

open("x.vcf", "w").write(
    "##fileformat=VCFv4.2\n"
    "##contig=<ID=1,length=40000>\n"
    '##ALT=<ID=DEL,Description="Deletion">\n'
    '##INFO=<ID=END,Number=1,Type=Integer,Description="End">\n'
    '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n'
    "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tP1\n"
    "1\t31000\t.\tA\tC\t.\tPASS\t.\tGT\t0|1\n"
    "1\t32000\t.\tA\t<DEL>\t.\tPASS\tEND=33000\tGT\t0|1\n"
    "1\t32000\t.\tA\t<DEL>\t.\tPASS\tEND=33000\tGT\t1|1\n"
)
pysam.tabix_index("x.vcf", preset="vcf", keep_original=True)
command = ["venv/bin/vcf2zarr", "convert", "x.vcf.gz", "x.vcz"]
subprocess.run(command, check=True, capture_output=True)
import zarr

store = zarr.open_group("x.vcz", mode="r")
print("bio2zarr", importlib.metadata.version("bio2zarr"), store["variant_position"].dtype, "positions")
print("region index (chunk, contig, first and last start, last end, records)", store["region_index"][:])
seen = {}
for region in ("1:30000-31500", "1:31500-35000"):
    command = ["venv/bin/vcztools", "view", "-H", "-r", region, "x.vcz"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    pair = done.stdout, pysam.bcftools.view("-H", "-r", region, "x.vcf.gz")
    seen[region] = [[line.split("\t")[1] for line in text.splitlines()] for text in pair]
    print(region, "vcztools", seen[region][0], "bcftools", seen[region][1])
assert seen["1:30000-31500"] == [["31000"], ["31000"]]
assert seen["1:31500-35000"] == [[], ["32000", "32000"]]
PYTHON
