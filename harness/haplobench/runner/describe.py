"""run.json: everything that a report needs of a run, without the plugins."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from haplobench.consent import without_names
from haplobench.plugin import MetricSpec
from haplobench.registry import Registry
from haplobench.resolved_suite import Suite
from haplobench.results.provenance import Provenance
from haplobench.runner.cell import Session
from haplobench.runner.recording import distribution_of


def describe_run(
    suite: Suite,
    registry: Registry,
    run_id: str,
    origin: Provenance,
    facts: Mapping[str, Mapping[str, Any]],
    claims: Sequence[Mapping[str, Any]] = (),
    totals: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Suite, datasets (`facts` by label), generators and metrics of a run as plain values.

    `claims`, `totals`: the differential privacy that cells claim, and all of them together, see
    `ClaimLog`.
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
            for entry in suite.datasets
            if entry.label in facts
        },
        "generators": {
            entry.label: _generator(registry, entry.name, entry.role, entry.params, entry.missing)
            for entry in suite.generators
        },
        "metrics": {
            entry.name: _metric(registry, registry.metric(entry.name)) for entry in suite.metrics
        },
        "claims": list(claims),
        "privacy_totals": list(totals),
        "seeds": list(suite.seeds),
        "draws": suite.sample.draws,
        "floor_draws": suite.floor.draws,
    }


def run_lines(
    info: Mapping[str, Any], status: str, failed: Sequence[str], session: Session
) -> dict[str, Any]:
    """When and how a run was made, and how far it is; `info` is what `open_run` gave."""
    finished = datetime.now(UTC).isoformat(timespec="seconds") if status == "complete" else None
    return {
        "started": info["started"],
        "finished": finished,
        "status": status,
        "command": without_names(shlex.join(sys.argv)),
        "failed": sorted(failed),
        "jobs": session.executor.slots,
        "threads": session.suite.threads,
        **{key: info[key] for key in ("state", "fresh", "generation")},
    }


def _dataset(registry: Registry, name: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    spec = registry.datasets.get(name)
    return {
        **facts,
        "summary": spec.summary if spec else "",
        "citations": list(spec.citations) if spec else [],
        "distribution": distribution_of(registry, "datasets", name),
    }


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
            "citations": list(spec.citations),
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
        "citations": list(spec.citations),
        "submetrics": [asdict(submetric) for submetric in spec.submetrics],
        "figures": [asdict(figure) for figure in spec.figures],
    }
