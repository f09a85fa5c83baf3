"""The summary as CSV: tidy (one row per number) and wide (one row per generator)."""

from __future__ import annotations

import csv
import io
from typing import Any

from haplobench.report.model import Cell, Column, DatasetSummary, Summary
from haplobench.report.privacy_claims import Total, claim_rows, claim_totals

TIDY = (
    "dataset", "generator", "role", "family", "metric", "submetric", "labels", "title", "unit",
    "direction", "ideal", "min_effect", "headline", "state", "value", "spread", "spread_over",
    "low", "high", "seeds", "draws", "failed_seeds", "floor_median", "floor_p5", "floor_p95",
    "floor_draws", "floor_score", "place", "attack_p", "attack_adjusted_p",
    "attack_low", "attack_high", "attack_detectable", "phase", "reason",
)  # fmt: skip

CLAIMS = (
    "dataset", "generator", "unit", "epsilon", "delta", "fits", "shadow_fits", "total_epsilon",
    "total_delta", "method", "without_bound", "noise", "reason", "caution",
)  # fmt: skip


def tidy_rows(summary: Summary) -> list[dict[str, Any]]:
    """One dict per dataset, generator and number, with the keys `TIDY`; None where unknown."""
    return [
        _row(dataset, cohort.label, cohort.role, column, dataset.cell(cohort.label, column))
        for dataset in summary.datasets.values()
        for cohort in dataset.cohorts
        for column in dataset.columns
    ]


def render_tidy(summary: Summary) -> str:
    """The tidy table as CSV text: full precision, empty fields for what is unknown."""
    return _render(TIDY, tidy_rows(summary))


def render_wide(summary: Summary) -> str:
    """One line per dataset and generator, one column per number (`metric.submetric[labels]`)."""
    names: dict[str, None] = {}
    rows = []
    for dataset in summary.datasets.values():
        keyed = [(column, _column_name(column)) for column in dataset.columns]
        names |= dict.fromkeys(name for _, name in keyed)
        for cohort in dataset.cohorts:
            row: dict[str, Any] = {
                "dataset": dataset.label,
                "generator": cohort.label,
                "role": cohort.role,
            }
            row |= {name: dataset.cell(cohort.label, column).value for column, name in keyed}
            rows.append(row)
    return _render(("dataset", "generator", "role", *names), rows)


def render_claims(summary: Summary) -> str:
    """One line per row that claims differential privacy; ε and δ of one fit and of all its fits.

    An ε that is infinite is `inf`, and `reason` says why. A line without a generator is of all
    rows with a bound on the same people.
    """
    rows = []
    for dataset, label, claim in claim_rows(summary.run):
        row: dict[str, Any] = {"dataset": dataset, "generator": label, "unit": claim.unit}
        row |= {"epsilon": claim.epsilon, "delta": claim.delta, "noise": claim.noise}
        row |= {"reason": claim.no_bound, "caution": claim.caution}
        rows.append(row | ({} if claim.total is None else _total(claim.total)))
    rows += [
        {"dataset": ";".join(total.datasets), "generator": ""} | _total(total)
        for total in claim_totals(summary.run)
    ]
    return _render(CLAIMS, rows)


def _total(total: Total) -> dict[str, Any]:
    return {
        "fits": total.fits,
        "shadow_fits": total.shadow_fits,
        "total_epsilon": total.epsilon,
        "total_delta": total.delta,
        "method": total.method,
        "without_bound": ";".join(total.without_bound),
    }


def _column_name(column: Column) -> str:
    labels = _labels(column)
    name = f"{column.metric}.{column.submetric.name}"
    return f"{name}[{labels}]" if labels else name


def _labels(column: Column) -> str:
    return ";".join(f"{key}={value}" for key, value in column.labels)


def _row(
    dataset: DatasetSummary, cohort: str, role: str, column: Column, cell: Cell
) -> dict[str, Any]:
    info = column.submetric
    floor = dataset.floors.get(column.key)
    return {
        "dataset": dataset.label,
        "generator": cohort,
        "role": role,
        "family": column.family,
        "metric": column.metric,
        "submetric": info.name,
        "labels": _labels(column),
        "title": info.title,
        "unit": info.unit,
        "direction": info.direction,
        "ideal": info.ideal,
        "min_effect": info.min_effect,
        "headline": info.headline,
        "state": cell.state,
        "value": cell.value,
        "spread": cell.spread,
        "spread_over": cell.spread_over,
        "low": cell.low,
        "high": cell.high,
        "seeds": cell.n_seeds,
        "draws": cell.n_values,
        "failed_seeds": cell.failed_seeds,
        "floor_median": floor and floor.median,
        "floor_p5": floor and floor.low,
        "floor_p95": floor and floor.high,
        "floor_draws": floor and floor.n,
        "floor_score": cell.score,
        "place": cell.band,
        "attack_p": cell.attack and cell.attack.p,
        "attack_adjusted_p": cell.attack and cell.attack.adjusted,
        "attack_low": cell.attack and cell.attack.low,
        "attack_high": cell.attack and cell.attack.high,
        "attack_detectable": cell.attack and cell.attack.detectable,
        "phase": cell.phase,
        "reason": cell.reason,
    }


def _render(names: tuple[str, ...], rows: list[dict[str, Any]]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()
