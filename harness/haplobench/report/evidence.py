"""Evidence of leaks: what all attacks together say of a generator, errors of many bounded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from haplobench.plugin import Measurement
from haplobench.results.description import SubmetricInfo
from haplobench.results.records import FLOOR, SUBSAMPLE, Record
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
