"""A run as Markdown: for a README, a pull request, or a reader without a browser."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from haplobench.report import facts, view
from haplobench.report import leaderboard_texts as texts
from haplobench.report.figures import Figure, FigureProblem
from haplobench.report.leaderboard import Leaderboard, by_rank, leaderboards
from haplobench.report.model import Summary
from haplobench.report.privacy_claims import CLAIM_HEADS, claim_cells, claim_rows, claim_sentences
from haplobench.report.verdict import (
    UNASSESSED,
    Answer,
    DatasetVerdicts,
    explain,
    lead,
    reach_verdicts,
    show,
)

_SPECIAL = re.compile(r"([\\`*_{}\[\]>#])")
# Python-Markdown, which MkDocs reads pages with, has no backslash before these.
_ENTITIES = str.maketrans({"<": "&lt;", "|": "&#124;", "~": "&#126;"})


def render_markdown(
    summary: Summary,
    figures: Sequence[Figure] = (),
    problems: Sequence[FigureProblem] = (),
    boards: Sequence[Leaderboard] | None = None,
    links: Mapping[str, str] | None = None,
    verdicts: Sequence[DatasetVerdicts] | None = None,
) -> str:
    """The report as Markdown text, which CommonMark and Python-Markdown read alike.

    Figures are linked as `figures/….svg` beside it. Where `links` have the addresses of figures by
    their `file`, it is a page of documentation, which defines the metrics and names the sources
    elsewhere: it leaves these out, and says first how the run was made.
    """
    info = summary.run.info
    found = leaderboards(summary) if boards is None else boards
    summary = by_rank(summary, found)
    lines = [
        f"# {text(str(info.get('title') or info.get('suite') or summary.run.folder.name))}",
        "",
    ]
    status = [str(info[key]) for key in ("run_id", "status") if info.get(key)]
    lines += [text(" · ".join([facts.headline_facts(summary), *status])), ""]
    lines += [
        f"Mean ± {view.spread_words(info)}. The floor is "
        "real people sampled as if synthetic: median and 5–95 % range. ● within that range or "
        "where 95 % of further draws would lie, ◆ better than 99 % would be, ○ outside, × far "
        "outside; **bold**: best generator. ↓ lower, ↑ higher, → nearer to the ideal is better.",
        "",
    ]
    if links is not None:
        lines += _provenance(summary)
    lines += _verdicts(summary, reach_verdicts(summary, found) if verdicts is None else verdicts)
    for label, dataset in summary.datasets.items():
        lines += [f"## {text(label)}", ""]
        warnings = summary.run.datasets[label].get("warnings") or ()
        lines += [f"**Warning: {text(warning)}**\n" for warning in warnings]
        for board in found:
            lines += _board(board, board is found[0]) if board.dataset == label else []
        for family, sentence in view.findings(dataset):
            lines.append(f"- {text(family.capitalize())}: {text(sentence)}")
        lines.append("")
        if absent := [f"{name} ({why})" if why else name for name, why in view.absent(dataset)]:
            lines += [f"Not run: {text('; '.join(absent))}.", ""]
        for table in view.headline_tables(dataset):
            lines += [f"### {text(table.title.capitalize())}", "", *_table(table), ""]
            lines += [f"- {code}: {text(reason)}" for code, reason in table.notes]
            lines += [""] * bool(table.notes)
        for figure in figures:
            if figure.dataset == label:
                link = f"figures/{figure.file}.svg" if links is None else links[figure.file]
                lines += [f"![{text(figure.title)}]({link})", ""]
                lines += [f"*{text(figure.title)}.* {text(figure.caption)}", ""]
        lines += [f"- Not drawn: {text(str(item))}" for item in problems if item.dataset == label]
        lines += ["", f"### Panel of {text(label)}", ""]
        described = facts.dataset_facts(summary.run.datasets[label])
        lines += [f"- {text(name)}: {text(value)}" for name, value in described]
        lines.append("")
    claims = claim_rows(summary.run)
    if claims:
        lines += [
            "## Differential privacy claimed",
            "",
            _line(["Dataset", "Generator", *CLAIM_HEADS]),
        ]
        lines.append(_line(["---", "---", *["---:"] * len(CLAIM_HEADS)]))
        for label, generator, claim in claims:
            lines.append(_line([text(label), text(generator), *map(text, claim_cells(claim))]))
        lines += ["", *(f"- {text(sentence)}" for sentence in claim_sentences(summary.run)), ""]
        for label, generator, claim in claims:
            lines.append(f"- {text(label)}, {text(generator)}: {text(claim.text)}")
        lines.append("")
    if summary.failures:
        lines += ["## Failures", ""]
    for failure in summary.failures:
        seeds = ", ".join(map(str, failure.seeds))
        what = f"{failure.dataset} · {failure.cohort}"
        what += f" · {failure.metric}" if failure.metric else ""
        state = view.STATES.get(failure.status, failure.status)
        lines.append(f"- {text(what)} (seeds {seeds}), {failure.phase}: {state}: "
                     f"{text(failure.reason)}")  # fmt: skip
    if links is None:
        lines += _metrics(summary)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)) + "\n"


def _metrics(summary: Summary) -> list[str]:
    """Definitions of the metrics, how the run was made, and its sources."""
    lines = ["", "## Metrics", ""]
    for metric in summary.run.metrics.values():
        lines.append(f"- **{text(metric.name)}** ({text(metric.family)}): {text(metric.summary)}")
        numbers = metric.submetrics
        lines += [f"    - {text(item.title)}: {text(item.definition)}" for item in numbers]
    lines += ["", *_provenance(summary)]
    cited = facts.citations(summary)
    if cited:
        lines += ["", "## Citations", ""]
        lines += [f"1. {text(citation)} ({text(uses)})" for citation, uses in cited]
    return lines


def _provenance(summary: Summary) -> list[str]:
    lines = ["## Provenance", ""]
    if command := summary.run.info.get("command"):
        lines += [*("    " + line for line in str(command).splitlines()), ""]
    grouped: dict[str, list[str]] = {}  # `Version: numpy` and the like, a line for each group
    for name, value in facts.run_facts(summary):
        group, _, part = name.partition(": ")
        grouped.setdefault(group, []).append(f"{part} {value}".strip())
    lines += [f"- {text(group)}: {text(', '.join(values))}" for group, values in grouped.items()]
    return [*lines, ""]


def _verdicts(summary: Summary, found: Sequence[DatasetVerdicts]) -> list[str]:
    """Who is best and who leaks, then two lines for each generator and control."""
    lines = ["## Verdict", ""]
    for verdicts in found:
        lines += [f"### Verdict on {text(verdicts.dataset)}", "", text(lead(verdicts)), ""]
        for row, (faithful, useful, leaks) in show(verdicts):
            control = " *(control)*" if row.role == "control" else ""
            measured = f"; useful: {useful.brief}" if row.useful.judged else ""
            lines += [
                f"- **{text(row.generator)}**{control} {_marked('faithful', faithful)}"
                f"{text(measured)}<br>",
                f"  {_marked('leaks', leaks)}",
            ]
        lines += [""]
        if not any(row.useful.judged for row in verdicts.rows):
            lines += [UNASSESSED, ""]
    return [*lines, text(explain(summary.rules)), ""]


def _marked(question: str, answer: Answer) -> str:
    return f"{view.MARKS.get(answer.band, '–')} {question}: {text(answer.brief)}"


def text(raw: str) -> str:
    """Text that Markdown shows as it is: one line, special characters escaped."""
    return _SPECIAL.sub(r"\\\1", " ".join(raw.split())).translate(_ENTITIES)


def _board(board: Leaderboard, explained: bool) -> list[str]:
    """The leaderboard as a table, those not ranked as a list, and if asked how ranks are found."""
    lines = [f"### {texts.SCOPES[board.scope].capitalize()}", ""]
    if board.rows:
        lines += [text(texts.leading(board)), ""]
        heads = ["Rank", "Generator", "Distance (95 %)", "Leak"]
        lines.append(_line([*heads, *([text(texts.cost_title(board))] if board.cost else [])]))
        lines.append(_line(["---:", "---", "---:", "---", *["---:"] * bool(board.cost)]))
        for row in texts.show_rows(board):
            name = text(row.label) + (" *(control)*" if row.role == "control" else "")
            cells = [row.rank, name, f"{row.distance} ({row.interval})", text(row.leak)]
            lines.append(_line([*cells, *([row.cost] if board.cost else [])]))
        lines += ["", f"{texts.over_words(board)}. {texts.EXPLANATION if explained else ''}", ""]
    else:
        lines += [f"Nothing is ranked: {text(board.reason)}.", ""]
    lines += [f"- {text(label)} is not ranked: {text(why)}" for label, why in board.unranked]
    return [*lines, ""]


def render_tables(summary: Summary) -> str:
    """The main tables alone, as Markdown."""
    lines = []
    for label, dataset in summary.datasets.items():
        for table in view.headline_tables(dataset):
            lines += [f"### {text(label)}: {text(table.title)}", "", *_table(table), ""]
            lines += [*(f"- {code}: {text(reason)}" for code, reason in table.notes), ""]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def _table(table: view.TableView) -> list[str]:
    heads = ["Generator"]
    for head in table.heads:
        unit = f" ({head.unit})" if head.unit else ""
        heads.append(text(f"{head.title}{unit} {head.arrow}{head.ideal}"))
    lines = [_line(heads), _line(["---", *["---:"] * len(table.heads)])]
    if table.floor:
        cells = [
            f"{cell.text} [{cell.spread}]" if cell.spread else cell.text
            for cell in table.floor.cells
        ]
        lines.append(_line(["*floor*", *(cell.replace("[", "\\[") for cell in cells)]))
    for row in table.rows:
        label = text(row.label) + (" *(control)*" if row.role == "control" else "")
        lines.append(_line([label, *(_cell(cell) for cell in row.cells)]))
    return lines


def _cell(cell: view.Shown) -> str:
    number = f"**{cell.text}**" if cell.best else cell.text
    if cell.note:
        number += f" {cell.note}" if cell.sort is None else f"<sup>{cell.note}</sup>"
    if cell.spread:
        number += f" ±{cell.spread.replace('<', '&lt;')}"
    return f"{number} {cell.mark}".strip()


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
