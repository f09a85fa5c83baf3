"""A comparison as Markdown, fit for a comment on a pull request."""

from __future__ import annotations

from haplobench.comparison import wording
from haplobench.comparison.model import Comparison, Row

LIMIT = 60_000
"""Characters: GitHub refuses comments of more than 65,536."""
_HEAD = "| | generator | number | better | base | head | change | evidence |\n"
_RULE = "|---|---|---|:-:|--:|--:|--:|--:|\n"


def render_markdown(comparison: Comparison, *, everything: bool = False) -> str:
    """The comparison: verdict, what fails, and the rest folded away.

    `everything`: unchanged numbers too. A text that would be too long for a comment is cut at
    the end of a table, and says how many rows are left out.
    """
    mark = {0: "✅", 1: "❌", 3: "⚠️"}[comparison.exit_code]
    parts = [
        f"### {mark} haplobench: {_text(wording.verdict(comparison))}\n\n",
        f"{wording.tally(comparison)}\n\n",
        f"- base: {_text(wording.describe_side(comparison.base))}\n",
        f"- head: {_text(wording.describe_side(comparison.head))}\n",
    ]
    parts += [f"- note: {_text(warning)}\n" for warning in comparison.warnings]
    changed = [row for row in comparison.changed if row.status in ("regressed", "improved")]
    failing = [row for row in changed if row.fails]
    others = [row for row in comparison.changed if row.status not in ("regressed", "improved")]
    broken = [row for row in others if row.fails]
    if broken:
        parts.append("\n**Failed or missing**\n\n" + _reasons(broken))
    if failing:
        parts.append("\n**Regressed**\n\n" + _table(failing))
    rest = [row for row in changed if not row.fails]
    if rest:
        parts.append(_folded(f"{len(rest)} other changes", _table(rest)))
    others = [row for row in others if not row.fails]
    if others:
        parts.append(_folded(f"{len(others)} not compared", _reasons(others)))
    if everything:
        same = [row for row in comparison.rows if row.status == "unchanged"]
        parts.append(_folded(f"{len(same)} unchanged", _table(same)))
    parts.append(
        f"\n<sub>{comparison.correction}, level {comparison.alpha:g}; intervals of "
        f"{comparison.confidence * 100:g} %.</sub>\n"
    )
    return "".join(parts)


def _table(rows: list[Row], room: int = LIMIT // 4) -> str:
    text, left = _HEAD + _RULE, len(rows)
    for row in rows:
        cells = [
            f"{wording.MARKS[row.status]} {row.status}",
            f"{row.dataset} · {row.generator}",
            wording.what(row),
            wording.arrow(row),
            wording.number(row.base),
            wording.number(row.head),
            wording.change(row),
            wording.evidence(row),
        ]
        line = "| " + " | ".join(map(_text, cells)) + " |\n"
        if len(text) + len(line) > room:
            return f"{text}\n… and {left} more\n"
        text, left = text + line, left - 1
    return text


def _reasons(rows: list[Row], room: int = LIMIT // 4) -> str:
    text = "| | generator | numbers | why |\n|---|---|--:|---|\n"
    entries = wording.collapse(rows)
    for at, ((dataset, generator, status, reason), count) in enumerate(entries):
        cells = (
            f"{wording.MARKS[status]} {status}",
            f"{dataset} · {generator}",
            str(count),
            reason,
        )
        line = "| " + " | ".join(map(_text, cells)) + " |\n"
        if len(text) + len(line) > room:
            return f"{text}\n… and {len(entries) - at} more\n"
        text += line
    return text


def _folded(title: str, body: str) -> str:
    return f"\n<details><summary>{title}</summary>\n\n{body}\n</details>\n"


def _text(text: str) -> str:
    """Text that can't end a table's cell or begin HTML."""
    for old, new in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|"), ("\n", " ")):
        text = text.replace(old, new)
    return text
