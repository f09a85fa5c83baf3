"""One HTML page of a run, with everything in it: nothing is loaded from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from haplobench.errors import BenchError
from haplobench.report import facts, view
from haplobench.report.figures import Figure, FigureProblem, slug
from haplobench.report.model import DatasetSummary, Summary
from haplobench.report.placing import FAR_SCORE, FAR_WIDTHS
from haplobench.report.svg import clean, size, to_png

LIMIT = 2_000_000
"""Bytes that a page may have: over it, the heaviest figures become PNG, then leave the page."""

_URL = re.compile(r"(?:https?://|doi:(?=10\.))[^\s<>\"']*[^\s<>\"'.,;:)]")


def render_html(
    summary: Summary,
    figures: Sequence[Figure] = (),
    problems: Sequence[FigureProblem] = (),
    limit: int = LIMIT,
) -> str:
    """The page as text.

    Over `limit` bytes, the heaviest figures are rasterised one by one, then labelled numbers
    are left to the CSV, then the heaviest figures to their files; the page says so each time.
    """
    shown = [_inline(figure, number) for number, figure in enumerate(figures)]
    context = _context(summary, problems)
    template, css, js = _template()
    context |= {"css": css, "js": js, "script_hash": _hash(js)}

    def render() -> str:
        for dataset in context["datasets"]:
            dataset["figures"] = [f for f in shown if f["dataset"] == dataset["label"]]
        page: str = template.render(context)
        return page

    page = render()
    excess = _bytes(page) - limit
    if excess > 0:
        for item in sorted(shown, key=lambda item: -len(item["svg"])):
            if excess <= 0:
                break
            png = _data_uri(item)
            if len(png) < len(item["svg"]):
                excess -= len(item["svg"]) - len(png)
                item.update(svg="", png=png)
        page = render()
    if _bytes(page) > limit:
        context["labelled"] = False
        page = render()
    excess = _bytes(page) - limit
    if excess > 0:
        for item in sorted(shown, key=lambda item: -len(item["svg"]) - len(item["png"])):
            if excess <= 0:
                break
            excess -= len(item["svg"]) + len(item["png"])
            item.update(svg="", png="")
        page = render()
    return page


def _bytes(page: str) -> int:
    return len(page.encode())


def _inline(figure: Figure, number: int) -> dict[str, Any]:
    from markupsafe import Markup

    svg = clean(figure.svg, prefix=f"f{number}-", ink="currentColor", label=figure.title)
    width, height = size(svg)
    return {
        "dataset": figure.dataset,
        "title": figure.title,
        "caption": figure.caption,
        "file": f"figures/{figure.file}.svg",
        "svg": Markup(svg),
        "png": "",
        "width": round(width),
        "height": round(height),
        "source": figure.svg,
    }


def _data_uri(item: dict[str, Any]) -> str:
    png = to_png(clean(item["source"]))
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _template() -> tuple[Any, Any, Any]:
    try:
        import jinja2
        from markupsafe import Markup
    except ImportError as error:
        raise BenchError(
            f"the HTML report needs {error.name}", hint="pip install 'haplobench[report]'"
        ) from None
    folder = resources.files("haplobench.report") / "templates"
    environment = jinja2.Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
    )
    environment.filters["links"] = _links
    environment.filters["aim"] = view.aim
    css = (folder / "report.css").read_text(encoding="utf-8")
    js = (folder / "report.js").read_text(encoding="utf-8")
    return environment.get_template("report.html.jinja"), Markup(css), Markup(js)


def _hash(script: str) -> str:
    digest = hashlib.sha256(str(script).encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _links(text: str) -> Any:
    """Text with its web addresses and DOIs as links; everything else escaped."""
    from markupsafe import Markup, escape

    parts, end = [], 0
    for found in _URL.finditer(text):
        url = escape(re.sub("^doi:", "https://doi.org/", found[0]))
        link = Markup(f'<a href="{url}" rel="noopener noreferrer">{escape(found[0])}</a>')
        parts += [escape(text[end : found.start()]), link]
        end = found.end()
    return Markup("").join([*parts, escape(text[end:])])


def _context(summary: Summary, problems: Sequence[FigureProblem]) -> dict[str, Any]:
    from haplobench import __version__

    run = summary.run
    info = run.info
    slugs = _slugs(run.metrics)
    anchors = _slugs(summary.datasets)
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
        "slugs": slugs,
        "places": view.PLACES,
        "states": view.STATES,
        "far_widths": f"{FAR_WIDTHS:g}",
        "far_score": f"{FAR_SCORE:g}",
        "spread_words": view.spread_words(info),
        "labelled": True,
        "datasets": [
            _dataset(summary, dataset, f"dataset-{anchors[label]}", problems)
            for label, dataset in summary.datasets.items()
        ],
        "metrics": list(run.metrics.values()),
        "cohorts": [
            {**vars(cohort), "params_text": _params(cohort.params)}
            for cohort in run.cohorts.values()
        ],
        "failures": summary.failures,
        "failure_line": _failure_line(summary),
        "command": info.get("command") or "",
        "run_facts": facts.run_facts(summary),
        "citations": facts.citations(summary),
        "version": __version__,
    }


def _params(params: Mapping[str, Any]) -> str:
    texts = (f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in params.items())
    return ", ".join(texts)


def _dataset(
    summary: Summary, dataset: DatasetSummary, anchor: str, problems: Sequence[FigureProblem]
) -> dict[str, Any]:
    scorecard, notes = view.scorecard(dataset)
    info = summary.run.datasets[dataset.label]
    return {
        "label": dataset.label,
        "anchor": anchor,
        "summary": info.get("summary") or "",
        "facts": facts.dataset_facts(info),
        "cohorts": view.others(dataset),
        "findings": view.findings(dataset),
        "scorecard": scorecard,
        "scorecard_notes": notes.items(),
        "tables": view.headline_tables(dataset),
        "full": [
            (family, blocks, notes.items())
            for family, blocks, notes in view.full_tables(dataset, summary)
        ],
        "figures": [],
        "figure_problems": [item for item in problems if item.dataset == dataset.label],
    }


def _failure_line(summary: Summary) -> str:
    cells = {
        (failure.dataset, failure.cohort, seed)
        for failure in summary.failures
        for seed in failure.seeds
    }
    return f"{len(cells)} cell{'s' if len(cells) != 1 else ''} failed in whole or in part."


def _slugs(names: Any) -> dict[str, str]:
    """Names to ids, distinct even where names differ only in what an id can't hold."""
    ids: dict[str, str] = {}
    for name in names:
        base = unique = slug(name).lower()
        number = 2
        while unique in ids.values():
            unique, number = f"{base}-{number}", number + 1
        ids[name] = unique
    return ids
