#!/bin/sh
# igdtools: a range of allele frequencies makes missing calls reference ones, or isn't looked at.
#
# Expected: `--frange 0.3-1` keeps the alleles of such a frequency with all calls at their sites, and
# does so when a VCF file is converted as well as from IGD to IGD, as `--range` does.
# Seen: the missing calls of a site are stored as one more "allele" (.), which has a frequency of its
# own: where it is outside the range it goes, and people whose call was missing carry the reference
# allele in the output. On a VCF file the option is taken and nothing is left out. The output of
# both commands looks alike, and the site's frequency is 8 of 20 with either, not 8 of 18 called.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet igdtools==2.6 >pip.log 2>&1 || { cat pip.log; exit 1; }
echo "igdtools $(venv/bin/python -c 'import importlib.metadata as m; print(m.version("igdtools"))')"
PATH="$PWD/venv/bin:$PATH"
{
    echo '##fileformat=VCFv4.2'
    echo '##contig=<ID=1,length=100000>'
    echo '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">'
    printf '#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT'
    printf '\tP%s' 1 2 3 4 5 6 7 8 9 10
    printf '\n1\t100\trare\tA\tC\t.\tPASS\t.\tGT'
    printf '\t%s' '0|1' '0|0' '0|0' '0|0' '0|0' '0|0' '0|0' '0|0' '0|0' '0|0'
    printf '\n1\t300\tcommon\tA\tC\t.\tPASS\t.\tGT'
    printf '\t%s' '0|1' '1|1' '1|1' '0|0' '0|1' '0|1' '0|0' '0|0' '.|.' '1|0'
    printf '\n'
} >panel.vcf
igdtools panel.vcf -o all.igd >log
igdtools all.igd --frange 0.3-1 -o common.igd >log
igdtools panel.vcf --frange 0.3-1 -o vcf.igd >log
igdtools panel.vcf --range 200-400 -o range.igd >log
for name in all common vcf range; do
    echo "$name:"
    igdtools $name.igd --alleles | tee $name
    igdtools $name.igd --stats | grep -i 'missing' | tee -a $name
done
grep -q 'Total missing alleles: 2$' all
grep -q 'Total missing alleles: 0$' common
[ "$(grep -c '^[13]00' common)" = 1 ]
grep -qx "$(printf '300\tA\tC\t8\t20')" common
cmp all vcf
[ "$(grep -c '^300' range)" = 2 ] && ! grep -q '^100' range
