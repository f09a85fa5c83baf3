#!/bin/sh
# bcftools: the count of a second alternate allele that a site doesn't have is that of the first.
#
# Expected: `%AC{1}` (subscripts count from 0) of a site with one alternate allele is `.`, as the
# third count of a site with two is, and as `%ALT{1}` and a FORMAT field's subscript are.
# Seen: an INFO field with a single value gives it for every subscript. A table of `%ALT{1}` and
# `%AC{1}` says that no allele was seen three times; one that sums `%AC{0}`, `%AC{1}` and so on
# counts the alleles of the common kind of site twice. pysam brings bcftools along.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet pysam==0.24.1 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import pysam
import pysam.bcftools
import pysam.version

open("x.vcf", "w").write(
    "##fileformat=VCFv4.2\n"
    "##contig=<ID=1,length=100000>\n"
    '##INFO=<ID=AC,Number=A,Type=Integer,Description="Alternate allele count">\n'
    '##INFO=<ID=AF,Number=A,Type=Float,Description="Alternate allele frequency">\n'
    '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n'
    '##FORMAT=<ID=AD,Number=R,Type=Integer,Description="Depth of each allele">\n'
    "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tP1\tP2\n"
    "1\t10\t.\tA\tC\t.\tPASS\tAC=3;AF=0.75\tGT:AD\t0|1:4,5\t1|1:0,9\n"
    "1\t20\t.\tA\tC,G\t.\tPASS\tAC=2,1;AF=0.5,0.25\tGT:AD\t0|1:4,5,0\t1|2:0,4,5\n"
)
names = ["%ALT{0}", "%ALT{1}", "%AC{0}", "%AC{1}", "%AC{2}", "%AF{1}", "[%AD{2} ]"]
table = pysam.bcftools.query("-f", "\\t".join(names) + "\\n", "x.vcf")
one, two = [line.split("\t") for line in table.splitlines()]
print("pysam", pysam.__version__, "bcftools", pysam.version.__bcftools_version__)
for name, *values in zip(names, one, two):
    print(f"{name:10} one alternate: {values[0]:6} two: {values[1]}")
assert one == ["C", ".", "3", "3", "3", "0.75", ". . "]
assert two == ["C", "G", "2", "1", ".", "0.25", "0 5 "]
PYTHON
