"""Write the numbers of a run: `python -m haplobench_trackers 1kg`."""

from __future__ import annotations

import sys

import haplobench
from haplobench_trackers.sinks import write

table = haplobench.load_run(*sys.argv[1:]).to_dataframe()
table = table[table.value.notna() & (table.labels == "")]
write(
    {
        f"{row.dataset}/{row.generator}/{row.metric}.{row.submetric}": float(row.value)
        for row in table.itertuples()
    }
)
