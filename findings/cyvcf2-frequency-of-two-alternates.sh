#!/bin/sh
# cyvcf2: the alternate allele frequency counts a call of two alternate alleles once.
#
# Expected: `Variant.aaf`, the "alternate allele frequency across samples", is 1 less the frequency of
# the reference allele: where every call is `1|2`, nobody has the reference allele and it is 1.
# Seen: 0.5. A call of two different alleles is one of `num_het` and counts one alternate allele,
# though `1|2` has two; `nucl_diversity` follows. With `0|1 1|2 2|2 0|0 1|0` aaf is 0.5, the alternate
# alleles are 6 of 10. bcftools' AC and AN, and scikit-allel, count them all. There is no warning: a
# filter by aaf keeps other sites than one by AC and AN as soon as a site has three alleles.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --only-binary :all: cyvcf2==0.31.4 scikit-allel==1.3.13 pysam==0.24.1 numpy==2.4.6 >pip.log 2>&1 || { cat pip.log; exit 1; }
{
    echo '##fileformat=VCFv4.2'
    echo '##contig=<ID=1,length=100000>'
    echo '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">'
    printf '#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tP1\tP2\tP3\tP4\tP5\n'
    printf '1\t10\t.\tA\tC,G\t.\tPASS\t.\tGT\t1|2\t1|2\t2|1\t1|2\t2|1\n'
    printf '1\t20\t.\tA\tC,G\t.\tPASS\t.\tGT\t0|1\t1|2\t2|2\t0|0\t1|0\n'
    printf '1\t30\t.\tA\tC\t.\tPASS\t.\tGT\t0|1\t1|0\t1|1\t0|0\t1|0\n'
} >panel.vcf
venv/bin/python - <<'PYTHON'
import importlib.metadata

import allel
import numpy as np
import pysam.bcftools
from cyvcf2 import VCF

counts = allel.GenotypeArray(allel.read_vcf("panel.vcf")["calldata/GT"]).count_alleles(max_allele=2)
view = pysam.bcftools.view("--no-version", "--no-header", "-c", "0", "panel.vcf").splitlines()
for package in ("cyvcf2", "scikit-allel", "pysam"):
    print(package, importlib.metadata.version(package))
seen, right = [], []
for variant, ac, line in zip(VCF("panel.vcf"), np.asarray(counts), view):
    info = dict(item.split("=") for item in line.split("\t")[7].split(";"))
    bcftools = sum(map(int, info["AC"].split(","))) / int(info["AN"])
    seen.append(float(variant.aaf))
    right.append(ac[1:].sum() / ac.sum())
    calls = " ".join(map(str, line.split("\t")[9:]))
    print(f"{calls}: aaf {seen[-1]}, bcftools {bcftools}, scikit-allel {right[-1]}")
    assert bcftools == right[-1]
assert right == [1.0, 0.6, 0.5] and seen == [0.5, 0.5, 0.5]
PYTHON
