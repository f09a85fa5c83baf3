#!/bin/sh
# vcztools: `view` writes rare allele frequencies as 0.
#
# Expected: VCF to VCF Zarr (`vcf2zarr`) and back (`vcztools view`, which is meant as a drop-in for
# `bcftools view`) keeps floating-point fields to the six significant digits that bcftools writes.
# Seen: `view` rounds QUAL, INFO and FORMAT to three decimals. AF=0.0002 and AF=2.5e-05 become 0, a
# dosage of 1.99996 becomes 2. The Zarr store holds the right values, and `vcztools query` on the
# same store prints them.
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

open("rare.vcf", "w").write(
    "##fileformat=VCFv4.2\n"
    "##contig=<ID=1,length=1000>\n"
    '##INFO=<ID=AF,Number=A,Type=Float,Description="Frequency">\n'
    '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n'
    '##FORMAT=<ID=DS,Number=1,Type=Float,Description="Dosage">\n'
    "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tP1\tP2\n"
    "1\t10\t.\tA\tC\t30\tPASS\tAF=0.0002\tGT:DS\t0|1:0.0004\t1|1:1.99996\n"
    "1\t20\t.\tA\tC\t30\tPASS\tAF=2.5e-05\tGT:DS\t0|1:1\t0|0:0\n"
)
pysam.tabix_index("rare.vcf", preset="vcf", keep_original=True)


def run(*words):
    done = subprocess.run(["venv/bin/" + words[0], *words[1:]], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


run("vcf2zarr", "convert", "rare.vcf.gz", "rare.vcz")
viewed = [line.split("\t") for line in run("vcztools", "view", "rare.vcz").splitlines() if line[0] != "#"]
queried = run("vcztools", "query", "-f", "%INFO/AF [%DS ]\\n", "rare.vcz").splitlines()
print("vcztools", importlib.metadata.version("vcztools"))
for record, values in zip(viewed, queried):
    print("view: ", *record[7:])
    print("query:", values)
assert [record[7] for record in viewed] == ["AF=0", "AF=0"]
assert viewed[0][9:] == ["0|1:0", "1|1:2"]
assert [line.split() for line in queried] == [["0.0002", "0.0004", "1.99996"], ["2.5e-05", "1.0", "0.0"]]
PYTHON
