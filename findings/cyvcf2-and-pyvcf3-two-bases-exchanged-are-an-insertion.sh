#!/bin/sh
# cyvcf2 and PyVCF3: an exchange of two bases by two others is an insertion.
#
# Expected: AC>GT has two alleles of one length and is no insertion or deletion: `is_indel` is
# False, as bcftools' `-v indels` leaves it out and `-v mnps` finds it, and as vcfpy calls it MNV.
# Seen: `is_indel` is True in both packages and the subtype "ins" (`var_subtype`). cyvcf2 says
# `is_mnp` of the same record, and its `var_type` is "mnp", so that a loop that counts
# `is_indel` and `is_mnp` counts it twice; PyVCF3's type is "indel". ACG>TTA is one as well. Panels
# with MNPs (gnomAD's, or any output of `bcftools norm` without `--atomize`) have too many insertions,
# and an indel filter drops substitutions, without a word.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet cyvcf2==0.35.0 PyVCF3==1.0.4 setuptools==80.9.0 >pip.log 2>&1 || { cat pip.log; exit 1; }
{
    echo '##fileformat=VCFv4.2'
    echo '##contig=<ID=1,length=100000>'
    echo '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">'
    printf '#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tP1\n'
    printf '1\t%s\t.\t%s\t%s\t.\tPASS\t.\tGT\t0|1\n' 10 A C 20 AC GT 30 ACG TTA 40 A ATT 50 ACG A
} >x.vcf
venv/bin/python - <<'PYTHON'
import importlib.metadata

import cyvcf2
import vcf

for name in ("cyvcf2", "PyVCF3"):
    print(name, importlib.metadata.version(name))
seen = []
for first, second in zip(cyvcf2.VCF("x.vcf"), vcf.Reader(filename="x.vcf")):
    row = (
        f"{first.REF}>{first.ALT[0]}",
        (first.var_type, first.var_subtype, first.is_indel, first.is_mnp),
        (second.var_type, second.var_subtype, second.is_indel),
    )
    print(f"{row[0]:8} cyvcf2 {row[1]}, PyVCF3 {row[2]}")
    seen.append(row)
for name, one, other in seen[1:3]:
    assert one == ("mnp", "ins", True, True) and other == ("indel", "ins", True), name
assert seen[0][1][2:] == (False, False) and seen[0][2][2] is False
assert seen[3][1] == ("indel", "ins", True, False) and seen[4][1][1] == "del"
PYTHON
