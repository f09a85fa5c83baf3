"""The differential privacy that a run's fits claim, and what they come to for the same people."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from haplobench.panel import Panel
from haplobench.plugin.privacy import PrivacyStatement, compose_claims, either_claim
from haplobench.runner.plan import Cell
from haplobench.runner.prepared import PRIVACY_FILE


@dataclass(frozen=True)
class _Fit:
    """A cell's fit: what it claims, and what the pairs of its shadows do, each by its key."""

    dataset: str
    label: str
    seed: int
    world_size: int
    claims: Mapping[str, PrivacyStatement | None]
    shadows: int

    @property
    def bounded(self) -> bool:
        return all(claim is not None and not claim.no_bound for claim in self.claims.values())


@dataclass
class ClaimLog:
    """Claims of all cells of a run, by the cell's name."""

    fits: dict[str, _Fit] = field(default_factory=dict)

    def add(self, cell: Cell, sampled: Path, shadows: Sequence[Path]) -> None:
        """Keep what a cell's sample stage left in its folder, and its shadows' in theirs.

        Shadows 2i and 2i + 1 share everybody out: a person is in one of them.
        """
        assert cell.generator is not None
        claims = {sampled.name: read_statement(sampled)}
        for first in range(0, len(shadows), 2):
            pair = [read_statement(folder) for folder in shadows[first : first + 2]]
            known = [claim for claim in pair if claim is not None]
            claims[shadows[first].name] = either_claim(known) if len(known) == len(pair) else None
        self.fits[cell.name] = _Fit(
            cell.dataset.label,
            cell.label,
            cell.seed,
            cell.generator.world_size,
            claims,
            len(shadows),
        )

    def entries(self) -> list[dict[str, Any]]:
        """Of run.json: what each cell claims; cells that claim nothing are left out.

        An infinite ε is None.
        """
        return [
            {
                "dataset": fit.dataset,
                "generator": fit.label,
                "seed": fit.seed,
                "world_size": fit.world_size,
                **json.loads(claim.to_json()),
            }
            for _, fit in sorted(self.fits.items())
            if (claim := next(iter(fit.claims.values()))) is not None
        ]

    def totals(self, people: Mapping[str, frozenset[str]]) -> list[dict[str, Any]]:
        """Of run.json: ε of all fits of a row of the tables, and of all rows on the same people.

        `people`: names of those whom fits on a dataset may have seen. Datasets that share a name
        are taken together. The last entry of each such group has no `generator`: it is of all
        rows whose every fit has a bound; `without_bound` names the others.
        """
        result = []
        for group in _overlapping(people):
            fits = [fit for _, fit in sorted(self.fits.items()) if fit.dataset in group]
            if not any(claim for fit in fits for claim in fit.claims.values()):
                continue
            rows: dict[tuple[str, str, int], list[_Fit]] = {}
            for fit in fits:
                rows.setdefault((fit.dataset, fit.label, fit.world_size), []).append(fit)
            bounded = {row: all(fit.bounded for fit in own) for row, own in rows.items()}
            for (dataset, label, size), own in rows.items():
                if any(claim for fit in own for claim in fit.claims.values()):
                    entry = {"datasets": [dataset], "generator": label, "world_size": size}
                    result.append(entry | _total(own))
            whole = [fit for row, own in rows.items() if bounded[row] for fit in own]
            without = sorted({label for (_, label, _), sound in bounded.items() if not sound})
            result.append({"datasets": sorted(group), "without_bound": without} | _total(whole))
        return result


def read_statement(folder: Path) -> PrivacyStatement | None:
    """What a sample stage's generator claims; None where it claims nothing."""
    try:
        text = (folder / PRIVACY_FILE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    return PrivacyStatement.from_json(text)


def people_of(prepared: Path, *, held_out: bool) -> frozenset[str]:
    """Names of a prepared dataset's training people, and of those held out where asked for."""
    parts = ("train", "holdout") if held_out else ("train",)
    return frozenset(str(name) for part in parts for name in Panel.load(prepared / part).samples)


def _total(fits: Sequence[_Fit]) -> dict[str, Any]:
    """ε of all fits; one that several labels share, and so one release, counts once."""
    distinct: dict[str, PrivacyStatement | None] = {}
    for fit in fits:
        distinct |= fit.claims
    models = {next(iter(fit.claims)) for fit in fits}
    pairs = {key for fit in fits for key in list(fit.claims)[1:]}
    counts = {"fits": len(models), "shadow_fits": len(pairs - models)}
    if not fits:
        return {**counts, "epsilon": None, "delta": None, "method": "no row has a bound"}
    if None in distinct.values():
        return {**counts, "epsilon": None, "delta": None, "method": "a fit claims nothing"}
    total = compose_claims([claim for claim in distinct.values() if claim is not None])
    return {
        **counts,
        "epsilon": None if math.isinf(total.epsilon) else total.epsilon,
        "delta": total.delta,
        "method": total.method,
    }


def _overlapping(people: Mapping[str, frozenset[str]]) -> list[set[str]]:
    """Datasets in groups that share nobody."""
    groups: list[tuple[set[str], frozenset[str]]] = []
    for label, names in people.items():
        apart = [group for group in groups if not group[1] & names]
        joined = [group for group in groups if group[1] & names]
        labels = {label}.union(*(group[0] for group in joined))
        groups = [*apart, (labels, names.union(*(group[1] for group in joined)))]
    return [labels for labels, _ in groups]
