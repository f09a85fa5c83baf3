#!/bin/sh
# scikit-allel: haplotype statistics take a missing call for an allele of its own.
#
# Expected: a haplotype with a missing call is left out of haplotype diversity and of Garud's H, or
# counts as NaN, as in the package's statistics of allele counts (which skip missing calls).
# Seen: -1 tells haplotypes apart. Four haplotypes that agree in all their calls have diversity
# 0.83 in place of 0, and H12 of 0.62 in place of 1, without a warning.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet scikit-allel==1.3.13 numpy==2.4.6 pandas scipy >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import allel
import numpy as np

called = allel.HaplotypeArray(np.zeros((3, 4), np.int8))
holes = allel.HaplotypeArray(np.zeros((3, 4), np.int8))
holes[0, 1] = holes[2, 3] = -1
print("scikit-allel", allel.__version__)
for name, panel in (("all called", called), ("two missing", holes)):
    h1, h12, h123, h2_h1 = allel.garud_h(panel)
    diversity = allel.haplotype_diversity(panel)
    counts = panel.count_alleles().tolist()
    print(f"{name}: allele counts {counts}, diversity {diversity:.3f}, H1 {h1:.3f}, H12 {h12:.3f}")
assert allel.haplotype_diversity(called) == 0 and allel.garud_h(called)[1] == 1
assert np.isclose(allel.haplotype_diversity(holes), 5 / 6)
assert np.isclose(allel.garud_h(holes)[0], 0.375) and np.isclose(allel.garud_h(holes)[1], 0.625)
PYTHON
