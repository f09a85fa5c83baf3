#!/bin/sh
# vcztools: `REF="A"` finds sites whose alternate allele is A, and `AF>0.1` those with AF=0.1.
#
# Expected: filters mean what they mean in bcftools, whose language vcztools takes over: REF is the
# reference allele, and a frequency written as 0.1 equals the 0.1 of the expression.
# Seen: `REF="A"` compares all of a site's alleles. A frequency is stored in 32 bits and compared
# with the 64-bit number: `AF=0.1` finds nothing, and AF=0.1 is above 0.1, so that a threshold
# takes in the sites that lie on it.
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
    "##contig=<ID=1,length=100000>\n"
    '##INFO=<ID=AF,Number=A,Type=Float,Description="Frequency">\n'
    '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n'
    "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tP1\n"
    "1\t1000\t.\tA\tC\t.\tPASS\tAF=0.1\tGT\t0|1\n"
    "1\t2000\t.\tG\tA\t.\tPASS\tAF=0.05\tGT\t0|1\n"
    "1\t3000\t.\tG\tC\t.\tPASS\tAF=0.2\tGT\t0|1\n"
)
pysam.tabix_index("x.vcf", preset="vcf", keep_original=True)
command = ["venv/bin/vcf2zarr", "convert", "x.vcf.gz", "x.vcz"]
subprocess.run(command, check=True, capture_output=True)
print("vcztools", importlib.metadata.version("vcztools"), "bcftools of pysam", pysam.__version__)
seen = {}
for filter_ in ('REF="A"', 'ALT="A"', "AF=0.1", "AF>0.1", "AF<=0.1"):
    words = ["query", "-i", filter_, "-f", "%POS\\n"]
    command = ["venv/bin/vcztools", *words, "x.vcz"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    bcftools = pysam.bcftools.query(*words[1:], "x.vcf.gz").split()
    seen[filter_] = done.stdout.split(), bcftools
    print(f"{filter_:8} vcztools {' '.join(done.stdout.split()):15} bcftools", *bcftools)
assert seen['REF="A"'] == (["1000", "2000"], ["1000"])
assert seen["AF=0.1"] == ([], ["1000"])
assert seen["AF>0.1"] == (["1000", "3000"], ["3000"])
assert seen["AF<=0.1"] == (["2000"], ["1000", "2000"])
PYTHON
