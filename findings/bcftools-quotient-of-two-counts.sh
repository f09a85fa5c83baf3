#!/bin/sh
# bcftools 1.16 (Debian 12) and 1.24 (pysam): `AC/AN>0.5` keeps other sites.
#
# Expected: AC/AN is the frequency of each alternate allele: at a site with AC=1,2 and AN=6 it is
# 1/6 and 1/3, so that `AC/AN>0.5` leaves the site out, as 1.24 does.
# Seen: 1.16 takes 0 for AN from the second allele on. The quotient is then above any threshold
# (`AC/AN>1000` finds the site), and `AC-AN=2` holds. A filter for common alleles by AC and AN keeps
# every site with two alternate alleles, however rare they are; `AF>0.5` on an AF field is right.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
bcftools --version 2>&1 | head -n 1 | tee version
grep -qx 'bcftools 1.16' version || { echo "needs bcftools 1.16: apt-get install bcftools=1.16-1"; exit 1; }
python3 -m venv venv
venv/bin/pip install --quiet pysam==0.24.1 >pip.log 2>&1 || { cat pip.log; exit 1; }
{
    echo '##fileformat=VCFv4.2'
    echo '##contig=<ID=1,length=100000>'
    echo '##INFO=<ID=AC,Number=A,Type=Integer,Description="Alternate allele count">'
    echo '##INFO=<ID=AN,Number=1,Type=Integer,Description="Number of alleles">'
    printf '#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n'
    printf '1\t10\trare\tA\tC\t.\tPASS\tAC=1;AN=6\n'
    printf '1\t20\ttwo\tA\tC,G\t.\tPASS\tAC=1,2;AN=6\n'
    printf '1\t30\tcommon\tA\tC\t.\tPASS\tAC=6;AN=6\n'
} >x.vcf
venv/bin/python - <<'PYTHON'
import subprocess

import pysam
import pysam.bcftools
import pysam.version

print("pysam", pysam.__version__, "with bcftools", pysam.version.__bcftools_version__)
seen = {}
for expression in ("AC/AN>0.5", "AC/AN>1000", "AC-AN=2", "AC+AN=8"):
    arguments = ["-f", "%ID ", "-i", expression, "x.vcf"]
    old = subprocess.run(["bcftools", "query", *arguments], capture_output=True, text=True)
    seen[expression] = (old.stdout.split(), pysam.bcftools.query(*arguments).split())
    print(f"{expression:11} 1.16: {seen[expression][0]} 1.24: {seen[expression][1]}")
assert seen["AC/AN>0.5"] == (["two", "common"], ["common"])
assert seen["AC/AN>1000"] == (["two"], [])
assert seen["AC-AN=2"] == (["two"], [])
assert seen["AC+AN=8"] == ([], ["two"])
PYTHON
