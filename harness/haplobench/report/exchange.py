"""A run for other programs: CSV, and custom content of MultiQC.

CSV is tidy (one row per number) or wide (one row per generator). MultiQC's tables,
https://docs.seqera.io/multiqc/custom_content, `*_mqc.json`, stand among other tools' in its report.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from haplobench.files import csv_text
from haplobench.report import view
from haplobench.report.figures import slug
from haplobench.report.leaderboard import Leaderboard
from haplobench.report.model import Cell, Column, DatasetSummary, Summary
from haplobench.report.privacy_claims import Total, claim_rows, claim_totals
from haplobench.report.verdict import DatasetVerdicts, explain, reach_verdicts, show

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
    return csv_text(TIDY, tidy_rows(summary))


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
    return csv_text(("dataset", "generator", "role", *names), rows)


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
    return csv_text(CLAIMS, rows)


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


_ABOUT = (
    "Synthetic human genomes beside their noise floor (real people sampled as if synthetic), by "
    "haplobench."
)
_RULES = {
    "pass": [{"s_eq": "yes"}, {"s_eq": "not seen"}],
    "warn": [{"s_eq": "in part"}, {"s_eq": "can't tell"}],
    "fail": [{"s_eq": "no"}, {"s_eq": "leaks"}],
}


def render_multiqc(summary: Summary, boards: Sequence[Leaderboard]) -> dict[str, str]:
    """JSON of each section by its file's name: verdicts, and headline numbers by family.

    Names say which run it is, so that runs stand beside each other and don't replace one another.
    MultiQC shows text as HTML, and some of it after undoing escapes: a run's has no signs of HTML.
    """
    run = summary.run
    suite = str(run.info.get("suite") or "run")
    run_id = str(run.info.get("run_id") or run.folder.name)
    sections: dict[str, str] = {}
    for verdicts in reach_verdicts(summary, boards):
        dataset = summary.datasets[verdicts.dataset]
        tables: list[tuple[str, str, Mapping[str, Any], Mapping[str, Any]]] = [
            ("verdicts", explain(summary.rules), *_verdicts(verdicts, boards))
        ]
        for family in dataset.families():
            columns = dataset.headline(family)
            if columns:
                about = "Means; floor: median of draws of real people. What is n/a is left empty."
                tables.append((family, about, *_numbers(dataset, columns)))
        for name, about, headers, data in tables:
            section = f"haplobench-{slug(suite)}-{slug(run_id)}-{slug(dataset.label)}-{name}"
            title = _plain(f"{dataset.label}: {name} ({suite}, {run_id})")
            sections[f"{section}_mqc.json"] = json.dumps(
                {
                    "id": section,
                    "parent_id": "haplobench",
                    "parent_name": "haplobench",
                    "parent_description": _ABOUT,
                    "section_name": title,
                    "description": _plain(about),
                    "plot_type": "table",
                    "pconfig": {
                        "id": f"{section}-table",
                        "title": title,
                        "col1_header": "Generator",
                        "no_violin": True,
                        "sort_rows": False,
                        "save_data_file": True,
                    },
                    "headers": headers,
                    "data": data,
                },
                indent=1,
            )
    return sections


def _plain(text: str) -> str:
    """Text with other signs in the place of those that HTML has a use for."""
    return text.translate(
        {ord(sign): other for sign, other in zip("<>&\"'", "‹›＆”’", strict=True)}
    )


def _verdicts(
    verdicts: DatasetVerdicts, boards: Iterable[Leaderboard]
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Heads and rows of the verdicts: answers, and the first leaderboard's rank and distance."""
    board = next((board for board in boards if board.dataset == verdicts.dataset), None)
    places = {row.label: row for row in board.rows} if board else {}
    headers = {
        "rank": {"title": "Rank", "format": "{:,.0f}", "scale": "RdYlGn-rev"},
        "distance": {
            "title": "Distance",
            "description": "Times the floor's distance from the ideal; 1 is as good as real people",
            "format": "{:,.2f}",
            "scale": "RdYlGn-rev",
        },
        **{
            name: {
                "title": name.capitalize(),
                "description": about,
                "scale": False,
                "cond_formatting_rules": _RULES,
            }
            for name, about in (
                ("faithful", "Whether headline fidelity numbers lie inside the floor"),
                ("useful", "The same of utility"),
                ("leak", "Whether an attack tells training people from held-out people"),
            )
        },
        "why": {"title": "In brief", "scale": False},
    }
    data = {}
    for row, (_, _, leaks) in show(verdicts):
        place = places.get(row.generator)
        data[_plain(row.generator)] = {
            **({"rank": place.rank, "distance": place.distance} if place else {}),
            "faithful": row.faithful.answer,
            "useful": row.useful.answer,
            "leak": "leaks" if row.leaks.answer == "yes" else row.leaks.answer,
            "why": _plain(leaks.brief),
        }
    return headers, data


def _numbers(
    dataset: DatasetSummary, columns: Sequence[Column]
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Heads and rows of numbers, the floor first; what has no value is left empty."""
    headers, data = {}, {}
    for number, column in enumerate(columns):
        head = view.head(column)
        decimals = view.column_decimals(dataset, column)
        headers[f"c{number}"] = {
            "title": _plain(f"{column.title} {head.arrow}{head.ideal}".strip()),
            "description": _plain(f"{column.submetric.definition} ({head.help})"),
            "suffix": _plain(f" {head.unit}" if head.unit else ""),
            "format": "{:,.3g}" if decimals is None else f"{{:,.{decimals}f}}",
            "scale": {"lower": "RdYlGn-rev", "higher": "RdYlGn"}.get(
                column.submetric.direction, "Greys"
            ),
        }
    for cohort in dataset.cohorts:
        cells = {f"c{n}": dataset.cell(cohort.label, c).value for n, c in enumerate(columns)}
        data[_plain(cohort.label)] = {k: value for k, value in cells.items() if value is not None}
    return headers, data
