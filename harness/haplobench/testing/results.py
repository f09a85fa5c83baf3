"""The form of what a metric returns, and comparison of values."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from haplobench.plugin import Measurement, MetricResult, MetricSpec
from haplobench.testing.checks import Findings, HaltError

_RECORDS = (
    "Records are JSON: a number that is missing, NaN or unlabelled can't be stored or compared."
)

Table = dict[tuple[str, tuple[tuple[str, str], ...]], float | None]
"""Values by submetric and labels."""


def judged_result(findings: Findings, spec: MetricSpec, result: Any, what: str) -> Table:
    """The values of a result by submetric and labels, its form checked."""
    if not findings.expect(
        isinstance(result, MetricResult),
        "result",
        "a MetricResult",
        type(result).__name__,
        _RECORDS,
    ):
        raise HaltError
    declared = {submetric.name for submetric in spec.submetrics}
    reported = set(result.measurements)
    _expect(
        findings,
        reported <= declared,
        "only declared submetrics",
        f"{', '.join(sorted(reported - declared))} ({what})",
    )
    _expect(
        findings,
        declared <= reported,
        "every declared submetric; value None and a note where not applicable",
        f"no {', '.join(sorted(declared - reported))} ({what})",
    )
    table: Table = {}
    for name, found in result.measurements.items():
        for one in [found] if isinstance(found, Measurement) else list(found):
            _measurement(findings, name, one, what)
            key = name, tuple(sorted(one.labels.items()))
            _expect(
                findings,
                key not in table,
                "labels that tell the values of a submetric apart",
                f"{name} twice with labels {dict(one.labels)} ({what})",
            )
            # What isn't finite was just reported, and would only differ from itself below.
            finite = one.value is not None and np.isfinite(one.value)
            table[key] = one.value if finite else None
    _series(findings, result, what)
    return table


def _expect(findings: Findings, ok: bool, expected: str, found: str) -> None:
    findings.expect(ok, "result", expected, found, _RECORDS)


def _measurement(findings: Findings, name: str, one: Measurement, what: str) -> None:
    if one.value is None:
        _expect(
            findings, bool(one.note), f"{name}: a note where the value is None", f"none ({what})"
        )
    else:
        _expect(
            findings,
            isinstance(one.value, int | float)
            and not isinstance(one.value, bool)
            and bool(np.isfinite(one.value)),
            f"{name}: a finite float, or None with a note",
            f"{one.value!r} ({what})",
        )
    error = one.standard_error
    _expect(
        findings,
        error is None or (isinstance(error, float) and bool(np.isfinite(error)) and error >= 0),
        f"{name}: a standard error that is a finite float of 0 or more, or None",
        f"{error!r} ({what})",
    )
    try:
        json.dumps([one.n, dict(one.labels)])
        fine = all(isinstance(text, str) for text in (*one.labels, *one.labels.values()))
    except TypeError:
        fine = False
    _expect(
        findings,
        fine and (one.n is None or isinstance(one.n, int)),
        f"{name}: n an int and labels str to str",
        f"n={one.n!r}, labels={dict(one.labels)!r} ({what})",
    )


def _series(findings: Findings, result: MetricResult, what: str) -> None:
    """Tables of equally long one-dimensional columns that npz can hold without pickle."""
    for table, columns in result.series.items():
        arrays = list(columns.values())
        sound = all(
            isinstance(array, np.ndarray) and array.ndim >= 1 and array.dtype != object
            for array in arrays
        )
        findings.expect(
            sound and len({len(array) for array in arrays}) <= 1,
            "series",
            f"{table}: arrays of one length, no object dtype",
            f"{ {name: _form(array) for name, array in columns.items()} } ({what})",
            "Figures are drawn from these tables long after the run.",
        )


def _form(array: Any) -> str:
    return f"{array.dtype}{array.shape}" if isinstance(array, np.ndarray) else type(array).__name__


def close(one: Table, other: Table) -> bool:
    """Equal but for the rounding of sums taken in another order."""
    if one.keys() != other.keys():
        return False
    for key, a in one.items():
        b = other[key]
        if a is None or b is None:
            if a is not b:
                return False
        elif not np.isclose(a, b, rtol=1e-9, atol=1e-12):
            return False
    return True


def difference(one: Table, other: Table) -> str:
    """The first value that two tables disagree about."""
    for key in one.keys() | other.keys():
        if one.get(key) != other.get(key):
            return f"{key[0]} {dict(key[1]) or ''} {one.get(key)} and {other.get(key)}"
    return "no difference"
