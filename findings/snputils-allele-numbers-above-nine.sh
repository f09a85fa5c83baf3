#!/bin/sh
# snputils: allele numbers of two digits are read by their first character, or as 76.
#
# Expected: a site with ten alternate alleles (1000 Genomes panels have microsatellites like it)
# reads as the allele numbers of its genotypes, or is refused.
# Seen: the default reader takes the characters at two fixed places for the two alleles: `0|10` is
# (0, 1), and `10|2` is (1, 76), 76 being the character `|` less `0`. No warning is given.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet snputils==1.1.1 numpy==2.4.6 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import snputils

alternates = "C,G,T,AA,AC,AG,AT,CC,CA,CG"
open("ten.vcf", "w").write(
    "##fileformat=VCFv4.2\n"
    "##contig=<ID=1,length=1000>\n"
    '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n'
    "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tP1\tP2\tP3\n"
    f"1\t10\t.\tA\t{alternates}\t.\tPASS\t.\tGT\t0|10\t10|2\t9|8\n"
)
seen = snputils.read_vcf("ten.vcf").genotypes.tolist()
print("snputils", snputils.__version__, "written 0|10 10|2 9|8, read", seen)
assert seen == [[[0, 1], [1, 76], [9, 8]]]
PYTHON
