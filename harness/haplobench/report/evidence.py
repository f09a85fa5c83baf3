"""Evidence of leaks: what all attacks together say of a generator, errors of many bounded.

And whom cohorts give away, by name: what metrics leave in their series' `people`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from haplobench.errors import BenchError
from haplobench.files import csv_text, jsonable
from haplobench.plugin import Measurement
from haplobench.results.description import SubmetricInfo
from haplobench.results.records import FLOOR, SUBSAMPLE, Record
from haplobench.results.run_folder import RunFolder
from haplobench.results.table import Labels, Run, labels_of, row_label
from haplobench.suite.schema import VerdictSettings

NAMING = 0.4
"""Share of the level for attacks that name people: what a custodian must not overlook."""

Finding = Literal["leak", "unseen", "clear", "unclear"]
FINDINGS: Mapping[Finding, str] = {
    "leak": "training people are given away beyond what held-out people are",
    "unseen": "not seen by this attack; others find a leak",
    "clear": "no leak seen; one of the size that matters would have been",
    "unclear": "can't tell: no leak seen, but these people are too few to see one that matters",
}
"""What an attack's numbers mean, in words."""


@dataclass(frozen=True)
class Attack:
    """One number that is evidence, over all cohorts of a generator on a dataset.

    Attributes
    ----------
    p : float
        Of all its cohorts together: see `merged`.
    adjusted : float
        `p` adjusted for all attacks on the generator (Holm 1979, within those that name people
        and the others, which share the level).
    low, high : float or None
        The least lower and the greatest upper bound of the cohorts' 95 % intervals.
    detectable : float or None
        The greatest of what the cohorts' people could show.
    finding : str
        A key of `FINDINGS`.
    """

    info: SubmetricInfo
    p: float
    adjusted: float
    low: float | None
    high: float | None
    detectable: float | None
    finding: Finding


AttackKey = tuple[str, str, Labels]
Tested = Record | Measurement
"""What has `p`, `low`, `high` and `detectable`."""


def judge_attacks(
    run: Run, rules: VerdictSettings | None = None
) -> dict[tuple[str, str], dict[AttackKey, Attack]]:
    """Attacks by dataset and row of the tables, then by metric, submetric and labels.

    The chance that any attack on a row finds a leak where there is none is at most the rules'
    `level`: p-values hold for one cohort each, and whatever depends on what, `merged` and Holm's
    correction hold. A row's attacks are `clear` only if none of them finds a leak.
    """
    rules = rules or VerdictSettings()
    known = {
        (m.name, item.name): replace(
            item, material=rules.material.get(f"{m.name}.{item.name}", item.material)
        )
        for m in run.metrics.values()
        for item in m.submetrics
    }
    rows: dict[tuple[str, str], dict[AttackKey, list[Record]]] = {}
    for record in run.records:
        info = known.get((record.metric, record.submetric))
        if info is None or not info.evidence or record.p is None or record.value is None:
            continue
        if record.role in (FLOOR, SUBSAMPLE):
            continue
        place = (record.dataset, row_label(record.generator, record.world_size))
        key = (record.metric, record.submetric, labels_of(record))
        rows.setdefault(place, {}).setdefault(key, []).append(record)
    judged = {place: judge(attacks, known, rules.level) for place, attacks in rows.items()}
    for place, attacks in judged.items():
        if run.doubt(*place):
            for key, attack in attacks.items():
                if attack.finding == "clear":
                    attacks[key] = replace(attack, finding="unclear")
    return judged


def judge(
    attacks: Mapping[AttackKey, Sequence[Tested]],
    known: Mapping[tuple[str, str], SubmetricInfo],
    level: float,
) -> dict[AttackKey, Attack]:
    """All attacks on one generator together; each has a result of every cohort."""
    p = {key: merged([record.p or 0.0 for record in records]) for key, records in attacks.items()}
    adjusted: dict[AttackKey, float] = {}
    for names, share in ((True, NAMING), (False, 1 - NAMING)):
        keys = [key for key in attacks if known[key[:2]].names is names]
        values = holm([p[key] for key in keys])
        adjusted |= {key: min(1.0, p / share) for key, p in zip(keys, values, strict=True)}
    leaks = any(value <= level for value in adjusted.values())
    judged = {}
    for key, records in attacks.items():
        info = known[key[:2]]
        lows, highs, detectable = (
            [value for record in records if (value := getattr(record, name)) is not None]
            for name in ("low", "high", "detectable")
        )
        high, least = max(highs, default=None), max(detectable, default=None)
        judged[key] = Attack(
            info,
            p[key],
            adjusted[key],
            min(lows, default=None),
            high,
            least,
            "leak"
            if adjusted[key] <= level
            else "unseen"
            if leaks
            else "clear"
            if _shown_absent(info, high, least)
            else "unclear",
        )
    return judged


def _shown_absent(info: SubmetricInfo, high: float | None, detectable: float | None) -> bool:
    """Whether what matters would have been seen: by the interval, else by the power."""
    bound = detectable if high is None else high
    return info.material is not None and bound is not None and bound <= info.material


def merged(p: Sequence[float]) -> float:
    """One p-value of several of the same hypothesis, whatever depends on what.

    Twice the lesser of the least times their number and of the median times (about) two, which
    each hold by themselves (Rueger 1978; Vovk and Wang 2020): a leak may be in one cohort alone,
    or in all, but sure in none.
    """
    values, n = sorted(p), len(p)
    middle = n // 2 + 1
    return min(1.0, 2 * min(n * values[0], n / middle * values[middle - 1])) if n > 1 else values[0]


def false_discovery_rates(p: Sequence[float]) -> list[float]:
    """P-values adjusted so that the share of false ones is bounded (Benjamini & Hochberg 1995)."""
    order = sorted(range(len(p)), key=lambda i: p[i], reverse=True)
    adjusted, least = [0.0] * len(p), 1.0
    for above, i in enumerate(order):
        least = min(least, p[i] * len(p) / (len(p) - above))
        adjusted[i] = least
    return adjusted


def holm(p: Sequence[float]) -> list[float]:
    """P-values adjusted so that the chance of any false one is bounded (Holm 1979)."""
    order = sorted(range(len(p)), key=lambda i: p[i])
    adjusted, largest = [0.0] * len(p), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p) - rank) * p[i]))
        adjusted[i] = largest
    return adjusted


TABLE = "people"
"""The table of a metric's series that names training people, one a row: see `MetricResult`."""
_KNOWN = ("sample", "population", "flagged", "evidence", "p", "q")

Place = tuple[str, str]
"""Dataset, and row of the tables."""


@dataclass(frozen=True)
class Exposed:
    """A training person whom a generator gives away, of all its cohorts that were looked at.

    `p` and `q` are of all cohorts together, `evidence` and the `details` (further columns of the
    table) of the cohort in which `q` is least; `cohorts` of `looked_at` cohorts give the person
    away.
    """

    dataset: str
    generator: str
    sample: str
    population: str
    evidence: str
    p: float | None
    q: float | None
    cohorts: int
    looked_at: int
    details: Mapping[str, Any] = field(default_factory=dict)


def exposed_people(run: Run, rules: VerdictSettings | None = None) -> dict[Place, list[Exposed]]:
    """Those flagged, the surest first, of every row that a list of people was made of.

    Of several cohorts each may flag somebody by chance: then those are left whom all cohorts
    together still give away. Raises FormatError for series that can't be read.
    """
    level = NAMING * (rules or VerdictSettings()).level
    tables: dict[Place, list[list[dict[str, Any]]]] = {}
    for place, table in _tables(run):
        columns = {name: values.tolist() for name, values in table.items()}
        rows = [
            dict(zip(columns, values, strict=True))
            for values in zip(*columns.values(), strict=True)
        ]
        tables.setdefault(place, []).append(rows)
    return {place: _joined(place, cohorts, level) for place, cohorts in tables.items()}


def _tables(run: Run) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    """Rows of the tables and their lists of people, one a cohort."""
    folder, seen = RunFolder(run.folder), set()
    for record in run.records:
        metric = run.metrics.get(record.metric)
        if not record.series or record.series in seen or record.role in (FLOOR, SUBSAMPLE):
            continue
        seen.add(record.series)
        if metric is None or metric.family != "privacy":
            continue
        if not (run.folder / record.series).is_file():
            continue
        table = folder.series(record, TABLE).get(TABLE, {})
        if {"sample", "flagged"} <= set(table):
            yield (record.dataset, row_label(record.generator, record.world_size)), table


def _joined(
    place: Place, cohorts: Sequence[Sequence[Mapping[str, Any]]], level: float
) -> list[Exposed]:
    people: dict[str, list[Mapping[str, Any]]] = {}
    for rows in cohorts:
        for row in rows:
            people.setdefault(str(row["sample"]), []).append(row)
    # Lists of people by other hands may have no p-values, or leave people out.
    whole = all(
        len(rows) == len(cohorts) and all(row.get("p") is not None for row in rows)
        for rows in people.values()
    )
    together: dict[str, tuple[float, float]] = {}
    if whole and len(cohorts) > 1:
        p = [merged([row["p"] for row in rows]) for rows in people.values()]
        together = dict(zip(people, zip(p, false_discovery_rates(p), strict=True), strict=True))
    exposed = []
    for sample, rows in people.items():
        flagged = [row for row in rows if row["flagged"]]
        if not flagged or (together and together[sample][1] > level):
            continue
        surest = min(flagged, key=_surety)
        p_q = together.get(sample, (surest.get("p"), surest.get("q")))
        exposed.append(
            Exposed(
                *place,
                sample=sample,
                population=str(surest.get("population", "")),
                evidence=str(surest.get("evidence", "")),
                p=p_q[0],
                q=p_q[1],
                cohorts=len(flagged),
                looked_at=len(cohorts),
                details={key: value for key, value in surest.items() if key not in _KNOWN},
            )
        )
    return sorted(exposed, key=lambda one: (_surety(vars(one)), -one.cohorts, one.sample))


def _surety(row: Mapping[str, Any]) -> tuple[float, float]:
    """Smaller the surer; without q or p, as unsure as can be."""
    q, p = (row.get(name) for name in ("q", "p"))
    return (1.0 if q is None else q, 1.0 if p is None else p)


def find_leaks(run: Run, generator: str = "", dataset: str = "") -> list[Exposed]:
    """People flagged in a run, of one generator and dataset where they are named.

    Raises BenchError where the run has no list of people, or none of what is named.
    """
    run.require(generator, dataset)
    found = {
        place: people
        for place, people in exposed_people(run).items()
        if generator in ("", place[1]) and dataset in ("", place[0])
    }
    if not found:
        of = "".join(f" of {text}" for text in (generator, dataset) if text)
        raise BenchError(
            f"{run.folder}: no list of people{of}: nobody was looked for by name, or the run's "
            "series are gone",
            hint="a suite with the metric leak-list makes it",
        )
    order = {label: at for at, label in enumerate(run.cohorts)}
    places = sorted(found, key=lambda place: (list(run.datasets).index(place[0]), order[place[1]]))
    return [person for place in places for person in found[place]]


def _plain(person: Exposed) -> dict[str, Any]:
    """A person as plain values, details beside the others."""
    values = {key: value for key, value in vars(person).items() if key != "details"}
    return values | {key: value for key, value in person.details.items() if key not in values}


def render_csv(people: Sequence[Exposed]) -> str:
    """People as CSV, one a line, every column."""
    rows = [_plain(person) for person in people]
    heads = dict.fromkeys(key for row in rows for key in row)
    names = list(heads) or [key for key in Exposed.__dataclass_fields__ if key != "details"]
    return csv_text(names, rows)


def render_json(people: Sequence[Exposed]) -> str:
    """People as a list of JSON objects."""
    rows = jsonable([_plain(person) for person in people])
    return json.dumps(rows, indent=1, ensure_ascii=False) + "\n"
