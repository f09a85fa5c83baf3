#!/bin/sh
# pyCANON: (c, l)-diversity compares the rarest value with the commonest, the wrong way round.
#
# Expected: recursive (c, l)-diversity (Machanavajjhala et al. 2007) asks that a class's commonest
# sensitive value is seen less than c times as often as the l-th commonest and all rarer ones
# together, so that c is small for an even class and large where one value is nearly everybody's.
# Seen: counts are sorted upwards, so that the "commonest" is the rarest and the sum holds the
# commonest. A class in which diagnoses are seen 97, 1, 1 and 1 times is called (1, 4)-diverse, the
# best there is, where c is 98; one with 25 of each has c = 2, which is right, and looks worse. c
# is never above 2. Who chooses among tables by their c takes the one that gives everybody's
# diagnosis away.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet pycanon==1.0.1.post2 numpy==1.26.4 pandas==2.3.3 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import importlib.metadata

import numpy as np
import pandas as pd
from pycanon import anonymity

print("pycanon", importlib.metadata.version("pycanon"))
found = {}
for counts in ((25, 25, 25, 25), (40, 30, 20, 10), (70, 10, 10, 10), (97, 1, 1, 1)):
    table = pd.DataFrame({"age": "30s", "diagnosis": np.repeat(["a", "b", "c", "d"], counts)})
    c, l = anonymity.recursive_c_l_diversity(table, ["age"], ["diagnosis"])
    least = counts[0] // sum(counts[l - 1 :]) + 1  # whole c with r_1 < c (r_l + ...)
    found[counts] = int(c), int(l), least
    print(f"diagnoses {counts}: pyCANON's c = {c}, l = {l}; by the definition c = {least}")
assert found[25, 25, 25, 25] == (2, 4, 2)
assert found[40, 30, 20, 10] == (1, 4, 5)
assert found[70, 10, 10, 10] == (1, 4, 8)
assert found[97, 1, 1, 1] == (1, 4, 98)
PYTHON
