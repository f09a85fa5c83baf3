#!/bin/sh
# moments: of a BED file's regions only those before the end of its last line count.
#
# Expected: `Spectrum.from_vcf` keeps the sites that lie in any region of `bed_file`, and `compute_L`
# gives the regions' length in all. BED asks for no order of lines, and the documentation of the two
# for none.
# Seen: the mask has the length of the last line's end, and whatever lies beyond it is dropped. Of two
# regions in falling order the second half of the chromosome is lost: 2 sites of 6 and a length of 3
# instead of 18, both without a warning, and wrong by different factors, so that diversity
# per site, S / L, doubles. bcftools (of pysam) keeps all 6 sites for either order.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --only-binary :all: moments-popgen==1.6.1 pysam==0.24.1 numpy==2.4.6 pandas==2.3.3 scipy==1.16.3 >pip.log 2>&1 || { cat pip.log; exit 1; }
printf '1\t9\t12\n1\t15\t30\n' >rising.bed
printf '1\t15\t30\n1\t9\t12\n' >falling.bed
{
    echo '##fileformat=VCFv4.2'
    echo '##contig=<ID=1,length=100>'
    echo '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">'
    printf '#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tP1\tP2\n'
    for position in 9 10 12 16 20 21 30 31; do
        printf '1\t%s\t.\tA\tC\t.\tPASS\t.\tGT\t0|0\t0|1\n' $position
    done
} >panel.vcf
venv/bin/python -W ignore - <<'PYTHON' 2>log || { cat log; exit 1; }
import importlib.metadata
import warnings

import moments
import moments.Parsing
import pysam.bcftools

print("moments", importlib.metadata.version("moments-popgen"))
seen = {}
for order in ("rising", "falling"):
    file = f"{order}.bed"
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        sites = float(moments.Spectrum.from_vcf("panel.vcf", bed_file=file).S())
        length = int(moments.Parsing.compute_L(file))
    view = pysam.bcftools.view("--no-header", "--targets-file", file, "panel.vcf").splitlines()
    seen[order] = (sites, length)
    print(f"{order}: moments {sites:.0f} sites, length {length}; bcftools {len(view)} sites")
    assert len(view) == 6
    assert not any("BED" in str(w.message) or "order" in str(w.message) for w in said)
assert seen == {"rising": (6, 18), "falling": (2, 3)}
PYTHON
