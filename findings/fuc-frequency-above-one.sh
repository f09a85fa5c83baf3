#!/bin/sh
# fuc: a genotype beside a number with a decimal point isn't counted in AN, yet is in AC.
#
# Expected: `compute_info` of AN counts the called alleles and skips missing genotypes, so that AF,
# AC over AN, is at most 1; what stands beside the genotype (dosage, depth, quality) doesn't
# matter.
# Seen: a call is taken for missing if there is a `.` anywhere in the person's column. `0|1:1.02`
# (GT:DS) adds nothing to AN, `0|1:1` adds 2, and `0/1:.`, a call without a depth, adds none
# either, while AC counts the alleles of all of them. Imputed sites get an AF above 1, or `inf`, in
# the file.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet fuc==0.38.0 numpy==1.26.4 pandas==2.3.3 pyranges==0.1.7 pysam==0.24.1 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import importlib.metadata
import warnings

from fuc import pyvcf

warnings.simplefilter("ignore")
people = {
    "P1": ["0|1:1", "0|1:1.02", "0|1:1.02", "0/1:."],
    "P2": ["0|1:1", "0|1:0.98", "0|1:0.98", "0/0:9"],
    "P3": ["1|1:2", "1|1:1.97", "1|1:1.97", "1/1:."],
    "P4": ["0|0:0", "0|1:1", "0|0:0.01", "./.:."],
}
n = 4
sites = {
    "CHROM": ["1"] * n,
    "POS": [100, 200, 300, 400],
    "ID": ["whole", "dosages", "all", "depth"],
    "REF": ["A"] * n,
    "ALT": ["C"] * n,
    "QUAL": ["."] * n,
    "FILTER": ["."] * n,
    "INFO": ["."] * n,
    "FORMAT": ["GT:DS"] * 3 + ["GT:DP"],
    **people,
}
table = pyvcf.VcfFrame.from_dict([], sites)
for key in ("AC", "AN", "AF"):
    table = table.compute_info(key)
print("fuc", importlib.metadata.version("fuc"))
found = {}
for row in table.df.itertuples():
    found[row.ID] = row.INFO
    print(row.ID, row.FORMAT, [getattr(row, name) for name in people], row.INFO)
assert found["whole"] == "AC=4;AN=8;AF=0.500"
assert found["dosages"] == "AC=5;AN=2;AF=2.500"
assert found["all"] == "AC=4;AN=0;AF=inf"
assert found["depth"] == "AC=3;AN=2;AF=1.500"
PYTHON
