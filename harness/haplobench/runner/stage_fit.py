"""The fit stage: a generator learns from the training panel and is saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from haplobench.plugin import RunContext
from haplobench.registry import Registry, resolve
from haplobench.runner.jobs import Job
from haplobench.runner.prepared import Prepared
from haplobench.runner.telemetry import Meter


def fit(job: Job, registry: Registry, ctx: RunContext, prepared: Prepared) -> dict[str, Any]:
    """Fit and save into `model/`; the facts are what fitting cost (saving not counted)."""
    spec = registry.generator(job.name)
    params = spec.params.model_validate(job.params)
    generator = resolve(spec.target)()
    with Meter() as meter:
        fitted = generator.fit(prepared.train, params, ctx)
    if ctx.group.rank == 0:
        model = Path(job.output) / "model"
        model.mkdir()
        fitted.save(model)
    return meter.facts()
