"""The `RunContext` that a stage's process hands to its plugin."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from haplobench.distributed.group import NullGroup, ProcessGroup
from haplobench.plugin import GPU, RunContext
from haplobench.runner.jobs import Job
from haplobench.runner.prepared import Prepared
from haplobench.runner.telemetry import Heartbeat

_PATIENCE = 600.0  # seconds


def stage_context(job: Job, deadline: float, heartbeat: Heartbeat) -> RunContext:
    """The context of a stage, before it has a dataset; `deadline` as `time.monotonic()`.

    With several ranks it waits until all are here.
    """
    device = _device(job)
    return RunContext(
        seed=job.seed,
        artifacts=Path(job.artifacts),
        scratch=Path(job.scratch),
        checkpoint=Path(job.checkpoint) if job.checkpoint else None,
        device=device,
        group=_group(job, device),
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


def _group(job: Job, device: str) -> ProcessGroup:
    if job.world_size == 1:
        return NullGroup()
    from haplobench.distributed.rendezvous import open_group

    return open_group(
        job.backend,
        job.rank,
        job.world_size,
        local_rank=job.local_rank,
        local_size=job.local_size,
        meeting=Path(job.meeting),
        device=device,
        # The harness ends a stage at its limit: that says more than a rank that gave up first.
        timeout=job.time_limit + _PATIENCE,
    )


def _device(job: Job) -> str:
    """The rank's own of the GPUs assigned, if torch can use it; without torch it's no use."""
    if not job.torch or GPU().missing():
        return "cpu"
    try:
        import torch
    except ImportError:
        return "cpu"
    if not torch.cuda.is_available():
        return "cpu"
    return f"cuda:{job.local_rank % torch.cuda.device_count()}"
