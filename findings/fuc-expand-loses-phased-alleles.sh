#!/bin/sh
# fuc: splitting a site with two alternate alleles makes every phased genotype a single reference.
#
# Expected: `VcfFrame.expand` makes a record for each alternate allele. A phased `1|2` is `1|0` in
# the first and `0|1` in the second, or `0/1` in both, which an unphased `1/2` becomes; or it is
# refused.
# Seen: genotypes are taken apart at `/` only. A phased one is looked up as a whole, is no
# alternate allele, and becomes `0`, one reference allele without a partner: phased panels lose all
# carriers at their multiallelic sites, and half of the alleles there. `compute_info` counts AC=0
# and AN=4 for four people with five alternate alleles between them. Sites with one alternate
# allele in the same file stay as they were, and nothing warns.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet fuc==0.38.0 numpy==1.26.4 pandas==2.3.3 pyranges==0.1.7 pysam==0.24.1 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import importlib.metadata

from fuc import pyvcf

people = {"P1": "1|2", "P2": "0|1", "P3": "2|2", "P4": "0|0"}
print("fuc", importlib.metadata.version("fuc"))
found = {}
for mark in ("/", "|"):
    sites = {
        "CHROM": ["1", "1"],
        "POS": [100, 200],
        "ID": [".", "."],
        "REF": ["A", "A"],
        "ALT": ["C,G", "T"],
        "QUAL": [".", "."],
        "FILTER": [".", "."],
        "INFO": [".", "."],
        "FORMAT": ["GT", "GT"],
        **{name: [gt.replace("|", mark), f"0{mark}1"] for name, gt in people.items()},
    }
    table = pyvcf.VcfFrame.from_dict([], sites).expand().compute_info("AC").compute_info("AN").df
    print("before:", [gt.replace("|", mark) for gt in people.values()], "at A>C,G")
    for row in table.itertuples():
        found[mark, row.ALT] = [getattr(row, name) for name in people], row.INFO
        print(f"after: {row.REF}>{row.ALT} {found[mark, row.ALT][0]} {row.INFO}")
assert found["/", "C"] == (["0/1", "0/1", "0/0", "0/0"], "AC=2;AN=8")
assert found["/", "G"] == (["0/1", "0/0", "1/1", "0/0"], "AC=3;AN=8")
assert found["|", "C"] == found["|", "G"] == (["0", "0", "0", "0"], "AC=0;AN=4")
assert found["|", "T"] == (["0|1"] * 4, "AC=4;AN=8")
PYTHON
