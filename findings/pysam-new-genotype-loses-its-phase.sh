#!/bin/sh
# pysam: a genotype that is set in a phased call is written as an unphased one.
#
# Expected: `call["GT"] = (1, 0)` in a call read as `0|1` swaps its two haplotypes: `1|0`.
# Seen: it writes `1/0`. Assignment clears the phase, through `GT` and through `alleles`, even of the
# same genotype, and even if `phased` was set to True before; `phased = True` has to follow each.
# One changed call makes a panel unphased there: bcftools no longer counts the site as phased, and
# its INFO/AC stays what it was.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet pysam==0.24.1 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import pysam
import pysam.bcftools

open("x.vcf", "w").write(
    "##fileformat=VCFv4.2\n"
    "##contig=<ID=1,length=100000>\n"
    '##INFO=<ID=AC,Number=A,Type=Integer,Description="Alternate allele count">\n'
    '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n'
    "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tP1\tP2\n"
    "1\t10\t.\tA\tC\t.\tPASS\tAC=2\tGT\t0|1\t0|1\n"
)
print("pysam", pysam.__version__)


def written(change):
    """The call of P1 and the site's AC after `change`, and how many sites bcftools calls phased."""
    with pysam.VariantFile("x.vcf") as source, pysam.VariantFile("y.vcf", "w", header=source.header) as out:
        for record in source:
            change(record.samples["P1"])
            out.write(record)
    call = pysam.bcftools.query("-f", "%AC[ %GT]", "y.vcf").split()
    return call[1], call[0], pysam.bcftools.view("-H", "-p", "y.vcf").count("\n")


def gt(call):
    call["GT"] = (1, 0)


def same(call):
    call["GT"] = call["GT"]


def alleles(call):
    call.alleles = ("C", "C")


def phase_before(call):
    call.phased = True
    call["GT"] = (1, 0)


def phase_after(call):
    call["GT"] = (1, 0)
    call.phased = True


seen = {change.__name__: written(change) for change in (gt, same, alleles, phase_before, phase_after)}
for name, (call, count, phased) in seen.items():
    print(f"{name:12} 0|1 becomes {call}, AC={count}, sites that bcftools calls phased: {phased}")
assert seen == {
    "gt": ("1/0", "2", 0), "same": ("0/1", "2", 0), "alleles": ("1/1", "2", 0),
    "phase_before": ("1/0", "2", 0), "phase_after": ("1|0", "2", 1),
}
PYTHON
