#!/bin/sh
# vcfpy and PyVCF3: the `*` allele is a substitution of one base.
#
# Expected: `*` says that the site lies in a deletion that another record describes, and is no base:
# a record whose only alternate allele it is holds no SNV, as for bcftools, whose TYPE of it is
# "overlap" and whose `-v snps` leaves it out, and for cyvcf2 (`is_snp` is False).
# Seen: vcfpy's type of the allele is "SNV" and `is_snv()` True; PyVCF3's `is_snp` is True and its
# `var_type` "snp". vcfpy says `is_snv()`, too, of a record without any alternate allele (`.`).
# Sites split into one record for each allele (`bcftools norm -m -any`) have many of these: each
# deletion's carriers come back as people with SNVs all along it, and nothing warns.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet vcfpy==0.14.2 PyVCF3==1.0.4 cyvcf2==0.35.0 pysam==0.24.1 setuptools==80.9.0 >pip.log 2>&1 || { cat pip.log; exit 1; }
{
    echo '##fileformat=VCFv4.2'
    echo '##contig=<ID=1,length=100000>'
    echo '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">'
    printf '#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tP1\tP2\n'
    printf '1\t9\t.\tGAT\tG\t.\tPASS\t.\tGT\t0|1\t0|0\n'
    printf '1\t10\t.\tA\t*\t.\tPASS\t.\tGT\t0|1\t0|0\n'
    printf '1\t20\t.\tA\tC\t.\tPASS\t.\tGT\t0|1\t0|0\n'
    printf '1\t30\t.\tA\t.\t.\tPASS\t.\tGT\t0|0\t0|0\n'
} >x.vcf
venv/bin/python - <<'PYTHON'
import importlib.metadata

import cyvcf2
import pysam
import pysam.bcftools
import vcf
import vcfpy

for name in ("vcfpy", "PyVCF3", "cyvcf2", "pysam"):
    print(name, importlib.metadata.version(name))
snps = {
    int(line.split("\t")[1]) for line in pysam.bcftools.view("-H", "-v", "snps", "x.vcf").splitlines()
}
seen = []
for a, b, c in zip(vcfpy.Reader.from_path("x.vcf"), vcf.Reader(filename="x.vcf"), cyvcf2.VCF("x.vcf")):
    alternates = [alternate.type for alternate in a.ALT]
    seen.append((a.is_snv(), b.is_snp, c.is_snp, a.POS in snps))
    print(
        f"{a.POS} {c.REF}>{','.join(c.ALT) or '.'}: vcfpy is_snv {a.is_snv()} {alternates},"
        f" PyVCF3 is_snp {b.is_snp} ({b.var_type}), cyvcf2 {c.is_snp}, bcftools {a.POS in snps}"
    )
deletion, star, base, none = seen
assert not any(deletion) and all(base)
assert star == (True, True, False, False)
assert none == (True, False, False, False)
PYTHON
