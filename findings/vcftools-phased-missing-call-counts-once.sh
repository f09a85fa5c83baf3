#!/bin/sh
# vcftools 0.1.16 (Debian 12): a missing call that is phased counts as one missing chromosome.
#
# Expected: `--missing-site` gives the same for `.|.` as for `./.`: with one of four people missing,
# N_DATA 8, N_MISS 2, F_MISS 0.25, as `--max-missing` reckons and as plink2 and bcftools do.
# Seen: `.|.` is taken for a haploid call: N_DATA 7, N_MISS 1, F_MISS 0.143. In a phased panel every
# missing call is so written, and a site in which half of the people are missing has an F_MISS of a
# third. It then passes a bound on F_MISS that it fails in an unphased file, and N_DATA changes
# from site to site. `--max-missing` of the same program counts both alike.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
vcftools --version | tee version
grep -q '0\.1\.16' version || { echo "needs vcftools 0.1.16: apt-get install vcftools=0.1.16-3+b1"; exit 1; }
plink2 --version | grep 'PLINK v2.00a3.5' || { echo "needs plink2 2.00a3.5: apt-get install plink2"; exit 1; }
bcftools --version | head -n 1
{
    echo '##fileformat=VCFv4.2'
    echo '##contig=<ID=1,length=100000>'
    echo '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">'
    printf '#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tP1\tP2\tP3\tP4\n'
    printf '1\t10\ta\tA\tC\t.\tPASS\t.\tGT\t0|0\t0|1\t.|.\t1|1\n'
    printf '1\t20\tb\tA\tC\t.\tPASS\t.\tGT\t0/0\t0/1\t./.\t1/1\n'
    printf '1\t30\tc\tA\tC\t.\tPASS\t.\tGT\t.|.\t0|1\t.|.\t1|1\n'
    printf '1\t40\td\tA\tC\t.\tPASS\t.\tGT\t./.\t0/1\t./.\t1/1\n'
} >panel.vcf
vcftools --vcf panel.vcf --missing-site --out v 2>log
cat v.lmiss
plink2 --vcf panel.vcf --missing variant-only --out p >log
bcftools +fill-tags panel.vcf -- -t F_MISSING 2>log | bcftools query -f '%ID %F_MISSING\n' >b
vcftools --vcf panel.vcf --max-missing 0.76 --counts --out kept 2>log
awk 'NR > 1 { print $2, $3, $5, $6 }' v.lmiss >seen
printf '10 7 1 0.142857\n20 8 2 0.25\n30 6 2 0.333333\n40 8 4 0.5\n' | cmp - seen
awk 'NR > 1 { print $2, $NF }' p.vmiss | tee plink2
printf 'a 0.25\nb 0.25\nc 0.5\nd 0.5\n' >right
cmp right plink2
cmp right b
[ "$(awk 'END { print NR }' kept.frq.count)" = 1 ]
vcftools --vcf panel.vcf --max-missing 0.74 --counts --out kept 2>log
[ "$(awk 'END { print NR }' kept.frq.count)" = 3 ]
echo "--max-missing 0.74 keeps both of the first two, 0.76 neither; plink2 and bcftools: 0.25 each"
