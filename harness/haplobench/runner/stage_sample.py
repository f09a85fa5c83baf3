"""The sample stage: a fitted generator draws cohorts, and every batch is checked."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haplobench.distributed.group import NullGroup, ProcessGroup
from haplobench.errors import PluginError
from haplobench.panel import Panel
from haplobench.plugin import (
    Fitted,
    GeneratorSpec,
    PrivacyStatement,
    RunContext,
    SampleRequest,
)
from haplobench.registry import Registry, resolve
from haplobench.runner.collected import Collected
from haplobench.runner.gpu import GPUWatch
from haplobench.runner.jobs import Job
from haplobench.runner.prepared import PRIVACY_FILE, TRAIN_COHORT, Prepared, save_sequence
from haplobench.runner.profiling import Profile
from haplobench.runner.ranks import gather_cost
from haplobench.runner.telemetry import Heartbeat, Meter


def sample(
    job: Job, registry: Registry, ctx: RunContext, prepared: Prepared, heartbeat: Heartbeat
) -> dict[str, Any]:
    """Draw cohorts into `draw0/`, `draw1/`, … and, if asked, one as large as train into `train/`.

    Settings: `model` (folder), `draws`, `haplotypes`, `batch_size`, `train_cohort`; and
    `people`, the share of the haplotypes that is sampled.

    With several ranks each draws a part of every cohort. The facts hold, for each draw, what
    sampling cost (see `gather_cost`) and the cohort's size. Checking and saving are not counted.
    """
    spec = registry.generator(job.name)
    fitted = resolve(spec.target)().load(Path(job.settings["model"]), ctx)
    n = job.settings["haplotypes"]
    if n == "holdout":
        n = prepared.holdout.n_haplotypes
    n = max(1, round(n * job.settings.get("people", 1.0)))
    n += -n % prepared.train.ploidy
    group = ctx.group
    # Each rank is asked for its own haplotypes: to the generator it is alone.
    ctx = replace(ctx, group=NullGroup())
    draws = []
    for draw in range(job.settings["draws"]):
        heartbeat.begin(f"draw {draw + 1}", draw / job.settings["draws"])
        ctx = replace(ctx, deadline=time.monotonic() + job.time_limit)
        request = SampleRequest(
            n_haplotypes=n,
            start=draw * n,
            batch_size=job.settings["batch_size"],
            populations=_populations(prepared, draw * n, n) if spec.conditional else None,
        )
        cost, cohort = _draw(job, fitted, spec, prepared, request, ctx, group)
        if cohort is None:
            continue
        cohort.save(Path(job.output) / f"draw{draw}")
        draws.append(
            {
                **cost,
                "n_haplotypes": cohort.n_haplotypes,
                "n_sites": cohort.n_sites,
                "span": cohort.span,
                "phased": cohort.phased,
                "digest": cohort.digest,
            }
        )
    if job.settings["train_cohort"] and spec.site_matched:
        heartbeat.begin("cohort of train's size", 1.0)
        # What it leaves for the user is the draws' again: not kept.
        ctx = replace(ctx, deadline=time.monotonic() + job.time_limit, artifacts=ctx.scratch)
        request = _like_train(prepared, spec, job.settings["batch_size"])
        _, cohort = _draw(job, fitted, spec, prepared, request, ctx, group)
        if cohort is not None:
            cohort.save(Path(job.output) / TRAIN_COHORT)
    if group.rank:
        return {}
    sequence = getattr(fitted, "reference_sequence", None)
    if callable(sequence) and (bases := sequence()) is not None:
        save_sequence(bases, Path(job.output) / "sequence.npz")
    _save_statement(fitted, spec, Path(job.output) / PRIVACY_FILE)
    return {"draws": draws, "wall": sum(draw["wall"] for draw in draws)}


def _draw(
    job: Job,
    fitted: Fitted,
    spec: GeneratorSpec,
    prepared: Prepared,
    request: SampleRequest,
    ctx: RunContext,
    group: ProcessGroup,
) -> tuple[dict[str, Any], Panel | None]:
    """What drawing a cohort cost, and the cohort: on rank 0; nothing of either elsewhere."""
    collected = Collected(spec, request, prepared.train, Path(job.scratch), group)
    wanted = bool(job.settings.get("profile")) and group.rank == 0 and request.start == 0
    trace = ctx.artifacts / "profile-sample.json.gz"
    profile = Profile(wanted, trace, ctx.device, sampling=True, owner=fitted)
    with GPUWatch(ctx.device) as gpu, profile:
        with Meter() as meter:
            batches = _sampling(fitted, collected.part, ctx, spec)
        cost = meter.facts()
        while True:
            with Meter() as meter:
                batch = next(batches, None)
            cost = _add(cost, meter.facts())
            profile.step()
            if batch is None:
                break
            collected.take(batch)
    cohort = collected.cohort(prepared)
    return gather_cost(group, cost | gpu.facts(), {}) | profile.facts(), cohort


def _like_train(prepared: Prepared, spec: GeneratorSpec, batch_size: int) -> SampleRequest:
    """As many people as were trained on; of the same populations, one after the other."""
    train = prepared.train
    return SampleRequest(
        n_haplotypes=train.n_haplotypes,
        batch_size=batch_size,
        populations=np.sort(train.haplotype_populations) if spec.conditional else None,
    )


def _save_statement(fitted: Fitted, spec: GeneratorSpec, path: Path) -> None:
    """Keep the privacy that the generator claims, if it does."""
    claim = getattr(fitted, "privacy_statement", None)
    if not callable(claim) or (statement := claim()) is None:
        return
    if not isinstance(statement, PrivacyStatement):
        raise PluginError(
            f"generator {spec.name}: privacy_statement() gave {type(statement).__name__}, "
            "expected PrivacyStatement or None"
        )
    path.write_text(statement.to_json(), encoding="utf-8")


def _sampling(
    fitted: Fitted, request: SampleRequest | None, ctx: RunContext, spec: GeneratorSpec
) -> Iterator[Any]:
    if request is None:
        return iter(())
    batches = fitted.sample(request, ctx)
    if not hasattr(batches, "__iter__"):
        raise PluginError(
            f"generator {spec.name}: sample() gave {type(batches).__name__}, expected an "
            "iterator of arrays"
        )
    return iter(batches)


def _add(cost: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Costs of two pieces of one work: times add up, memory counts at its peak."""
    gpu = [item["peak_gpu_memory"] for item in (cost, more) if item["peak_gpu_memory"] is not None]
    return {
        "wall": cost["wall"] + more["wall"],
        "cpu": cost["cpu"] + more["cpu"],
        "base_rss": cost["base_rss"],
        "peak_rss": max(cost["peak_rss"], more["peak_rss"]),
        "peak_gpu_memory": max(gpu, default=None),
    }


def _populations(prepared: Prepared, start: int, n: int) -> NDArray[np.str_]:
    """Population of each haplotype: the held-out people's, over and over, by absolute index.

    For one that nobody in the training panel has (of one person, or all of whom are held out),
    the training people's of its superpopulation stand in, or else everybody's, spread evenly.
    """
    train, holdout = prepared.train, prepared.holdout
    labels = holdout.population.astype(object)
    absent = ~np.isin(holdout.population, train.population)
    near = np.isin(holdout.superpopulation, train.superpopulation)
    above = np.where(near, holdout.superpopulation, "")
    for group in np.unique(above[absent]):
        rows = np.flatnonzero(absent & (above == group))
        dealt = np.sort(train.population[(train.superpopulation == group) | (not group)])
        labels[rows] = dealt[(2 * np.arange(rows.size) + 1) * dealt.size // (2 * rows.size)]
    labels = np.repeat(labels.astype(np.str_), holdout.ploidy)
    return labels[np.arange(start, start + n) % labels.size]
