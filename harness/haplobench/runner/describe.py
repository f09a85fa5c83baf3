"""run.json: everything that a report needs of a run, without the plugins."""

from __future__ import annotations

import json
import math
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from haplobench.data.consent import without_names
from haplobench.data.panel import Panel
from haplobench.data.prepared import PRIVACY_FILE, PrepareFacts
from haplobench.plugin import MetricSpec
from haplobench.plugin.privacy import PrivacyStatement, compose_claims, either_claim
from haplobench.references import cite
from haplobench.registry import Registry
from haplobench.results.provenance import Provenance
from haplobench.runner.plan import Cell
from haplobench.runner.record_log import distribution_of
from haplobench.suite.schema import Suite


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
    """Claims of all cells of a run, by the cell's name; cells of several threads may add."""

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
            cell.generator.ranks,
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
            bounded = {row: all(fit.bounded for fit in members) for row, members in rows.items()}
            for (dataset, label, size), members in rows.items():
                if any(claim for fit in members for claim in fit.claims.values()):
                    entry = {"datasets": [dataset], "generator": label, "world_size": size}
                    result.append(entry | _total(members))
            whole = [fit for row, members in rows.items() if bounded[row] for fit in members]
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


def describe_run(
    suite: Suite,
    registry: Registry,
    run_id: str,
    origin: Provenance,
    facts: Mapping[str, PrepareFacts | None],
    claims: ClaimLog,
    people: Mapping[str, frozenset[str]],
) -> dict[str, Any]:
    """Suite, datasets (`facts` by label), generators and metrics of a run as plain values.

    `people`: as in `ClaimLog.totals`.
    """
    return {
        "run_id": run_id,
        "suite": suite.name,
        "title": suite.title,
        "suite_digest": suite.digest,
        "versions": origin.versions,
        "lock_digest": origin.lock_digest,
        "hardware": origin.hardware,
        "git": origin.git,
        "datasets": {
            entry.label: _dataset(registry, entry.name, facts[entry.label])
            | _family_sites(suite, registry, facts[entry.label])
            for entry in suite.datasets
            if entry.label in facts
        },
        "generators": {
            entry.label: _generator(registry, entry.name, entry.role, entry.params, entry.missing)
            | {"datasets": list(entry.datasets)}
            for entry in suite.generators
        },
        "metrics": {
            entry.name: _metric(registry, registry.metric(entry.name)) for entry in suite.metrics
        },
        "claims": claims.entries(),
        "privacy_totals": claims.totals(people),
        "seeds": list(suite.seeds),
        "draws": suite.sample.draws,
        "floor_draws": suite.floor.draws,
        "verdict": suite.verdict.model_dump(),
    }


def run_lines(
    info: Mapping[str, Any], status: str, failed: Sequence[str], jobs: int, threads: int
) -> dict[str, Any]:
    """When and how a run was made, and how far it is; `info` is what `open_run` gave."""
    finished = datetime.now(UTC).isoformat(timespec="seconds") if status == "complete" else None
    return {
        "started": info["started"],
        "finished": finished,
        "status": status,
        "command": without_names(shlex.join(sys.argv)),
        "failed": sorted(failed),
        "jobs": jobs,
        "threads": threads,
        **{key: info[key] for key in ("state", "fresh", "generation")},
    }


def _dataset(registry: Registry, name: str, facts: PrepareFacts | None) -> dict[str, Any]:
    spec = registry.datasets.get(name)
    return {
        **(facts.plain() if facts else {}),
        **({"name": spec.name, "version": spec.version} if facts and spec else {}),
        "summary": spec.summary if spec else "",
        "citations": _citations(spec.citations) if spec else [],
        "distribution": distribution_of(registry, "datasets", name),
    }


def _family_sites(suite: Suite, registry: Registry, facts: PrepareFacts | None) -> dict[str, Any]:
    """How many sites the metrics of each family see, by the family: one number, or two."""
    if facts is None:
        return {}
    seen: dict[str, set[int]] = {}
    for entry in suite.metrics:
        spec = registry.metric(entry.name)
        if spec.input != "telemetry":
            n = facts.n_sites if spec.sites == "all" else facts.n_common_sites
            seen.setdefault(spec.family, set()).add(n)
    return {"family_sites": {family: sorted(counts) for family, counts in seen.items()}}


def _generator(
    registry: Registry, name: str, role: str, params: Mapping[str, Any], missing: tuple[str, ...]
) -> dict[str, Any]:
    spec = registry.generators.get(name)
    described: dict[str, Any] = {"name": name, "role": role, "params": dict(params)}
    if spec is not None:
        described |= {
            "version": spec.version,
            "distribution": distribution_of(registry, "generators", name),
            "summary": spec.summary,
            "control": spec.control,
            "citations": _citations(spec.citations),
            "site_matched": spec.site_matched,
            "conditional": spec.conditional,
            "unrepeatable": spec.params.model_validate(dict(params)).unrepeatable(),
        }
    return described | {"missing": list(missing)}


def _metric(registry: Registry, spec: MetricSpec) -> dict[str, Any]:
    return {
        "version": spec.version,
        "distribution": distribution_of(registry, "metrics", spec.name),
        "family": spec.family,
        "summary": spec.summary,
        "site_matched": spec.site_matched,
        "phased": spec.phased,
        "floor": spec.floor,
        "cohort": spec.cohort,
        "sites": spec.sites,
        "citations": _citations(spec.citations),
        "submetrics": [asdict(submetric) for submetric in spec.submetrics],
        "figures": [asdict(figure) for figure in spec.figures],
    }


def _citations(citations: Iterable[str]) -> list[str]:
    """Sources as a reader of run.json wants them: in words, with their DOIs."""
    return [cite(citation).text for citation in citations]
