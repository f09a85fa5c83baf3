#!/bin/sh
# bcftools 1.16 (Debian 12): a site split in two and joined again has other haplotypes.
#
# Expected: `norm -m -any` (one record for each alternate allele) and `norm -m +any` (one for all)
# undo each other on phased calls: `0|2` comes back as `0|2`.
# Seen: the second allele is put at the first place that isn't taken by an alternate one. `0|2`
# comes back as `2|0`, `.|2` as `2|0` with a reference allele that nobody saw, and `1|2` loses its
# phase. The output is phased VCF all the same, and its allele counts are right, so that only a
# comparison of haplotypes shows it. The bcftools of pysam 0.24.1 (1.24) gives all of them back.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
bcftools --version 2>&1 | head -n 1 | tee version
grep -qx 'bcftools 1.16' version || { echo "needs bcftools 1.16: apt-get install bcftools=1.16-1"; exit 1; }
{
    echo '##fileformat=VCFv4.2'
    echo '##contig=<ID=1,length=100000>'
    echo '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">'
    printf '#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tP1\tP2\tP3\tP4\tP5\tP6\n'
    printf '1\t10\t.\tA\tC,G\t.\tPASS\t.\tGT\t0|2\t2|0\t1|0\t0|1\t1|2\t.|2\n'
} >before.vcf
bcftools norm -m -any before.vcf >split.vcf 2>log
bcftools norm -m +any split.vcf >after.vcf 2>log
for file in before split after; do
    echo "$file:"
    bcftools query -f '%POS %REF %ALT[ %GT]\n' $file.vcf
done
counts() { bcftools +fill-tags "$1" -- -t AC 2>log | bcftools query -f '%AC'; }
[ "$(bcftools query -f '%ALT[ %GT]' after.vcf)" = "C,G 2|0 2|0 1|0 0|1 1/2 2|0" ]
[ "$(counts before.vcf)" = "$(counts after.vcf)" ]
echo "allele counts of both: $(counts after.vcf)"
