#!/bin/sh
# pysam and cyvcf2: one reads a VCF 4.5 file, the other ends in an error at its first genotype.
#
# Expected: VCF 4.5 lets a genotype begin with a phase mark ("|0/1"). Both packages are bindings
# of htslib and current on the same day, so that both read it, or neither.
# Seen: pysam reads the file. cyvcf2's wheel holds an older htslib, which takes the mark for a
# broken number and raises at the record. (pysam gives `phased` False for "|0/1".)
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet pysam==0.24.1 cyvcf2==0.35.0 numpy==2.4.6 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import importlib.metadata

import cyvcf2
import pysam

open("leading.vcf", "w").write(
    "##fileformat=VCFv4.5\n"
    "##contig=<ID=1,length=1000>\n"
    '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n'
    "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tP1\tP2\n"
    "1\t10\t.\tA\tC\t.\tPASS\t.\tGT\t|0|1\t|0/1\n"
)
(record,) = pysam.VariantFile("leading.vcf")
calls = [(call["GT"], call.phased) for call in record.samples.values()]
print("pysam", pysam.__version__, "reads", calls)
assert calls == [((0, 1), True), ((0, 1), False)]
try:
    calls = [variant.genotypes for variant in cyvcf2.VCF("leading.vcf")]
except Exception as error:
    print("cyvcf2", cyvcf2.__version__, "raises", error)
else:
    raise SystemExit(f"cyvcf2 {cyvcf2.__version__} reads {calls}")
PYTHON
