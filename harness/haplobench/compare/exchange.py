"""Writing a comparison in the forms asked for."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

from haplobench.compare import show
from haplobench.compare.model import TOLD, Comparison, Row
from haplobench.compare.show import render_markdown
from haplobench.errors import BenchError
from haplobench.files import write_whole

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
        from haplobench.compare.page import render_comparison

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
