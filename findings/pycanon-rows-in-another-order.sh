#!/bin/sh
# pyCANON: l-diversity and t-closeness of a table change with the order of its rows.
#
# Expected: these are properties of the set of records: sorted, shuffled or filtered, the same
# records have the same k, l and t.
# Seen: the classes of equal quasi-identifiers are lists of the table's labels, and the sensitive
# values are looked up by them as if they were row numbers. Only in a table labelled 0, 1, 2 and so
# on from the top are both the same. After `sample(frac=1)` or `sort_values` the classes hold other
# people's values: three classes with a single diagnosis each (l = 1, t = 0.67) come out as l = 2,
# t = 0.33, a table that tells everything as a safer one. k, a count of labels, stays right. With
# `reset_index(drop=True)` all is right.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet pycanon==1.0.1.post2 numpy==1.26.4 pandas==2.3.3 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import importlib.metadata

import pandas as pd
from pycanon import anonymity

table = pd.DataFrame(
    {"age": ["30s", "30s", "40s", "40s", "50s", "50s"], "diagnosis": ["a", "a", "b", "b", "c", "c"]}
)
shuffled = table.sample(frac=1, random_state=1)
tables = {
    "as made": table,
    "shuffled": shuffled,
    "shuffled, labelled anew": shuffled.reset_index(drop=True),
}
print("pycanon", importlib.metadata.version("pycanon"))
found = {}
for name, records in tables.items():
    assert (records.groupby("age").diagnosis.nunique() == 1).all()
    found[name] = (
        anonymity.k_anonymity(records, ["age"]),
        anonymity.l_diversity(records, ["age"], ["diagnosis"]),
        round(float(anonymity.t_closeness(records, ["age"], ["diagnosis"])), 3),
    )
    print(f"{name}: k = {found[name][0]}, l = {found[name][1]}, t = {found[name][2]}")
assert found["as made"] == found["shuffled, labelled anew"] == (2, 1, 0.667)
assert found["shuffled"] == (2, 2, 0.333)
PYTHON
