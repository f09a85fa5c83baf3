"""Writing a comparison in the forms asked for: for programs, and as one HTML page."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from xml.etree import ElementTree

from haplobench.compare import show
from haplobench.compare.model import TOLD, Comparison, Row
from haplobench.compare.show import powerless, render_markdown, signed
from haplobench.errors import BenchError
from haplobench.files import write_whole
from haplobench.report import html
from haplobench.report.figures import render_chart
from haplobench.report.formatting import ARROWS, format_count, format_value
from haplobench.report.style import FigureStyle, inline

if TYPE_CHECKING:
    from haplobench.compare.model import Comparison, Row, Side

TITLE = "What became of the headline numbers"
CAPTION = (
    "One square per generator and headline number: an arrow up is improved, a cross regressed or "
    "failed, plain unchanged, a question mark what these runs can't tell."
)
_COLOURS = {
    "improved": "#009e73",
    "unchanged": "#b6bec8",
    "regressed": "#c2334d",
    "failed": "#8f1d30",
    "missing": "#d55e00",
    "new": "#0072b2",
    "can't tell": "#8a6d3b",
    "incomparable": "#dd9500",
}
_MARKS = {
    "improved": "▲",
    "unchanged": "",
    "regressed": "✕",
    "failed": "✕",
    "missing": "–",
    "new": "+",
    "can't tell": "?",
    "incomparable": "≠",
}
_SIDE = 22


def comparison_svg(comparison: Comparison) -> str | None:
    """The map as annotated SVG; None where there is no headline number on either side."""
    import altair as alt

    rows: list[dict[str, Any]] = []
    several = len({row.dataset for row in comparison.rows}) > 1
    for row in comparison.rows:
        if not row.headline or row.role == "floor" or not row.metric:
            continue
        entry = {
            "generator": f"{row.generator} ({row.dataset})" if several else row.generator,
            "number": row.title or row.submetric or row.metric,
            "status": row.status,
            "mark": _MARKS[row.status],
            "base": "–" if row.base is None else format_value(row.base, unit=row.unit),
            "head": "–" if row.head is None else format_value(row.head, unit=row.unit),
        }
        rows.append(entry)
    if not rows:
        return None
    generators = list(dict.fromkeys(row["generator"] for row in rows))
    numbers = list(dict.fromkeys(row["number"] for row in rows))
    style = FigureStyle(order=tuple(generators))
    base = alt.Chart(inline(rows)).encode(
        x=alt.X(
            "number:N",
            sort=numbers,
            title=None,
            axis=alt.Axis(
                labelAngle=-40, orient="top", labelLimit=240, labelOverlap=False, domain=False
            ),
        ),
        y=alt.Y("generator:N", sort=generators, title=None),
    )
    statuses = [status for status in _COLOURS if any(row["status"] == status for row in rows)]
    squares = base.mark_rect(stroke="white", strokeOpacity=0.4).encode(
        color=alt.Color(
            "status:N",
            scale=alt.Scale(domain=statuses, range=[_COLOURS[name] for name in statuses]),
            title="Status",
        ),
        detail=["base:N", "head:N"],
    )
    marks = base.mark_text(color="white", fontSize=11, aria=False).encode(text="mark:N")
    chart = alt.layer(squares, marks).properties(
        width=_SIDE * len(numbers), height=_SIDE * len(generators)
    )
    return render_chart(chart, style)


LIMIT = 2_000_000
_BYTES_PER_ROW = 1_500
_HALF = 48.0
"""Half the width of an interval's drawing, in pixels: what the greatest of a row takes."""


@dataclass(frozen=True)
class ShownRow:
    """One row as texts; `bar` (low, at, high, threshold) in pixels from the middle, or None."""

    dataset: str
    generator: str
    role: str
    number: str
    family: str
    unit: str
    arrow: str
    status: str
    fails: bool
    base: str
    head: str
    difference: str
    interval: str
    p: str
    sort_base: float | None
    sort_head: float | None
    sort_difference: float | None
    sort_p: float | None
    bar: tuple[float, float, float, float] | None
    reason: str


def render_comparison(comparison: Comparison) -> str:
    """The page as text, self-contained, of at most `LIMIT` bytes.

    Where all rows are too many, unchanged values by label, then other unchanged rows, are left
    to the machine-readable formats; the page says how many.

    Raises
    ------
    BenchError
        If the extra `report` is not installed.
    """
    from markupsafe import Markup

    from haplobench.report.svg import clean

    drawn = comparison_svg(comparison)
    chart = ""
    if drawn:
        chart = Markup(clean(drawn, prefix="c-", ink="currentColor", label=TITLE, interactive=True))
    context: dict[str, Any] = {
        "title": f"{comparison.head.name} against {comparison.base.name}",
        "subtitle": _counted(comparison),
        "verdict": verdict(comparison),
        "passed": comparison.exit_code == 0,
        "warnings": comparison.warnings,
        "sides": side_facts(comparison.base, comparison.head),
        "counts": [(status, count) for status, count in comparison.counts.items() if count],
        "changed": [show_row(row) for row in comparison.changed],
        "confidence": f"{100 * comparison.confidence:g}",
        "alpha": f"{comparison.alpha:g}",
        "correction": comparison.correction,
        "chart": chart,
        "chart_title": TITLE,
        "chart_caption": CAPTION,
    }
    rows = list(comparison.rows)
    for keep in (None, _unlabelled, _changed):
        kept = rows if keep is None else [row for row in rows if keep(row)]
        if len(kept) * _BYTES_PER_ROW / 2 > LIMIT and keep is not _changed:
            continue
        context |= {"datasets": _by_dataset(kept), "left_out": len(rows) - len(kept)}
        text = html.render("comparison.html.jinja", context)
        if len(text.encode()) <= LIMIT:
            return text
    # Even what changed is too much: the gravest rows, as many as fit.
    most = len(context["changed"])
    while most > 1:
        most //= 2
        changed = context["changed"][:most]
        context |= {"changed": changed, "datasets": [], "left_out": len(rows) - most}
        text = html.render("comparison.html.jinja", context)
        if len(text.encode()) <= LIMIT:
            break
    return text


def _unlabelled(row: Row) -> bool:
    return row.status != "unchanged" or not row.labels


def _changed(row: Row) -> bool:
    return row.status != "unchanged"


def _by_dataset(rows: Iterable[Row]) -> list[tuple[str, list[ShownRow]]]:
    found: dict[str, list[ShownRow]] = {}
    for row in rows:
        found.setdefault(row.dataset, []).append(show_row(row))
    return list(found.items())


def verdict(comparison: Comparison) -> str:
    """One sentence: whether it passes, and why not."""
    failing = comparison.failing
    if comparison.powerless and comparison.exit_code == 3:
        return f"Too little power to find anything: {powerless(comparison)}."
    if comparison.exit_code == 3:
        return "Nothing could be compared."
    if not failing and comparison.interrupted:
        return "No gated number regressed so far: head is an unfinished run."
    blind = sum(row.gated and row.status == "can't tell" for row in comparison.rows)
    if not failing:
        also = f"; {blind} can't be told" if blind else ""
        return f"No gated number regressed{also}."
    regressed = sum(row.status == "regressed" for row in failing)
    missing = sum(row.status == "missing" for row in failing)
    failed = len(failing) - regressed - missing
    parts = []
    if regressed:
        parts.append(f"{regressed} gated number{'s' if regressed > 1 else ''} regressed")
    if failed:
        parts.append(f"{failed} failed")
    if missing:
        parts.append(f"{missing} missing")
    where = sorted({f"{row.generator} on {row.dataset}" for row in failing})
    more = f" and {len(where) - 4} more" if len(where) > 4 else ""
    return f"{', '.join(parts)}: {', '.join(where[:4])}{more}."


def _counted(comparison: Comparison) -> str:
    counts = [f"{count} {status}" for status, count in comparison.counts.items() if count]
    return " · ".join([f"{format_count(len(comparison.rows))} numbers", *counts])


def side_facts(base: Side, head: Side) -> list[tuple[str, str, str]]:
    """(name, of base, of head) of what both sides are; without what neither tells."""

    def facts(side: Side) -> list[tuple[str, str]]:
        commit = side.git_sha[:12] + (" with uncommitted changes" if side.git_dirty else "")
        return [
            ("Source", side.source or side.name),
            ("Suite", side.suite),
            ("Run", side.run_id),
            ("Commit", commit),
            ("Machine", side.machine or side.hardware),
            ("Started", side.started),
            ("Seeds", ", ".join(map(str, side.seeds))),
            ("Records", format_count(side.n_records)),
        ]

    pairs = zip(facts(base), facts(head), strict=True)
    return [(name, old, new) for (name, old), (_, new) in pairs if old or new]


def show_row(row: Row) -> ShownRow:
    """A row as texts: numbers with three digits, the difference with its interval."""
    number = row.title or row.submetric or row.metric
    if not row.metric:
        number = "(whole generator)"
    relative = row.relative_threshold and row.relative is not None and row.difference is not None
    difference, interval = "", ""
    if row.difference is not None:
        difference = signed(row.difference, row.unit)
        if relative and row.relative is not None:
            difference = f"{100 * row.relative:+.1f}\N{NO-BREAK SPACE}%".replace("-", "−")
        if row.low is not None and row.high is not None:
            interval = f"{signed(row.low, row.unit)} to {signed(row.high, row.unit)}"
    p = row.q_value if row.q_value is not None else row.p_value
    return ShownRow(
        dataset=row.dataset,
        generator=row.generator,
        role=row.role,
        number=number,
        family=row.family,
        unit=row.unit,
        arrow=ARROWS.get(row.direction, ""),
        status=row.status,
        fails=row.fails,
        base="–" if row.base is None else format_value(row.base, unit=row.unit),
        head="–" if row.head is None else format_value(row.head, unit=row.unit),
        difference=difference or "–",
        interval=interval,
        p="–" if p is None else ("<0.0001" if p < 1e-4 else f"{p:.4f}"),
        sort_base=row.base,
        sort_head=row.head,
        sort_difference=row.difference,
        sort_p=p,
        bar=_bar(row),
        reason=row.reason + _detectable(row),
    )


def _detectable(row: Row) -> str:
    """What a row that can't be told could have told."""
    if row.status != "can't tell" or row.detectable is None:
        return ""
    if row.relative_threshold:
        return f" (could have: {100 * row.detectable:.3g}\N{NO-BREAK SPACE}%)"
    return f" (could have: {format_value(row.detectable, unit=row.unit)})"


def _bar(row: Row) -> tuple[float, float, float, float] | None:
    """The interval of the worsening, to the right is worse; None without one."""
    if row.worsening is None or row.low is None or row.high is None:
        return None
    ends = (row.low, row.high) if row.direction != "higher" else (-row.high, -row.low)
    threshold = row.min_effect
    if row.relative_threshold:
        threshold *= abs(row.base or 0.0)
    greatest = max(abs(row.worsening), *map(abs, ends), threshold)
    if greatest == 0:
        return None
    scale = _HALF / greatest
    low, at, high = (scale * value for value in (ends[0], row.worsening, ends[1]))
    return low, at, high, scale * threshold


_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render_junit(comparison: Comparison) -> str:
    """JUnit XML: a suite per dataset and generator, a case per number.

    Gated regressions are failures, failed cells errors; what couldn't be compared or told is
    skipped.
    """
    top = ElementTree.Element("testsuites", name="bench compare")
    totals = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    for place, rows in show.groups(list(comparison.rows)):
        suite = ElementTree.SubElement(top, "testsuite", name=_xml(place))
        counts = dict.fromkeys(totals, 0)
        for row in rows:
            counts["tests"] += 1
            kind = _case(suite, row)
            if kind:
                counts[kind] += 1
        for name, count in counts.items():
            suite.set(name, str(count))
            totals[name] += count
    for name, count in totals.items():
        top.set(name, str(count))
    ElementTree.indent(top)
    return ElementTree.tostring(top, encoding="unicode", xml_declaration=True) + "\n"


def _case(suite: ElementTree.Element, row: Row) -> Literal["", "failures", "errors", "skipped"]:
    labels = ",".join(f"{key}={value}" for key, value in sorted(row.labels.items()))
    name = "/".join(part for part in (row.metric, row.submetric, labels) if part) or "run"
    case = ElementTree.SubElement(
        suite, "testcase", classname=_xml(f"{row.dataset}.{row.generator}"), name=_xml(name)
    )
    text = _message(row)
    if row.status == "failed" and row.fails:
        ElementTree.SubElement(case, "error", message=text, type="failed")
        return "errors"
    if row.fails:
        ElementTree.SubElement(case, "failure", message=text, type=row.status).text = text
        return "failures"
    if row.status not in TOLD:
        ElementTree.SubElement(case, "skipped", message=text)
        return "skipped"
    ElementTree.SubElement(case, "system-out").text = text
    return ""


def _message(row: Row) -> str:
    parts: list[str] = [row.status]
    if row.base is not None and row.head is not None:
        parts.append(f"{row.base:.6g} -> {row.head:.6g} {row.unit}".rstrip())
        parts += [text for text in (show.change(row), show.evidence(row)) if text]
    if row.reason:
        parts.append(row.reason)
    return _xml("; ".join(parts))


def _xml(text: str) -> str:
    """Text without the control characters that XML has no way to write."""
    return _FORBIDDEN.sub("\ufffd", text)


def render_github(comparison: Comparison, better: Literal["smaller", "bigger"]) -> str:
    """JSON for github-action-benchmark: head's numbers for which smaller (or bigger) is better.

    Its tool names are `customSmallerIsBetter` and `customBiggerIsBetter`; a file holds one kind.
    A number that should come close to an ideal goes among the smaller as its distance from it.
    """
    entries = []
    for row in comparison.rows:
        if row.head is None or row.direction == "info" or row.role == "floor":
            continue
        if (row.direction == "higher") != (better == "bigger"):
            continue
        value, unit = row.head, row.unit or "1"
        if row.direction == "closer" and row.ideal is not None:
            value, unit = abs(value - row.ideal), f"{unit} from {row.ideal:g}"
        entry: dict[str, Any] = {"name": row.key, "unit": unit, "value": value}
        half = _half(row)
        if half is not None:
            entry["range"] = f"± {half:.3g}"
        entry["extra"] = f"{row.status}; n={row.head_n}"
        if row.detectable is not None:
            entry["extra"] += f"; detectable={row.detectable:.3g}"
        entries.append(entry)
    return json.dumps(entries, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _half(row: Row) -> float | None:
    """Half the interval of the difference."""
    if row.low is None or row.high is None:
        return None
    half = (row.high - row.low) / 2
    return half if math.isfinite(half) and half > 0 else None


def render_bencher(comparison: Comparison) -> str:
    """Bencher Metric Format: benchmark `dataset/generator`, measure `metric/submetric[/labels]`.

    `lower_value` and `upper_value` are head's value with half the interval of its difference
    from base to either side.
    """
    found: dict[str, dict[str, dict[str, float]]] = {}
    for row in comparison.rows:
        if row.head is None or not row.submetric:
            continue
        place = f"{row.dataset}/{row.generator}"
        measure = {"value": row.head}
        half = _half(row)
        if half is not None:
            measure |= {"lower_value": row.head - half, "upper_value": row.head + half}
        found.setdefault(place, {})[row.key.removeprefix(f"{place}/")] = measure
    return json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def render_json(comparison: Comparison) -> str:
    """The comparison as it is, for programs: sides, rows, counts, exit code."""
    from dataclasses import asdict

    value = asdict(comparison)
    value["counts"] = dict(comparison.counts)
    value["exit_code"] = comparison.exit_code
    value["verdict"] = show.verdict(comparison)
    return json.dumps(_finite(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


FILES = {
    "md": "comparison.md",
    "junit": "comparison.xml",
    "github-smaller": "github-smaller.json",
    "github-bigger": "github-bigger.json",
    "bencher": "bencher.json",
    "json": "comparison.json",
    "html": "comparison.html",
}
"""Formats, and the file of each in a folder."""


def render(comparison: Comparison, form: str, *, everything: bool = False) -> str:
    """The text of a comparison in one of `FILES`' formats; BenchError if it is none of them."""
    if form not in FILES:
        raise BenchError(f"no format {form!r}", hint=f"one of {', '.join(FILES)}")
    if form == "md":
        return render_markdown(comparison, everything=everything)
    if form.startswith("github-"):
        return render_github(comparison, "smaller" if form == "github-smaller" else "bigger")
    if form == "html":
        return render_comparison(comparison)
    return {"junit": render_junit, "bencher": render_bencher, "json": render_json}[form](comparison)


def write_comparison(
    comparison: Comparison, to: Path, forms: tuple[str, ...], *, everything: bool = False
) -> list[Path]:
    """Write each format into a file, whole or not at all.

    `to` is a file where it has a suffix and one format is asked for, else a folder.
    """
    single = len(forms) == 1 and bool(to.suffix) and not to.is_dir()
    written = []
    for form in forms:
        path = to if single else to / FILES[form]
        text = render(comparison, form, everything=everything)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)
        written.append(path)
    return written
