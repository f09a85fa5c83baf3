"""Records of runs that never happened, for comparisons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from haplobench.compare.model import Side, SideData, gather
from haplobench.results.description import SubmetricInfo
from haplobench.results.records import parse_record
from haplobench.results.table import RunTable

DEFINITIONS = {
    (metric, name): SubmetricInfo(
        name, title, "", unit, direction, ideal, min_effect, headline, family
    )
    for metric, name, title, unit, direction, ideal, min_effect, headline, family in (
        ("ld", "rmse", "RMSE", "", "lower", 0.0, 0.01, True, "fidelity"),
        ("ld", "r", "r", "", "higher", 1.0, 0.01, False, "fidelity"),
        ("ld", "bias", "Bias", "", "closer", 0.0, 0.01, False, "fidelity"),
        ("ld", "pairs", "Pairs", "", "info", None, 0.0, False, "fidelity"),
        ("leak", "copies", "Copies", "", "lower", 0.0, 0.01, True, "privacy"),
        ("time", "fit_cpu", "Fit", "s", "lower", None, 0.0, True, "performance"),
        ("time", "rate", "Rate", "alleles/s", "higher", None, 0.0, False, "performance"),
    )
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


def measured(rows: Iterable[Mapping[str, Any]], name: str = "side") -> SideData:
    """What `gather` makes of records, with the definitions above."""
    side = gather(RunTable.of([parse_record(dict(row), "here") for row in rows]), Side(name))
    side.definitions = dict(DEFINITIONS)
    return side
