"""A made-up run with lists of people: who is given away by which cohort."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from report_fixture import build_run

from haplobench.results.records import Record, append_records
from haplobench.results.table import load_run

NAMES = ["HG01", "HG02", "HG03"]
COHORTS = {1: ([True, False, False], [0.04, 0.9, 0.9]), 2: ([True, True, False], [0.01, 0.02, 1.0])}
"""By seed: who is flagged, and q."""


def build_listed(folder: Path) -> Path:
    """The demo run; on its first dataset two cohorts of `patchwork` and one of `chain` are listed.

    `chain` gives nobody away.
    """
    build_run(folder)
    records = load_run(folder).records
    listed = [_list(folder, records, "patchwork", seed, *COHORTS[seed]) for seed in COHORTS]
    listed.append(_list(folder, records, "chain", 1, [False] * 3, [1.0] * 3))
    append_records(folder / "records.jsonl", listed)
    info = json.loads((folder / "run.json").read_text())
    info["cohorts"] = [
        {
            "dataset": "chr20-eur",
            "generator": "patchwork",
            "seed": 1,
            "world_size": 1,
            "digests": {"draw0": "ab" * 32, "train": "cd" * 32},
        }
    ]
    (folder / "run.json").write_text(json.dumps(info))
    return folder


def _list(
    folder: Path,
    records: list[Record],
    generator: str,
    seed: int,
    flagged: list[bool],
    q: list[float],
) -> Record:
    place = next(
        one
        for one in records
        if (one.dataset, one.generator, one.seed) == ("chr20-eur", generator, seed)
        and one.metric == "copies"
    )
    series = f"series/{generator}{seed}.npz"
    (folder / "series").mkdir(exist_ok=True)
    columns = {
        "sample": np.array(NAMES),
        "population": np.array(["GBR", "FIN", "GBR"]),
        "flagged": np.array(flagged),
        "evidence": np.array(["both haplotypes copied", "longest tract", ""]),
        "p": np.array(q) / 10,
        "q": np.array(q),
        "kinship": np.array([0.5, np.inf, -0.1]),
    }
    np.savez(folder / series, **{f"people/{name}": values for name, values in columns.items()})
    return replace(place, submetric="tract", series=series)
