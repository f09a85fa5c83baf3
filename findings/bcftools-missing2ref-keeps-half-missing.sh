#!/bin/sh
# bcftools 1.16 (Debian 12): `+missing2ref` fills one half of a phased missing call.
#
# Expected: the plugin "sets missing genotypes to ref": `.|.` becomes `0|0`, as `./.` becomes `0/0`.
# Seen: `.|.` becomes `0|.`, and `1|.` stays: after a `|` the missing allele isn't known as one. With
# `-m` (major allele) it is `1|.`. `+dosage` has the same blind spot: `.|1` is unknown (-1), and
# `0|.` has dosage 0. `+setGT -- -t ./. -n 0` ("completely missing") finds no `.|.`. A phased panel
# that went through one of them has missing calls where none are expected, without a word.
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
    printf '#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tP1\tP2\tP3\tP4\tP5\n'
    printf '1\t10\t.\tA\tC\t.\tPASS\t.\tGT\t.|.\t./.\t.|1\t1|.\t1|1\n'
    printf '1\t20\t.\tA\tC\t.\tPASS\t.\tGT\t.|.\t./.\t.|1\t0|.\t1|1\n'
} >x.vcf
calls() { bcftools query -f '[%GT ]'; }
bcftools +missing2ref x.vcf 2>log | calls >reference
bcftools +missing2ref x.vcf -- -m 2>log | calls >major
bcftools +setGT x.vcf -- -t ./. -n 0 2>log | calls >set
bcftools +dosage x.vcf | cut -f 5- | tail -n 1 | tr '\t' ' ' >dosage
echo "calls:           $(calls <x.vcf)"
for name in reference major set; do printf "%-16s %s\n" "$name:" "$(cat $name)"; done
echo "dosage (site 2): $(cat dosage)"
[ "$(cat reference)" = "0|. 0/0 0|1 1|. 1|1 0|. 0/0 0|1 0|. 1|1 " ]
[ "$(cat major)" = "1|. 1/1 1|1 1|. 1|1 1|. 1/1 1|1 0|. 1|1 " ]
[ "$(cat set)" = ".|. 0/0 .|1 1|. 1|1 .|. 0/0 .|1 0|. 1|1 " ]
[ "$(cat dosage)" = "-1.0 -1.0 -1.0 0.0 2.0" ]
