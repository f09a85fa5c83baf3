#!/bin/sh
# bcftools 1.16 (Debian 12): two sites called together in one person are in complete LD.
#
# Expected: the correlation of two sites isn't defined where one person alone is called at both, nor
# where a site has one genotype in everybody. Such a pair has no r2, as in PLINK 1.9 (nan), and
# `+prune` keeps both sites, as it does where nobody is called at both.
# Seen: r2 is 1 with one common person, whatever the genotypes are, and for two sites without
# variation, such as one at which everybody is heterozygous and one that is all reference. With
# `-m 0.9` the second site is pruned. Sites with many missing calls are thus dropped for an LD with
# sites that tell nothing about them, and a filter of r2 leaves the fewer of them the more are missing.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
bcftools --version 2>&1 | head -n 1 | tee version
grep -qx 'bcftools 1.16' version || { echo "needs bcftools 1.16: apt-get install bcftools=1.16-1"; exit 1; }
plink1.9 --version
pair() {
    {
        echo '##fileformat=VCFv4.2'
        echo '##contig=<ID=1,length=100000>'
        echo '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">'
        printf '#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tP1\tP2\tP3\tP4\tP5\tP6\n'
        # shellcheck disable=SC2086
        printf '1\t%s\t%s\tA\tC\t.\tPASS\t.\tGT\t%s\t%s\t%s\t%s\t%s\t%s\n' 10 a $1 20 b $2
    } >x.vcf
    seen=$(bcftools +prune -a r2 x.vcf 2>log | bcftools view -H | cut -f 8 | tail -n 1 | tr ';' '\n' | sed -n 's/^R2=//p')
    kept=$(bcftools +prune -m R2=0.9 x.vcf 2>log | bcftools view -H | wc -l)
    plink1.9 --vcf x.vcf --double-id --r2 square --out x >log
    echo "bcftools r2 ${seen:-none}, kept $kept of 2; PLINK 1.9 r2 $(head -n 1 x.ld | cut -f 2)" | tee -a result
}
echo "nobody called at both:"
pair '0/1 0/0 1/1 ./. ./. ./.' './. ./. ./. 0/0 0/1 1/1'
echo "one person:"
pair '0/1 0/0 1/1 0/0 ./. ./.' './. ./. ./. 0/1 0/1 1/1'
echo "everybody, the first site all heterozygous and the second all reference:"
pair '0/1 0/1 0/1 0/1 0/1 0/1' '0/0 0/0 0/0 0/0 0/0 0/0'
echo "everybody, two sites that vary:"
pair '0/1 0/0 0/1 1/1 0/0 0/1' '0/1 1/1 0/0 0/1 0/1 0/0'
cat >expected <<'END'
bcftools r2 none, kept 2 of 2; PLINK 1.9 r2 nan
bcftools r2 1, kept 1 of 2; PLINK 1.9 r2 nan
bcftools r2 1, kept 1 of 2; PLINK 1.9 r2 nan
bcftools r2 0.16955, kept 2 of 2; PLINK 1.9 r2 0.16955
END
cmp result expected
