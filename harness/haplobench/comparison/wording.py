"""Words and numbers of a comparison for readers: terminal and Markdown say the same."""

from __future__ import annotations

from collections.abc import Mapping

from haplobench.comparison.model import STATUSES, Comparison, Row, Side, Status
from haplobench.report.formatting import ARROWS, format_value

MARKS: Mapping[Status, str] = {
    "failed": "✗",
    "regressed": "▼",
    "missing": "–",
    "incomparable": "≠",
    "new": "+",
    "improved": "▲",
    "unchanged": "=",
}


def verdict(comparison: Comparison) -> str:
    """The outcome in one sentence."""
    failing = comparison.failing
    if not failing:
        if comparison.exit_code == 3:
            return "Nothing could be compared"
        if comparison.interrupted:
            return "No regression so far: head is an unfinished run"
        gone = comparison.counts["missing"]
        return f"No regression, {gone:,} missing" if gone else "No regression"
    counts = {
        status: sum(row.status == status for row in failing)
        for status in ("regressed", "failed", "missing")
    }
    parts = [f"{n} {status}" for status, n in counts.items() if n]
    generators = list(dict.fromkeys(row.generator for row in failing))
    named = ", ".join(generators[:4]) + (" …" if len(generators) > 4 else "")
    *most, last = parts
    return f"{', '.join(most)}{' and ' if most else ''}{last}: {named}"


def tally(comparison: Comparison) -> str:
    """How many numbers have each status that occurs."""
    counts = comparison.counts
    return ", ".join(f"{counts[status]:,} {status}" for status in STATUSES if counts[status])


def describe_side(side: Side) -> str:
    """A side in one line: name, run, commit, seeds, machine."""
    parts = [side.name]
    if side.run_id and side.run_id not in side.name:
        parts.append(f"run {side.run_id}")
    if side.git_sha:
        parts.append(f"commit {side.git_sha[:9]}{' with changes' if side.git_dirty else ''}")
    if side.started:
        parts.append(side.started[:16].replace("T", " "))
    if side.seeds:
        n = len(side.seeds)
        parts.append(f"{n} seeds" if n > 1 else "1 seed")
    if side.machine or side.hardware:
        parts.append(side.machine or f"hardware {side.hardware}")
    return ", ".join(parts)


def number(value: float | None) -> str:
    """A value for a table; empty where there is none."""
    return "" if value is None else format_value(value)


def change(row: Row) -> str:
    """Difference with its interval, and its share: `+0.012 [0.008, 0.016], +24 %`."""
    if row.difference is None:
        return ""
    if row.relative_threshold and row.relative is not None:
        return f"{_signed_percent(row.relative)}"
    text = signed(row.difference)
    if row.low is not None and row.high is not None and row.low != row.high:
        text += f" [{format_value(row.low)}, {format_value(row.high)}]"
    return text


def signed(value: float) -> str:
    """A difference with its sign."""
    text = format_value(value)
    return text if value <= 0 else f"+{text}"


def _signed_percent(share: float) -> str:
    sign = "+" if share > 0 else "−" if share < 0 else ""
    return f"{sign}{abs(share) * 100:.3g} %"


def arrow(row: Row) -> str:
    """Which way is better."""
    text = ARROWS.get(row.direction, "")
    if row.direction == "closer" and row.ideal is not None:
        return f"{text} {format_value(row.ideal)}"
    return text


def what(row: Row) -> str:
    """The number's name: its title, and the metric it is of."""
    if not row.metric:
        return "(all of it)"
    if not row.submetric:
        return row.metric
    return f"{row.title}"


def evidence(row: Row) -> str:
    """How sure a change is, in brief."""
    parts = []
    if row.q_value is not None:
        parts.append(f"q {_small(row.q_value)}")
    elif row.p_value is not None:
        parts.append(f"p {_small(row.p_value)}")
    if row.test in ("paired", "identical") and row.n_pairs:
        parts.append(f"{row.n_pairs} pairs")
    elif row.base_n and row.head_n:
        parts.append(f"{row.base_n} / {row.head_n}")
    return ", ".join(parts)


def _small(value: float) -> str:
    if value == 0:
        return "0"
    return f"{value:.2g}" if value >= 1e-4 else "<0.0001"


def groups(rows: list[Row]) -> list[tuple[str, list[Row]]]:
    """Rows by dataset and generator, in the order in which they come."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(f"{row.dataset} · {row.generator}", []).append(row)
    return list(found.items())


def collapse(rows: list[Row]) -> list[tuple[tuple[str, str, Status, str], int]]:
    """Rows that differ only in their number, counted: (dataset, generator, status, reason)."""
    found: dict[tuple[str, str, Status, str], int] = {}
    for row in rows:
        key = (row.dataset, row.generator, row.status, row.reason)
        found[key] = found.get(key, 0) + 1
    return list(found.items())
