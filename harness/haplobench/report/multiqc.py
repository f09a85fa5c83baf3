"""A run as custom content of MultiQC: tables that stand among other tools' in its report.

https://docs.seqera.io/multiqc/custom_content, `*_mqc.json`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from haplobench.report import view
from haplobench.report.figures import slug
from haplobench.report.leaderboard.board import Leaderboard
from haplobench.report.model import Column, DatasetSummary, Summary
from haplobench.report.verdict.judgement import DatasetVerdicts, reach_verdicts
from haplobench.report.verdict.texts import explain, show

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
