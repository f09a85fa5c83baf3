"""Claims of differential privacy: of whom, and which generators differ in little else."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from haplobench.report.load import Run


@dataclass(frozen=True)
class Claim:
    """What a row of the tables claims.

    Attributes
    ----------
    epsilon : float
        The largest over its seeds; infinite: trained without noise.
    delta : float
        The largest over its seeds.
    unit, accountant, mechanism : str
        As stated, of its first seed.
    """

    epsilon: float
    delta: float
    unit: str = ""
    accountant: str = ""
    mechanism: str = ""

    @property
    def text(self) -> str:
        """For a reader: `ε 7.99, δ 0.0005 per person; PRV (opacus 1.6)`."""
        if math.isinf(self.epsilon):
            return "none: trained without noise"
        unit = f" per {self.unit}" if self.unit else ""
        head = f"ε\N{NO-BREAK SPACE}{self.epsilon:.3g}, δ\N{NO-BREAK SPACE}{self.delta:.2g}{unit}"
        return "; ".join(part for part in (head, self.accountant, self.mechanism) if part)


@dataclass(frozen=True)
class Line:
    """Generators that differ only in the parameter that their ε goes by.

    `label` names what they share and other lines don't; `cohorts` are in order of ε.
    """

    label: str
    cohorts: tuple[str, ...]


def read_claims(run: Run) -> dict[str, dict[str, Claim]]:
    """Claims by dataset and row label, of run.json; rows that claim nothing are left out."""
    found: dict[str, dict[str, list[Mapping[str, Any]]]] = {}
    for entry in run.info.get("claims") or ():
        label = str(entry.get("generator", ""))
        ranks = int(entry.get("world_size") or 1)
        if ranks > 1:
            label = f"{label} ({ranks} ranks)"
        dataset = str(entry.get("dataset", ""))
        found.setdefault(dataset, {}).setdefault(label, []).append(entry)
    return {
        dataset: {label: _claim(entries) for label, entries in rows.items()}
        for dataset, rows in found.items()
    }


def _claim(entries: Sequence[Mapping[str, Any]]) -> Claim:
    bounds = [entry.get("epsilon") for entry in entries]
    first = entries[0]
    return Claim(
        epsilon=max(math.inf if bound is None else float(bound) for bound in bounds),
        delta=max(float(entry.get("delta") or 0.0) for entry in entries),
        **{name: str(first.get(name) or "") for name in ("unit", "accountant", "mechanism")},
    )


def lines(run: Run, claims: Mapping[str, Claim]) -> list[Line]:
    """Rows that claim privacy, joined to lines along which only ε's parameter changes.

    Which parameter that is, is found: the one without which the most generators of a plugin
    agree in all others while their ε differ. A generator that agrees with no other is a line by
    itself.
    """
    result: list[Line] = []
    for name in dict.fromkeys(run.cohorts[label].name for label in claims if label in run.cohorts):
        cohorts = [c for c in run.cohorts.values() if c.name == name and c.label in claims]
        params = {
            c.label: {**flat(c.params), "ranks": c.label.removeprefix(_plain_label(c.label))}
            for c in cohorts
        }
        result += _lines(name, params, {label: claims[label].epsilon for label in params})
    names = [line.label for line in result]
    several = len({run.cohorts[line.cohorts[0]].name for line in result}) > 1
    if several or len(set(names)) < len(names):
        result = [
            Line(", ".join(filter(None, (run.cohorts[line.cohorts[0]].name, line.label))),
                 line.cohorts)
            for line in result
        ]  # fmt: skip
    return result


def _plain_label(label: str) -> str:
    head, bracket, _ = label.rpartition(" (")
    return head if bracket and label.endswith(" ranks)") else label


def _lines(
    name: str, params: Mapping[str, Mapping[str, Any]], epsilons: Mapping[str, float]
) -> list[Line]:
    keys = sorted({key for values in params.values() for key in values})
    varying = [key for key in keys if len({_text(p.get(key)) for p in params.values()}) > 1]
    best: dict[tuple[str, ...], list[str]] = {(label,): [label] for label in params}
    moved, most = "", 0
    for key in varying:
        groups: dict[tuple[str, ...], list[str]] = {}
        for label, values in params.items():
            shared = tuple(_text(values.get(other)) for other in varying if other != key)
            groups.setdefault(shared, []).append(label)
        joined = sum(
            len(labels)
            for labels in groups.values()
            if len({epsilons[label] for label in labels}) == len(labels) > 1
        )
        if joined > most:
            best, moved, most = groups, key, joined
    shown = [key for key in varying if key != moved]
    found = []
    for labels in best.values():
        values = params[labels[0]]
        if moved:
            text = ", ".join(f"{_short(key)} {_text(values.get(key))}".strip() for key in shown)
        else:
            text = labels[0]
        ordered = sorted(labels, key=lambda label: epsilons[label])
        found.append(Line(text or name, tuple(ordered)))
    return found


def flat(params: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested parameters by their path: `model.window`."""
    found: dict[str, Any] = {}
    for key, value in params.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[prefix + str(key)] = value
    return found


def _short(key: str) -> str:
    return "" if key == "ranks" else key.rpartition(".")[2].replace("_", " ")


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value.strip()
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def distinct(bounds: Iterable[float]) -> list[float]:
    """Finite ε in order, those that agree to two digits once: what an axis is marked with."""
    found: dict[str, float] = {}
    for bound in sorted(bounds):
        if math.isfinite(bound) and bound > 0:
            found.setdefault(f"{bound:.2g}", float(f"{bound:.2g}"))
    return list(found.values())
