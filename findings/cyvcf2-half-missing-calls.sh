#!/bin/sh
# cyvcf2: the missing half of a half-missing call counts as the reference allele.
#
# Expected: `.|1` and `0|.` are mirror images. Each has one called allele, so that the site's
# frequency of the alternate allele is 1 of 2, as `bcftools +fill-tags` and scikit-allel say, and
# both calls are of one type with one phase mark.
# Seen: `aaf` is 1 of 4, `.|1` is heterozygous and `0|.` a called homozygous reference, and
# `gt_phases` calls the first unphased although `genotypes` says that both are phased.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet cyvcf2==0.35.0 numpy==2.4.6 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import cyvcf2

open("half.vcf", "w").write(
    "##fileformat=VCFv4.2\n"
    "##contig=<ID=1,length=1000>\n"
    '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n'
    "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tP1\tP2\tP3\n"
    "1\t20\t.\tA\tC\t.\t.\t.\tGT\t.|1\t0|.\t.|.\n"
)
(variant,) = cyvcf2.VCF("half.vcf")
alleles = [a for call in variant.genotypes for a in call[:2] if a >= 0]
print("cyvcf2", cyvcf2.__version__)
print("called alleles", alleles, "so the frequency is", sum(alleles) / len(alleles))
print("aaf", variant.aaf, "called samples", variant.num_called)
print("gt_types (0 hom. ref., 1 het., 2 unknown)", variant.gt_types.tolist())
print("phase by genotypes", [call[2] for call in variant.genotypes])
print("phase by gt_phases", variant.gt_phases.tolist())
assert sum(alleles) / len(alleles) == 0.5
assert variant.aaf == 0.25 and variant.num_called == 2
assert variant.gt_types.tolist() == [1, 0, 2]
assert [call[2] for call in variant.genotypes] == [True, True, True]
assert variant.gt_phases.tolist() == [False, True, False]
PYTHON
