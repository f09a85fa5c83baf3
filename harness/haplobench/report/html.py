"""HTML pages: templates, style, one script and a policy that lets nothing else run; a run's page.

Everything is in the page: nothing is loaded from elsewhere.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

from haplobench.errors import BenchError
from haplobench.report import facts, view
from haplobench.report import leaderboard_texts as texts
from haplobench.report.evidence import FINDINGS
from haplobench.report.figures import Figure, FigureProblem, figure_style, slug
from haplobench.report.leaderboard import Leaderboard, by_rank, leaderboards
from haplobench.report.model import FAR_SCORE, FAR_WIDTHS, DatasetSummary, Summary
from haplobench.report.privacy_claims import (
    CLAIM_HEADS,
    claim_cells,
    claim_rows,
    claim_sentences,
    read_claims,
)
from haplobench.report.svg import clean, pack, size
from haplobench.report.verdict import (
    UNASSESSED,
    DatasetVerdicts,
    explain,
    lead,
    reach_verdicts,
    show,
)
from haplobench.report.view import MARKS, generator_views

_URL = re.compile(r"(?:https?://|doi:(?=10\.))[^\s<>\"']*[^\s<>\"'.,;:)]")
# A path of two parts or more that begins at the root: where somebody's files lie is no news.
_PATH = re.compile(
    r"(?<![\w.:/-])(?:file://|~)?(?:/[^\s/'\"<>;,:()\[\]=|]+)+/([^\s/'\"<>;,:()\[\]=|]+)"
)
_SCRIPTS = ("page.js", "tools.js", "figures.js")


def render(template: str, context: Mapping[str, Any]) -> str:
    """A page of a template, with style, script and the script's hash.

    Raises
    ------
    BenchError
        If jinja2 is not installed.
    """
    try:
        from markupsafe import Markup

        environment = _environment()
    except ImportError as error:
        raise BenchError(
            f"the HTML report needs {error.name}", hint="pip install 'haplobench[report]'"
        ) from None
    from haplobench import __version__

    script = "\n".join(_read(name) for name in _SCRIPTS)
    page: str = environment.get_template(template).render(
        {
            **context,
            "css": Markup(_read("report.css")),
            "js": Markup(script),
            "script_hash": _hash(script),
            "version": __version__,
        }
    )
    return page


def _read(name: str) -> str:
    return (resources.files("haplobench.report") / "templates" / name).read_text(encoding="utf-8")


@cache
def _environment() -> Any:
    """Where templates are compiled, once."""
    import jinja2

    environment = jinja2.Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.FunctionLoader(_read),
        finalize=lambda value: shareable(value) if type(value) is str else value,
    )
    environment.filters |= {"links": links, "aim": view.aim, "packed": _packed}
    return environment


def shareable(text: str) -> str:
    """A text with the file's name alone of every absolute path: pages are made to be shared."""
    return _PATH.sub(r"…/\1", text) if "/" in text else text


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def links(text: str) -> Any:
    """Text with its web addresses and DOIs as links; everything else escaped."""
    from markupsafe import Markup, escape

    text = shareable(text)
    parts, end = [], 0
    for found in _URL.finditer(text):
        url = escape(re.sub("^doi:", "https://doi.org/", found[0]))
        link = Markup(f'<a href="{url}" rel="noopener noreferrer">{escape(found[0])}</a>')
        parts += [escape(text[end : found.start()]), link]
        end = found.end()
    return Markup("").join([*parts, escape(text[end:])])


LIMIT = 1_500_000
"""Bytes that a page may have: over it, figures are packed, then numbers and figures left out."""


def render_html(
    summary: Summary,
    figures: Sequence[Figure] = (),
    problems: Sequence[FigureProblem] = (),
    boards: Sequence[Leaderboard] | None = None,
    limit: int = LIMIT,
) -> str:
    """The page as text.

    Over `limit` bytes, the heaviest figures are compressed one by one, then the tables of all
    numbers (the page's script unpacks them; without it the page names their files), then labelled
    numbers are left to the CSV, then the heaviest figures to their files, then all numbers but the
    headline ones; the page says so each time.
    """
    boards = leaderboards(summary) if boards is None else boards
    summary = by_rank(summary, boards)
    page = make_page(summary, boards, reach_verdicts(summary, boards))
    return render_page(page, summary, figures, problems, limit)


def render_page(
    context: dict[str, Any],
    summary: Summary,
    figures: Sequence[Figure],
    problems: Sequence[FigureProblem],
    limit: int = LIMIT,
) -> str:
    """A page that `make_page` made, as text with its figures: see `render_html`."""
    shown = [_inline(figure, number) for number, figure in enumerate(figures)]
    for dataset in context["datasets"]:
        dataset["figure_problems"] = [one for one in problems if one.dataset == dataset["label"]]

    def page() -> tuple[str, int]:
        for dataset in context["datasets"]:
            _place_figures(dataset, shown, summary)
        text = render("report.html.jinja", context)
        return text, len(text.encode()) - limit

    text, excess = page()
    if excess > 0:
        for item in sorted(shown, key=lambda item: -len(item["svg"])):
            if excess <= 0:
                break
            packed = _packed(item["svg"])
            excess -= len(item["svg"].encode()) - len(packed)
            item.update(svg="", packed=packed)
        # Packed figures take a few bytes more than is counted here, never fewer.
        if excess <= 0:
            text, excess = page()
    for key, value in (("packed", True), ("labelled", False)):
        if excess > 0:
            context[key] = value
            text, excess = page()
    if excess > 0:
        for item in sorted(shown, key=lambda item: -len(item["svg"]) - len(item["packed"])):
            if excess <= 0:
                break
            excess -= len(item["svg"]) + len(item["packed"])
            item.update(svg="", packed="")
        text, excess = page()
    if excess > 0:
        context["full"] = False
        text, excess = page()
    return text


def _packed(text: str) -> Any:
    """A part of the page that its script unpacks."""
    from markupsafe import Markup

    return Markup(pack(text))


def _inline(figure: Figure, number: int) -> dict[str, Any]:
    from markupsafe import Markup

    svg = clean(
        figure.svg,
        prefix=f"f{number}-",
        ink="currentColor",
        label=figure.title,
        interactive=True,
    )
    width, height = size(svg)
    return {
        "dataset": figure.dataset,
        "metric": figure.metric,
        "name": figure.name,
        "title": figure.title,
        "caption": figure.caption,
        "file": f"figures/{figure.file}.svg",
        "save": slug(figure.file),
        "svg": Markup(svg),
        "packed": "",
        "width": round(width),
        "height": round(height),
    }


def _place_figures(
    dataset: dict[str, Any], shown: Sequence[dict[str, Any]], summary: Summary
) -> None:
    """Figures of a dataset: those of the leaderboard, and the metrics' by family."""
    own = [item for item in shown if item["dataset"] == dataset["label"]]
    dataset["board_figures"] = [item for item in own if item["metric"] not in summary.run.metrics]
    families: dict[str, list[dict[str, Any]]] = {}
    for item in own:
        metric = summary.run.metrics.get(item["metric"])
        if metric is not None:
            families.setdefault(metric.family, []).append(item)
    order = summary.datasets[dataset["label"]].families()
    dataset["figures"] = sorted(
        families.items(), key=lambda item: order.index(item[0]) if item[0] in order else 99
    )


def make_page(
    summary: Summary, boards: Sequence[Leaderboard], verdicts: Sequence[DatasetVerdicts]
) -> dict[str, Any]:
    """What the page's template shows but for figures, of a summary by rank (`by_rank`)."""
    run = summary.run
    info = run.info
    anchors = slugs(summary.datasets)
    ids = slugs(run.cohorts)
    style = figure_style(run)
    claims = read_claims(run)
    return {
        "title": info.get("title") or f"{info.get('suite') or run.folder.name}: comparison",
        "subtitle": " · ".join(
            part
            for part in (
                facts.headline_facts(summary),
                f"suite {info['suite']}" if info.get("suite") else "",
                f"run {info['run_id']}" if info.get("run_id") else "",
                str(info.get("status") or ""),
            )
            if part
        ),
        "slugs": slugs(run.metrics),
        "generator_ids": ids,
        "series": [(i, label, style.colour(label)) for i, label in enumerate(style.order)],
        "places": {label: i for i, label in enumerate(style.order)},
        "states": view.STATES,
        "far_widths": f"{FAR_WIDTHS:g}",
        "far_score": f"{FAR_SCORE:g}",
        "findings": FINDINGS,
        "marks": MARKS,
        "spread_words": view.spread_words(info),
        "ranking": texts.EXPLANATION,
        "reached": explain(summary.rules),
        "verdicts": [
            {
                "dataset": one.dataset,
                "lead": lead(one),
                "rows": [
                    (row, answers)
                    for row, answers in show(one)
                    if row.generator not in dict(view.absent(summary.datasets[one.dataset]))
                ],
                "absent": view.absent(summary.datasets[one.dataset]),
                "useful": any(row.useful.judged for row in one.rows),
            }
            for one in verdicts
        ],
        "unassessed": UNASSESSED,
        "packed": False,
        "labelled": True,
        "full": True,
        "datasets": [
            _dataset(summary, dataset, f"dataset-{anchors[label]}", boards)
            for label, dataset in summary.datasets.items()
        ],
        "metrics": list(run.metrics.values()),
        "metric_families": _by_family(summary),
        "cohorts": [
            {
                **vars(cohort),
                "params_text": _params(cohort.params),
                "id": f"generator-{ids[cohort.label]}",
                "colour": style.colour(cohort.label),
                "claims": [
                    (dataset, rows[cohort.label].text)
                    for dataset, rows in claims.items()
                    if cohort.label in rows
                ],
                "views": [] if cohort.role == "floor" else generator_views(
                    summary, cohort.label, boards
                ),
            }
            for cohort in run.cohorts.values()
        ],
        "claim_heads": CLAIM_HEADS,
        "claim_rows": [
            (dataset, label, claim_cells(claim)) for dataset, label, claim in claim_rows(run)
        ],
        "claim_sentences": claim_sentences(run),
        "failures": summary.failures,
        "failure_line": _failure_line(summary),
        "command": info.get("command") or "",
        "run_facts": facts.run_facts(summary),
        "citations": facts.citations(summary),
    }  # fmt: skip


def _by_family(summary: Summary) -> list[tuple[str, list[Any]]]:
    families: dict[str, list[Any]] = {}
    for metric in summary.run.metrics.values():
        families.setdefault(metric.family, []).append(metric)
    return list(families.items())


def _params(params: Mapping[str, Any]) -> str:
    texts = (f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in params.items())
    return ", ".join(texts)


def _dataset(
    summary: Summary,
    dataset: DatasetSummary,
    anchor: str,
    boards: Sequence[Leaderboard],
) -> dict[str, Any]:
    scorecard, notes = view.scorecard(dataset)
    info = summary.run.datasets[dataset.label]
    return {
        "label": dataset.label,
        "anchor": anchor,
        "summary": info.get("summary") or "",
        "warnings": info.get("warnings") or (),
        "facts": facts.dataset_facts(info),
        "cohorts": [
            (cohort, _rank(cohort.label, dataset, boards)) for cohort in view.measured(dataset)
        ],
        "absent": view.absent(dataset),
        "boards": [
            {
                "board": board,
                "title": texts.SCOPES[board.scope].capitalize(),
                "rows": texts.show_rows(board),
                "words": texts.over_words(board),
                "leading": texts.leading(board),
                "cost": texts.cost_title(board),
                "figure": "distance" if board.scope == "all" else f"distance-{board.scope}",
            }
            for board in boards
            if board.dataset == dataset.label
        ],
        "findings": view.findings(dataset),
        "scorecard": scorecard,
        "scorecard_notes": notes.items(),
        "tables": view.headline_tables(dataset),
        "full": [
            (family, blocks, notes.items())
            for family, blocks, notes in view.full_tables(dataset, summary)
        ],
        "figures": [],
        "board_figures": [],
    }


def _rank(label: str, dataset: DatasetSummary, boards: Sequence[Leaderboard]) -> str:
    """A generator's rank in the dataset's leaderboard, for the head of its column."""
    board = next((one for one in boards if one.dataset == dataset.label), None)
    rows = board.ranked if board else ()
    return next((f"rank {row.rank}{'=' * row.tied}" for row in rows if row.label == label), "")


def _failure_line(summary: Summary) -> str:
    cells = {
        (failure.dataset, failure.cohort, seed)
        for failure in summary.failures
        for seed in failure.seeds
    }
    return f"{len(cells)} cell{'s' if len(cells) != 1 else ''} failed in whole or in part."


def slugs(names: Any) -> dict[str, str]:
    """Names to ids, distinct even where names differ only in what an id can't hold."""
    ids: dict[str, str] = {}
    for name in names:
        base = unique = slug(name).lower()
        number = 2
        while unique in ids.values():
            unique, number = f"{base}-{number}", number + 1
        ids[name] = unique
    return ids
