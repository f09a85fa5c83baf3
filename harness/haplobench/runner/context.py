"""The `RunContext` that a stage's process hands to its plugin."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from haplobench.plugin import GPU, RunContext
from haplobench.runner.jobs import Job
from haplobench.runner.prepared import Prepared
from haplobench.runner.telemetry import Heartbeat


def stage_context(job: Job, deadline: float, heartbeat: Heartbeat) -> RunContext:
    """The context of a stage, before it has a dataset; `deadline` as `time.monotonic()`."""
    return RunContext(
        seed=job.seed,
        artifacts=Path(job.artifacts),
        scratch=Path(job.scratch),
        device=_device(job),
        threads=job.threads,
        deadline=deadline,
        progress=heartbeat.progress,
        log=logging.getLogger(f"haplobench.{job.name or job.stage}"),
    )


def with_dataset(ctx: RunContext, prepared: Prepared) -> RunContext:
    """The context with what belongs to a dataset: map, sequence, MAF filter, validation people."""
    return replace(
        ctx,
        recombination_map=prepared.recombination_map,
        sequence=prepared.sequence,
        min_maf=prepared.facts["min_maf"],
        validation=prepared.validation,
    )


def _device(job: Job) -> str:
    """The GPU if there is one that torch can use; a plugin without torch has no use for it."""
    if not job.torch or GPU().missing():
        return "cpu"
    try:
        import torch
    except ImportError:
        return "cpu"
    if not torch.cuda.is_available():
        return "cpu"
    return f"cuda:{job.rank % torch.cuda.device_count()}"
