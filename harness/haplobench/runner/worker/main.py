"""What the process of a stage does: read its job, call the stage, tell how it ended."""

from __future__ import annotations

import errno
import logging
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from haplobench import memory
from haplobench.data.prepared import Prepared, TrainingData
from haplobench.distributed.group import NullGroup, ProcessGroup
from haplobench.files import write_json
from haplobench.plugin import GPU, RunContext
from haplobench.registry import Registry, load_registry
from haplobench.runner.worker.cost import Heartbeat
from haplobench.runner.worker.job import (
    EXIT_FAILED,
    EXIT_NO_SPACE,
    STAGE_FILE,
    FitFacts,
    Job,
    JoinFacts,
    SampleFacts,
    StageError,
    describe_error,
    is_no_space,
)

_PATIENCE = 600.0  # seconds
_READ_ONLY = (
    "In the sandbox, a stage may write into its scratch, artifacts and checkpoint folders and into "
    "/tmp alone; a suite with sandbox: off does without."
)


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


def with_dataset(ctx: RunContext, prepared: Prepared | TrainingData) -> RunContext:
    """The context with what belongs to a dataset: map, sequence, MAF filter, validation people."""
    return replace(
        ctx,
        recombination_map=prepared.recombination_map,
        sequence=prepared.sequence,
        min_maf=prepared.facts.min_maf,
        validation=prepared.validation,
    )


def _group(job: Job, device: str) -> ProcessGroup:
    if job.world_size == 1:
        return NullGroup()
    from haplobench.distributed.backends import open_group

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


def main(path: str) -> int:
    """Do the job that a file describes; the process's exit code."""
    job = Job.read(Path(path)).as_rank()
    deadline = time.monotonic() + job.time_limit
    sys.path += [entry for entry in job.paths if entry not in sys.path]
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    heartbeat = Heartbeat(Path(job.status))
    try:
        registry = load_registry(job.plugins)
        for plugin in registry.broken:
            raise ImportError(f"plugin {plugin.source} failed to load: {plugin.error}")
        ctx = stage_context(job, deadline, heartbeat)
        facts = _stage(job, registry, ctx, heartbeat)()
        if job.rank == 0:
            stamp = {"stage": job.stage, "generation": job.generation, "threads": job.threads}
            plain = asdict(facts) if facts is not None else {}
            write_json(Path(job.output) / STAGE_FILE, plain | stamp)
        ctx.group.close()
    except BaseException as error:  # whatever a plugin raises, SystemExit included
        failure = replace(describe_error(error), rank=job.rank)
        confined = job.sandboxed and isinstance(error, OSError) and error.errno == errno.EROFS
        if confined:
            failure = replace(failure, error=f"{failure.error}\n{_READ_ONLY}")
        _tell(failure, Path(job.error))
        return EXIT_NO_SPACE if is_no_space(error) and not confined else EXIT_FAILED
    return 0


def _tell(failure: StageError, path: Path) -> None:
    try:
        failure.write(path)
    except OSError:
        print(failure.error, file=sys.stderr)  # noqa: T201


_last: dict[str, Any] = {}


def _prepared(folder: Path) -> Prepared:
    """A prepared dataset; that of the process's last job where it's the same."""
    if _last.get("folder") != folder:
        # Results that are kept may rest on the dataset's map, too, which no digest names.
        memory.forget()
        _last.update(folder=folder, prepared=Prepared.load(folder))
    prepared: Prepared = _last["prepared"]
    return prepared


def _stage(
    job: Job, registry: Registry, ctx: RunContext, heartbeat: Heartbeat
) -> Callable[[], FitFacts | JoinFacts | SampleFacts | None]:
    if job.stage == "prepare":
        from haplobench.runner.worker.prepare import prepare

        return partial(prepare, job, registry, ctx)
    if job.stage == "join":
        from haplobench.runner.worker.prepare import join

        return partial(join, job)
    folder = Path(job.settings["prepared"])
    if job.stage == "measure":
        from haplobench.runner.worker.measure import measure, metric_context

        prepared = _prepared(folder)
        ctx = metric_context(with_dataset(ctx, prepared), prepared, job.settings["cohort"])
        return partial(measure, job, registry, ctx, prepared, heartbeat)
    data = TrainingData.load(folder)
    if (share := job.settings.get("train_share", 1.0)) < 1:
        from haplobench.runner.worker.prepare import part_prepared

        data = part_prepared(data, share)
    ctx = with_dataset(ctx, data)
    if job.stage == "fit":
        from haplobench.runner.worker.sample import fit

        return partial(fit, job, registry, ctx, data)
    from haplobench.runner.worker.sample import sample

    return partial(sample, job, registry, ctx, data, heartbeat)
