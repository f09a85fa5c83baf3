#!/bin/sh
# cyvcf2: `aaf` counts a man's one X chromosome twice, and misses an allele of `1|2`.
#
# Expected: the frequency of alternate alleles is their number over that of the called alleles:
# at a site of the X chromosome with `0`, `1|1` and `0|1` it is 3 of 5, and 5 of 6 at one
# with `1|2`, `2|2` and `0|2`.
# Seen: .5 and .667. Every sample counts as two alleles, whatever its ploidy (three triploid samples
# with `0|1|1` give .5, too, in place of .667), and every heterozygote as one alternate allele.
# `nucl_diversity` is built on the same number.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet cyvcf2==0.35.0 numpy==2.4.6 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import cyvcf2

sites = {
    "haploid": ("C", "0\t1|1\t0|1"),
    "two alternates": ("C,G", "1|2\t2|2\t0|2"),
    "triploid": ("C", "0|1|1\t0|1|1\t0|1|1"),
    "diploid": ("C", "0|0\t1|1\t0|1"),
}
open("x.vcf", "w").write(
    "##fileformat=VCFv4.2\n"
    "##contig=<ID=X,length=1000>\n"
    '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n'
    "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tP1\tP2\tP3\n"
    + "".join(
        f"X\t{10 + i}\t.\tA\t{alternates}\t.\t.\t.\tGT\t{calls}\n"
        for i, (alternates, calls) in enumerate(sites.values())
    )
)
print("cyvcf2", cyvcf2.__version__)
seen = {}
for name, variant in zip(sites, cyvcf2.VCF("x.vcf")):
    alleles = [allele for call in variant.genotypes for allele in call[:-1] if allele >= 0]
    alternate = sum(allele > 0 for allele in alleles) / len(alleles)
    n = len(alleles)
    pairs = sum(alleles.count(a) * (n - alleles.count(a)) for a in set(alleles)) / (n * (n - 1))
    seen[name] = round(alternate, 3), round(variant.aaf, 3)
    print(f"{name}: alternate alleles {alternate:.3f}, aaf {variant.aaf:.3f};",
          f"pairs that differ {pairs:.3f}, nucl_diversity {variant.nucl_diversity:.3f}")
assert seen["diploid"] == (0.5, 0.5) and seen["haploid"] == (0.6, 0.5)
assert seen["two alternates"] == (0.833, 0.667) and seen["triploid"] == (0.667, 0.5)
PYTHON
