"""What the process of a stage does: read its job, call the stage, tell how it ended."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from haplobench.files import write_json
from haplobench.plugin import RunContext
from haplobench.registry import Registry, load_registry
from haplobench.runner.context import stage_context, with_dataset
from haplobench.runner.failures import describe_error, is_no_space
from haplobench.runner.jobs import EXIT_FAILED, EXIT_NO_SPACE, Job, StageError
from haplobench.runner.prepared import Prepared
from haplobench.runner.store import STAGE_FILE
from haplobench.runner.telemetry import Heartbeat


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
        facts |= {"stage": job.stage, "generation": job.generation, "threads": job.threads}
        if job.rank == 0:
            write_json(Path(job.output) / STAGE_FILE, facts)
        ctx.group.close()
    except BaseException as error:  # whatever a plugin raises, SystemExit included
        _tell(replace(describe_error(error), rank=job.rank), Path(job.error))
        return EXIT_NO_SPACE if is_no_space(error) else EXIT_FAILED
    return 0


def _tell(failure: StageError, path: Path) -> None:
    try:
        failure.write(path)
    except OSError:
        print(failure.error, file=sys.stderr)  # noqa: T201


def _stage(
    job: Job, registry: Registry, ctx: RunContext, heartbeat: Heartbeat
) -> Callable[[], dict[str, Any]]:
    if job.stage == "prepare":
        from haplobench.runner.stage_prepare import prepare

        return partial(prepare, job, registry, ctx)
    prepared = Prepared.load(Path(job.settings["prepared"]))
    if (shadow := job.settings.get("shadow")) is not None:
        from haplobench.runner.shadowing import shadow_prepared

        prepared = shadow_prepared(prepared, shadow)
    if (people := job.settings.get("people", 1.0)) < 1:
        from haplobench.runner.shadowing import part_prepared

        prepared = part_prepared(prepared, people)
    ctx = with_dataset(ctx, prepared)
    if job.stage == "fit":
        from haplobench.runner.stage_fit import fit

        return partial(fit, job, registry, ctx, prepared)
    if job.stage == "sample":
        from haplobench.runner.stage_sample import sample

        return partial(sample, job, registry, ctx, prepared, heartbeat)
    from haplobench.runner.stage_measure import measure, metric_context

    ctx = metric_context(ctx, prepared, job.settings["cohort"])
    return partial(measure, job, registry, ctx, prepared, heartbeat)
