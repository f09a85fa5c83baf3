#!/bin/sh
# VCF Zarr (bio2zarr, vcztools): the length of a deletion of one or two bases is a missing value.
#
# Expected: INFO/SVLEN, an Integer that is negative for a deletion, comes back from VCF Zarr as it
# was in the VCF, -1 and -2 like -3; or the conversion refuses or warns of what it can't hold.
# Seen: the format marks missing integers by -1 and the padding of short rows by -2, in the same
# array as the values. SVLEN=-1 and SVLEN=-2 are gone after `vcf2zarr convert` and `vcztools view`,
# without a word, as is any other field's -1 (a PS, a score); -3 is there. Floating-point fields have
# codes of their own and keep -1.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet "bio2zarr[vcf]==0.2.1" vcztools==0.2.0 pysam==0.24.1 numpy==2.4.6 zarr==3.1.6 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import importlib.metadata
import subprocess

import pysam
import zarr

open("x.vcf", "w").write(
    "##fileformat=VCFv4.3\n"
    "##contig=<ID=1,length=100000>\n"
    '##INFO=<ID=SVLEN,Number=A,Type=Integer,Description="Difference in length of alleles">\n'
    '##INFO=<ID=BETA,Number=A,Type=Float,Description="Effect size">\n'
    '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n'
    "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tP1\n"
    "1\t10\tthree\tACGT\tA\t.\tPASS\tSVLEN=-3;BETA=-1\tGT\t0|1\n"
    "1\t20\ttwo\tACG\tA\t.\tPASS\tSVLEN=-2;BETA=-2\tGT\t0|1\n"
    "1\t30\tone\tAC\tA\t.\tPASS\tSVLEN=-1;BETA=-1\tGT\t0|1\n"
    "1\t40\tboth\tAC\tA,ACG\t.\tPASS\tSVLEN=-1,1;BETA=-1,1\tGT\t0|1\n"
)
pysam.tabix_index("x.vcf", preset="vcf", force=True)
for package in ("bio2zarr", "vcztools"):
    print(package, importlib.metadata.version(package))
run = {"check": True, "capture_output": True, "text": True}
convert = subprocess.run(["venv/bin/vcf2zarr", "convert", "x.vcf.gz", "x.vcz", "--no-progress"], **run)
view = subprocess.run(["venv/bin/vcztools", "view", "x.vcz"], **run)
lines = [line.split("\t") for line in view.stdout.splitlines() if line[0] != "#"]
after = {fields[2]: fields[7] for fields in lines}
before = {r.id: dict(r.info) for r in pysam.VariantFile("x.vcf.gz")}
for name, info in after.items():
    print(f"{name:6} before: {before[name]} after: {info}")
print("the store:", zarr.open("x.vcz", mode="r")["variant_SVLEN"][:].tolist())
print("words:", repr(view.stderr))
assert after["three"] == "BETA=-1;SVLEN=-3"
assert after["two"] == "BETA=-2" and after["one"] == "BETA=-1"
assert after["both"] == "BETA=-1,1;SVLEN=.,1"
assert view.stderr == "" and "SVLEN" not in convert.stderr
PYTHON
