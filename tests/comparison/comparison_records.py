"""Records of runs that never happened, for comparisons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from haplobench.compare.measured import Definition, Measured, gather
from haplobench.compare.model import Side

DEFINITIONS = {
    ("ld", "rmse"): Definition("RMSE", "", "lower", 0.0, 0.01, True, "fidelity"),
    ("ld", "r"): Definition("r", "", "higher", 1.0, 0.01, False, "fidelity"),
    ("ld", "bias"): Definition("Bias", "", "closer", 0.0, 0.01, False, "fidelity"),
    ("ld", "pairs"): Definition("Pairs", "", "info", family="fidelity"),
    ("leak", "copies"): Definition("Copies", "", "lower", 0.0, 0.01, True, "privacy"),
    ("time", "fit_cpu"): Definition("Fit", "s", "lower", headline=True, family="performance"),
    ("time", "rate"): Definition("Rate", "alleles/s", "higher", family="performance"),
}


def record(**given: Any) -> dict[str, Any]:
    """A whole record of schema 1; what isn't given is plausible."""
    row: dict[str, Any] = {
        "run_id": "20260101T000000Z-aa", "suite": "tiny", "suite_digest": "s",
        "dataset": "chr20", "dataset_digest": "d1",
        "generator": "model", "generator_name": "model", "generator_version": "1",
        "generator_distribution": "x 1", "role": "generator", "params_digest": "p",
        "seed": 1, "replicate": 0, "world_size": 1, "run_key": "k",
        "git_sha": "a" * 40, "git_dirty": False, "lock_digest": "l", "hardware": "h1",
        "status": "ok", "phase": "measure", "metric": "ld", "metric_version": "1",
        "metric_distribution": "x 1", "submetric": "rmse", "labels": {}, "value": 0.1,
        "standard_error": None, "n": 10, "unit": "", "direction": "lower", "wall_s": 0.1,
        "error_type": "", "error": "", "note": "", "series": "",
        "started": "2026-01-01T00:00:00+00:00", "schema": 1,
    }  # fmt: skip
    row |= given
    known = DEFINITIONS.get((row["metric"], row["submetric"]))
    if known is not None:
        row |= {"direction": known.direction, "unit": known.unit}
        row.setdefault("family", known.family)
    row.setdefault("family", "fidelity")
    row.setdefault("cell_id", f"{row['generator']}-{row['seed']}")
    return row


def records(values: Iterable[float], **given: Any) -> list[dict[str, Any]]:
    """A record per value, of seeds 1, 2, …"""
    return [record(seed=at, value=value, **given) for at, value in enumerate(values, 1)]


def measured(rows: Iterable[Mapping[str, Any]], name: str = "side") -> Measured:
    """What `gather` makes of records, with the definitions above."""
    found = gather(rows, Side(name))
    found.definitions = dict(DEFINITIONS)
    return found
