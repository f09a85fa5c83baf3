#!/bin/sh
# vcztools: one site with two alternate alleles, and `--exclude` of a frequency excludes nothing.
#
# Expected: `-e 'AF>0.2'` leaves out the sites that `-i 'AF>0.2'` keeps, as in bcftools, whose
# filter language vcztools takes over.
# Seen: in a store whose AF has room for two values the unused second value of every other site
# counts as "not above 0.2", so that `-e` keeps all sites. `-i 'AF>0.2'` is right, and so is `-e`
# in a store of sites with one alternate allele each.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet bio2zarr[vcf]==0.2.1 vcztools==0.2.0 pysam==0.24.1 zarr==3.1.6 numpy==2.4.6 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import importlib.metadata
import subprocess

import pysam
import pysam.bcftools

head = (
    "##fileformat=VCFv4.2\n"
    "##contig=<ID=1,length=100000>\n"
    '##INFO=<ID=AF,Number=A,Type=Float,Description="Frequency">\n'
    '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n'
    "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tP1\n"
)
rows = [
    "1\t1000\t.\tA\tC\t.\tPASS\tAF=0.5\tGT\t0|1\n",
    "1\t2000\t.\tA\tC\t.\tPASS\tAF=0.01\tGT\t0|1\n",
    "1\t3000\t.\tA\tC\t.\tPASS\tAF=0.4\tGT\t0|1\n",
    "1\t4000\t.\tA\tC,G\t.\tPASS\tAF=0.01,0.02\tGT\t0|1\n",
]
print("vcztools", importlib.metadata.version("vcztools"), "bcftools of pysam", pysam.__version__)
seen = {}
for name, lines in (("one", rows[:3]), ("two", rows)):
    open(f"{name}.vcf", "w").write(head + "".join(lines))
    pysam.tabix_index(f"{name}.vcf", preset="vcf", keep_original=True)
    subprocess.run(["venv/bin/vcf2zarr", "convert", f"{name}.vcf.gz", f"{name}.vcz"],
                   check=True, capture_output=True)
    for option in ("-i", "-e"):
        words = ["query", option, "AF>0.2", "-f", "%POS\\n"]
        done = subprocess.run(["venv/bin/vcztools", *words, f"{name}.vcz"],
                              check=True, capture_output=True, text=True)
        bcftools = pysam.bcftools.query(*words[1:], f"{name}.vcf.gz").split()
        seen[name, option] = done.stdout.split(), bcftools
        print(f"at most {name} alternate(s), {option} AF>0.2: vcztools", *done.stdout.split(),
              "- bcftools", *bcftools)
for key in (("one", "-i"), ("one", "-e"), ("two", "-i")):
    assert seen[key][0] == seen[key][1]
assert seen["two", "-e"] == (["1000", "2000", "3000", "4000"], ["2000", "4000"])
PYTHON
