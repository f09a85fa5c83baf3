"""The statement on one generator: its verdict on a page, tied to what was looked at."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from haplobench.errors import BenchError
from haplobench.files import jsonable, printable, write_whole
from haplobench.report.evidence import Exposed
from haplobench.report.facts import dataset_facts, sites_by_family
from haplobench.report.model import Summary
from haplobench.report.privacy_claims import PrivacyClaim, read_claims
from haplobench.report.style import FONT
from haplobench.report.verdict import (
    Attempt,
    Inside,
    Verdict,
    explain,
    faithful_band,
    inside_words,
    leak_words,
    leaks_band,
)
from haplobench.results.table import row_label
from haplobench.suite.schema import VerdictSettings

_OF_FILE = " SHA-256"
_CONTIGS = re.compile(r"contigs? [^:]+: ")
_PANEL = ("Region", "Haplotypes", "Variant sites")
FORMATS = (".html", ".pdf")
_SUBTITLE = "What was looked at, what was found, and what was not assessed."


@dataclass(frozen=True)
class Statement:
    """A verdict with what it rests on.

    Attributes
    ----------
    verdict : Verdict
    rules : VerdictSettings
    title, run_id, made, code : str
        Of the run: its title, id, when it was finished and by which commit.
    data : tuple of str
        The dataset: region, people, sites.
    dataset_digest : str
        SHA-256 of the prepared panels.
    sites : str
        How many sites each family of metrics saw.
    cohorts, files : tuple of (str, str)
        Cohorts that were looked at, and the SHA-256 of their panels (see `Panel.digest`); files
        that were handed in, and theirs.
    claim : PrivacyClaim or None
    worst : Exposed or None
        The training person who is given away most surely.
    warnings : tuple of str
        What is amiss with the panels, or with the cohort.
    """

    verdict: Verdict
    rules: VerdictSettings
    title: str
    run_id: str
    made: str
    code: str
    data: tuple[str, ...]
    dataset_digest: str
    sites: str
    cohorts: tuple[tuple[str, str], ...]
    files: tuple[tuple[str, str], ...] = ()
    claim: PrivacyClaim | None = None
    worst: Exposed | None = None
    warnings: tuple[str, ...] = ()


def make_statement(summary: Summary, verdict: Verdict) -> Statement:
    """The statement on a row of a run's tables."""
    info = summary.run.info
    dataset = summary.run.datasets[verdict.dataset]
    git: Mapping[str, Any] = info.get("git") or {}
    code = str(git.get("sha") or "") + (" with changes" if git.get("dirty") else "")
    told = dict(dataset_facts(dataset))
    people = verdict.leaks.people
    return Statement(
        verdict,
        summary.rules,
        str(info.get("title") or info.get("suite") or ""),
        str(info.get("run_id") or summary.run.folder.name),
        str(info.get("finished") or info.get("started") or ""),
        code,
        tuple(f"{name}: {told[name]}" for name in _PANEL if name in told),
        str(dataset.get("digest") or ""),
        sites_by_family(dataset),
        tuple(_cohorts(info, verdict)),
        tuple(
            (name.removesuffix(_OF_FILE), str(digest))
            for name, digest in (dataset.get("provenance") or {}).items()
            if name.endswith(_OF_FILE)
        ),
        read_claims(summary.run).get(verdict.dataset, {}).get(verdict.generator),
        people[0] if people else None,
        tuple(_warnings(dataset.get("warnings") or (), summary, verdict.generator)),
    )


def _warnings(texts: Iterable[str], summary: Summary, label: str) -> Iterator[str]:
    """Those of all cohorts and of this one: of several, its label stands before, after contigs."""
    own = f"{label}: "
    others = tuple(f"{one}: " for one in summary.run.cohorts if one != label)
    for text in texts:
        place = match[0] if (match := _CONTIGS.match(text)) else ""
        said = text.removeprefix(place)
        if said.startswith(own) or not said.startswith(others):
            yield place + said.removeprefix(own)


def _cohorts(info: Mapping[str, Any], verdict: Verdict) -> list[tuple[str, str]]:
    found = []
    for entry in info.get("cohorts") or ():
        row = row_label(entry["generator"], entry.get("world_size") or 1)
        if (entry["dataset"], row) == (verdict.dataset, verdict.generator):
            found += [
                (f"seed {entry['seed']}, {_draw(name)}", digest)
                for name, digest in entry["digests"].items()
            ]
    return found


def _draw(name: str) -> str:
    if name == "train":
        return "cohort of the training panel's size"
    return f"draw {int(name.removeprefix('draw')) + 1}"


def statement_facts(statement: Statement, names: bool = False) -> list[tuple[str, list[str]]]:
    """What the page says: headings, and their lines; people by name where `names`."""
    verdict, claim = statement.verdict, statement.claim
    facts = [
        ("Faithful?", [inside_words(verdict.faithful)]),
        ("Useful?", [inside_words(verdict.useful)]),
        ("Leaks?", [leak_words(verdict.leaks)]),
        ("Warnings", list(statement.warnings)),
        ("Worst person", [_worst(statement, names)]),
        ("Differential privacy", _claimed(claim)),
        ("Not assessed", _not_assessed(verdict)),
        ("Looked at", list(statement.data)),
        ("Sites, by family", [statement.sites or "not recorded in this run"]),
        ("Cohorts, SHA-256 of their panels", _digests(statement)),
        ("Files handed in, SHA-256", [f"{name}: {digest}" for name, digest in statement.files]),
        ("Panel of real people, SHA-256", [statement.dataset_digest or "not recorded"]),
        ("Rules", [explain(statement.rules), _materials(statement.rules)]),
        (
            "Run",
            [" · ".join(filter(None, (statement.title, statement.run_id, statement.made)))]
            + ([f"code {statement.code}"] if statement.code else []),
        ),
    ]
    return [(head, [line for line in lines if line]) for head, lines in facts if any(lines)]


def _worst(statement: Statement, names: bool) -> str:
    people, worst = statement.verdict.leaks.people, statement.worst
    if people is None:
        return "nobody was looked for by name"
    if worst is None:
        return "nobody is named"
    who = worst.sample if names else "a training person"
    parts = [who, worst.evidence, "" if worst.q is None else f"q {worst.q:.2g}"]
    parts.append(f"given away by {worst.cohorts} of {worst.looked_at} cohorts")
    others = len(people) - 1
    return "; ".join(filter(None, parts)) + (f"; {others:,} more are named" if others else "")


def _claimed(claim: PrivacyClaim | None) -> list[str]:
    return ["the generator claims none"] if claim is None else [claim.text, claim.words]


def _not_assessed(verdict: Verdict) -> list[str]:
    lines = [f"{reason}: {' · '.join(titles)}" for reason, titles in verdict.lacking]
    if not verdict.useful.judged:
        lines.append("utility: no headline number of this run measures it")
    return lines


def _digests(statement: Statement) -> list[str]:
    cohorts = [f"{name}: {digest}" for name, digest in statement.cohorts]
    return cohorts or ["not recorded in this run: its cohorts can't be told from others"]


def _materials(rules: VerdictSettings) -> str:
    listed = ", ".join(f"{name} {value:g}" for name, value in rules.material.items())
    return f"The suite's own values that matter: {listed}." if listed else ""


def render_text(statement: Statement, names: bool = False, width: int = 80) -> str:
    """The statement as text, so many columns wide."""
    lines = [_heading(statement), ""]
    for head, texts in statement_facts(statement, names):
        lines.append(head)
        for text in texts:
            lines += textwrap.wrap(text, width, initial_indent="  ", subsequent_indent="    ")
    return "\n".join(lines) + "\n"


def _heading(statement: Statement) -> str:
    verdict = statement.verdict
    role = " (control)" if verdict.role == "control" else ""
    return f"Verdict on {verdict.generator}{role}, {verdict.dataset}"


def render_json(statements: Sequence[Statement], names: bool = False) -> str:
    """Statements as one JSON object: the rules, and all verdicts with what they rest on."""
    head: dict[str, Any] = {}
    if statements:
        first = statements[0]
        head = {"run": first.run_id, "title": first.title, "made": first.made, "code": first.code}
        head["rules"] = first.rules.model_dump()
    values = head | {"verdicts": [_entry(one, names) for one in statements]}
    return json.dumps(jsonable(values), indent=1, ensure_ascii=False) + "\n"


def _entry(statement: Statement, names: bool) -> dict[str, Any]:
    verdict, claim, worst = statement.verdict, statement.claim, statement.worst
    leaks = verdict.leaks
    person = None
    if worst is not None:
        person = {"evidence": worst.evidence, "p": worst.p, "q": worst.q}
        person |= {"cohorts": worst.cohorts, "looked_at": worst.looked_at}
        person |= {"sample": worst.sample} if names else {}
    return {
        "dataset": verdict.dataset,
        "generator": verdict.generator,
        "role": verdict.role,
        "faithful": _inside(verdict.faithful),
        "useful": _inside(verdict.useful),
        "leaks": {
            "answer": leaks.answer,
            "reason": leaks.reason,
            "people_named": leaks.named,
            "worst_person": person,
            "attacks": [_attempt(one) for one in leaks.attempts],
        },
        "claim": claim
        and {name: getattr(claim, name) for name in ("epsilon", "delta", "text", "words")},
        "warnings": list(statement.warnings),
        "not_assessed": [
            {"reason": reason, "numbers": list(titles)} for reason, titles in verdict.lacking
        ],
        "dataset_digest": statement.dataset_digest,
        "sites": statement.sites,
        "cohorts": dict(statement.cohorts),
        "files": dict(statement.files),
    }


def _inside(inside: Inside) -> dict[str, Any]:
    return {**asdict(inside), "outside": list(inside.outside), "far": list(inside.far)}


def _attempt(one: Attempt) -> dict[str, Any]:
    attack = one.attack
    return {
        "number": one.number,
        "title": one.title,
        "value": one.value,
        "unit": attack.info.unit,
        "low": attack.low,
        "high": attack.high,
        "p": attack.p,
        "p_adjusted": attack.adjusted,
        "detectable": attack.detectable,
        "material": attack.info.material,
        "finding": attack.finding,
    }


# --- the page -------------------------------------------------------------------------------


def write_statement(statement: Statement, path: Path, names: bool = False) -> None:
    """Write the page as HTML or PDF, by the ending of `path`; whole or not at all.

    Raises BenchError where the ending is neither, or what draws it isn't installed.
    """
    if path.suffix == ".pdf":
        write_whole(path, _pdf(_svg(statement, names)))
    elif path.suffix == ".html":
        write_whole(path, _html(statement, names))
    else:
        raise BenchError(f"{path}: expected a name that ends in {' or '.join(FORMATS)}")


def _html(statement: Statement, names: bool) -> str:
    from haplobench.report.html import render

    verdict = statement.verdict
    bands = {
        "Faithful?": faithful_band(verdict.faithful),
        "Useful?": faithful_band(verdict.useful),
        "Leaks?": leaks_band(verdict.leaks),
    }
    facts = [
        (head, lines, bands.get(head, "")) for head, lines in statement_facts(statement, names)
    ]
    return render(
        "statement.html.jinja",
        {"title": _heading(statement), "subtitle": _SUBTITLE, "facts": facts},
    )


def _pdf(svg: str) -> bytes:
    try:
        import vl_convert
    except ImportError:
        raise BenchError(
            "a statement as PDF needs vl-convert-python", hint="pip install 'haplobench[report]'"
        ) from None
    return bytes(vl_convert.svg_to_pdf(svg))


_WIDTH, _HEIGHT, _MARGIN, _SIZE, _COLUMNS = 595, 842, 48, 9, 108
"""A4 in points, its margin, the size of letters, and how many of them a line has."""


def _svg(statement: Statement, names: bool) -> str:
    """One page; where the text is longer than it, all of it is drawn smaller."""
    rows: list[tuple[str, str]] = [(_heading(statement), f'font-size="{2 * _SIZE}"')]
    for head, texts in statement_facts(statement, names):
        rows += [("", ""), (head, 'font-weight="bold"')]
        for text in texts:
            rows += [(line, "") for line in textwrap.wrap(text, _COLUMNS, subsequent_indent="  ")]
    leading = 1.4 * _SIZE
    height = max(_HEIGHT, 2 * _MARGIN + leading * len(rows) + _SIZE)
    width = height * _WIDTH / _HEIGHT
    lines = []
    for at, (text, style) in enumerate(rows):
        if text:
            y = _MARGIN + _SIZE + leading * at
            lines.append(
                f'<text x="{_MARGIN}" y="{y:.1f}" xml:space="preserve" {style}>'
                f"{escape(printable(text))}</text>"
            )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" '
        f'viewBox="0 0 {width:.1f} {height:.1f}" font-family="{escape(FONT)}" '
        f'font-size="{_SIZE}">{"".join(lines)}</svg>'
    )
