"""Training people whom cohorts give away, by name: what metrics leave in their series' `people`."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from haplobench.errors import BenchError
from haplobench.files import jsonable
from haplobench.report.evidence import NAMING, false_discovery_rates, merged
from haplobench.results.records import FLOOR, SUBSAMPLE
from haplobench.results.run_folder import RunFolder
from haplobench.results.table import Run, row_label
from haplobench.suite.schema import VerdictSettings

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
    stream = io.StringIO()
    writer = csv.DictWriter(stream, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def render_json(people: Sequence[Exposed]) -> str:
    """People as a list of JSON objects."""
    rows = jsonable([_plain(person) for person in people])
    return json.dumps(rows, indent=1, ensure_ascii=False) + "\n"
