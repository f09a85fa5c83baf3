#!/bin/sh
# haptools: a simulated trait takes the number of an allele for its dose.
#
# Expected: `simphenotype` with a list of variants refuses one that has two alternate alleles, which
# haptools' own `check_biallelic` (called by `haptools ld`) finds, or counts copies of alternate alleles (0, 1 or 2) or of one of them.
# Seen: it adds up allele numbers. The second alternate allele has twice the effect of the first, a
# genotype `2|2` counts 4 and `1|2` 3, and nothing is said. Which allele is the second one is chance:
# with ALT=G,C in place of C,G the same people have other traits. Without noise (heritability 1) the
# trait is that sum; normalised genotypes and their noise are built on it, too.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet haptools==0.6.2 numpy==2.4.6 pysam==0.24.1 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import importlib.metadata
import subprocess

import pysam
from haptools.data import Genotypes

HEAD = """##fileformat=VCFv4.2
##contig=<ID=1,length=100000>
##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">
"""
COLUMNS = ["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT"]
alleles = [("A", "A"), ("A", "C"), ("C", "C"), ("A", "G"), ("G", "C"), ("G", "G")]
print("haptools", importlib.metadata.version("haptools"), "- people", *("|".join(a) for a in alleles))


def simulate(alternates):
    order = ["A", *alternates]
    calls = ["|".join(str(order.index(allele)) for allele in call) for call in alleles]
    site = ["1", "10", "v", "A", ",".join(alternates), ".", "PASS", ".", "GT"]
    with open("panel.vcf", "w") as out:
        out.write(HEAD)
        print(*COLUMNS, *(f"P{i}" for i in range(len(calls))), sep="\t", file=out)
        print(*site, *calls, sep="\t", file=out)
    pysam.tabix_index("panel.vcf", preset="vcf", force=True)
    command = ["venv/bin/haptools", "simphenotype", "--no-normalize", "--heritability", "1"]
    command += ["--output", "traits.pheno", "panel.vcf.gz", "effects.snplist"]
    said = subprocess.run(command, capture_output=True, text=True)
    assert said.returncode == 0 and "WARN" not in said.stderr.upper(), said.stderr
    lines = open("traits.pheno").read().split("\n")[1:]
    return [float(line.split("\t")[1]) for line in lines if line]


with open("effects.snplist", "w") as out:
    out.write("v\t1.0\n")
traits = {alternates: simulate(alternates) for alternates in ("CG", "GC")}
for alternates, seen in traits.items():
    print(f"trait with ALT={','.join(alternates)}:", *seen)
assert traits == {"CG": [0, 1, 2, 2, 3, 4], "GC": [0, 2, 4, 1, 3, 2]}
genotypes = Genotypes("panel.vcf.gz")
genotypes.read()
try:
    genotypes.check_biallelic()
    raise SystemExit("check_biallelic takes a site with two alternate alleles")
except ValueError as error:
    print("check_biallelic:", error)
PYTHON
