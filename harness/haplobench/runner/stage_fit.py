"""The fit stage: a generator learns from the training panel and is saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from haplobench.plugin import RunContext
from haplobench.registry import Registry, resolve
from haplobench.runner.gpu import GPUWatch
from haplobench.runner.jobs import Job
from haplobench.runner.prepared import Prepared
from haplobench.runner.profiling import Profile
from haplobench.runner.ranks import gather_cost
from haplobench.runner.telemetry import Meter


def fit(job: Job, registry: Registry, ctx: RunContext, prepared: Prepared) -> dict[str, Any]:
    """Fit, all ranks together, and save rank 0's model into `model/`.

    The facts are what fitting cost (saving not counted), see `gather_cost`.
    """
    spec = registry.generator(job.name)
    params = spec.params.model_validate(job.params)
    generator = resolve(spec.target)()
    if job.torch:
        _load_optimisers()
    ctx.group.barrier()
    wanted = bool(job.settings.get("profile")) and ctx.group.rank == 0
    profile = Profile(wanted, ctx.artifacts / "profile-fit.json.gz", ctx.device)
    with GPUWatch(ctx.device) as gpu, Meter() as meter, profile:
        fitted = generator.fit(prepared.train, params, ctx)
    facts = gather_cost(ctx.group, meter.facts() | gpu.facts(), ctx.group.counters.facts())
    facts |= profile.facts()
    if ctx.group.rank == 0:
        model = Path(job.output) / "model"
        model.mkdir()
        fitted.save(model)
    return facts


def _load_optimisers() -> None:
    """Have torch import what its optimisers need: over a second, when a process makes its first.

    What a plugin imports before it fits isn't counted, so this isn't, either.
    """
    import torch

    torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))])
