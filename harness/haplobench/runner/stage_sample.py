"""The sample stage: a fitted generator draws cohorts, and every batch is checked."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haplobench.errors import PanelError, PluginError
from haplobench.panel import Panel
from haplobench.plugin import (
    Fitted,
    GeneratorSpec,
    PrivacyStatement,
    RunContext,
    SampleRequest,
)
from haplobench.registry import Registry, resolve
from haplobench.runner.jobs import Job
from haplobench.runner.prepared import PRIVACY_FILE, TRAIN_COHORT, Prepared, save_sequence
from haplobench.runner.telemetry import Heartbeat, Meter


def sample(
    job: Job, registry: Registry, ctx: RunContext, prepared: Prepared, heartbeat: Heartbeat
) -> dict[str, Any]:
    """Draw cohorts into `draw0/`, `draw1/`, … and, if asked, one as large as train into `train/`.

    Settings: `model` (folder), `draws`, `haplotypes`, `batch_size`, `train_cohort`.

    The facts hold, for each draw, what sampling cost and the cohort's size. Checking and
    saving are not counted.
    """
    spec = registry.generator(job.name)
    fitted = resolve(spec.target)().load(Path(job.settings["model"]), ctx)
    n = job.settings["haplotypes"]
    if n == "holdout":
        n = prepared.holdout.n_haplotypes
    n += -n % prepared.train.ploidy
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
        collected = _Collected(spec, request, prepared.train, Path(job.scratch))
        with Meter() as meter:
            batches = iter(_sampling(fitted, request, ctx, spec))
        cost = meter.facts()
        while True:
            with Meter() as meter:
                batch = next(batches, None)
            cost = _add(cost, meter.facts())
            if batch is None:
                break
            collected.take(batch)
        cohort = collected.cohort(prepared, request)
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
        _train_cohort(job, fitted, spec, prepared, ctx).save(Path(job.output) / TRAIN_COHORT)
    sequence = getattr(fitted, "reference_sequence", None)
    if callable(sequence) and (bases := sequence()) is not None:
        save_sequence(bases, Path(job.output) / "sequence.npz")
    _save_statement(fitted, spec, Path(job.output) / PRIVACY_FILE)
    return {"draws": draws, "wall": sum(draw["wall"] for draw in draws)}


def _train_cohort(
    job: Job, fitted: Fitted, spec: GeneratorSpec, prepared: Prepared, ctx: RunContext
) -> Panel:
    """As many people as were trained on; of the same populations, one after the other."""
    train = prepared.train
    request = SampleRequest(
        n_haplotypes=train.n_haplotypes,
        batch_size=job.settings["batch_size"],
        populations=np.sort(train.haplotype_populations) if spec.conditional else None,
    )
    collected = _Collected(spec, request, train, Path(job.scratch))
    for batch in _sampling(fitted, request, ctx, spec):
        collected.take(batch)
    return collected.cohort(prepared, request)


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
    fitted: Fitted, request: SampleRequest, ctx: RunContext, spec: GeneratorSpec
) -> Iterator[Any]:
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
    """Population of each haplotype: the held-out people's, over and over, by absolute index."""
    labels = prepared.holdout.haplotype_populations
    return labels[np.arange(start, start + n) % labels.size]


class _Collected:
    """Takes batches, checks each, and makes a panel of them."""

    def __init__(
        self, spec: GeneratorSpec, request: SampleRequest, train: Panel, scratch: Path
    ) -> None:
        self.spec = spec
        self.request = request
        self.train = train
        self.panel: Panel | None = None
        self.rows = 0
        self.batches = 0
        if spec.site_matched:
            # On disk, so that a large cohort never has to fit in memory.
            path = scratch / f"draw{request.start}.npy"
            shape = (request.n_haplotypes, train.n_sites)
            self.haplotypes = np.lib.format.open_memmap(path, "w+", np.int8, shape)

    def _refuse(self, found: str, expected: str) -> PluginError:
        return PluginError(
            f"generator {self.spec.name}: batch {self.batches} of sample() {found}, "
            f"expected {expected}"
        )

    def take(self, batch: object) -> None:
        """Check a batch and keep it; PluginError says what was found and what expected."""
        self.batches += 1
        if self.spec.site_matched:
            self._take_rows(batch)
        else:
            self._take_panel(batch)

    def _take_rows(self, batch: object) -> None:
        n_sites, wanted = self.train.n_sites, self.request.n_haplotypes
        if not isinstance(batch, np.ndarray):
            raise self._refuse(f"is {type(batch).__name__}", "an int8 array")
        if batch.ndim != 2 or batch.shape[1] != n_sites:
            raise self._refuse(f"has shape {batch.shape}", f"(haplotypes, {n_sites})")
        if batch.dtype != np.int8:
            raise self._refuse(f"has dtype {batch.dtype}", "int8")
        if batch.shape[0] > self.request.batch_size:
            raise self._refuse(
                f"has {batch.shape[0]} haplotypes", f"at most batch_size {self.request.batch_size}"
            )
        if self.rows + batch.shape[0] > wanted:
            raise self._refuse(
                f"brings the rows to {self.rows + batch.shape[0]}", f"{wanted} in all"
            )
        if batch.size and (batch.min() < 0 or batch.max() > 1):
            bad = int(batch.min() if batch.min() < 0 else batch.max())
            raise self._refuse(f"has allele {bad}", "0 or 1")
        self.haplotypes[self.rows : self.rows + batch.shape[0]] = batch
        self.rows += batch.shape[0]

    def _take_panel(self, batch: object) -> None:
        if not isinstance(batch, Panel):
            raise self._refuse(
                f"is {type(batch).__name__}", "one Panel, since its sites are its own"
            )
        if self.panel is not None:
            raise self._refuse("is a second Panel", "exactly one")
        if batch.n_haplotypes != self.request.n_haplotypes:
            raise self._refuse(
                f"has {batch.n_haplotypes} haplotypes", str(self.request.n_haplotypes)
            )
        if batch.ploidy != self.train.ploidy:
            raise self._refuse(f"has ploidy {batch.ploidy}", str(self.train.ploidy))
        if batch.has_missing:
            raise self._refuse("has missing alleles", "0 or 1")
        self.panel = batch

    def cohort(self, prepared: Prepared, request: SampleRequest) -> Panel:
        """The cohort as a panel: all rows there, labelled if conditional, filtered if site-free."""
        if not self.spec.site_matched:
            if self.panel is None:
                raise PluginError(
                    f"generator {self.spec.name}: sample() yielded nothing, expected one Panel"
                )
            keep = self.panel.common_sites(prepared.facts["min_maf"])
            if not keep.any():
                raise PluginError(
                    f"generator {self.spec.name}: none of the {self.panel.n_sites} sites sampled "
                    f"has a MAF of {prepared.facts['min_maf']:g} or more"
                )
            return self.panel if keep.all() else self.panel.select_sites(keep)
        if self.rows != request.n_haplotypes:
            raise PluginError(
                f"generator {self.spec.name}: sample() yielded {self.rows} haplotypes in "
                f"{self.batches} batches, expected {request.n_haplotypes}"
            )
        try:
            return self.train.with_haplotypes(self.haplotypes, **_labels(prepared, request))
        except PanelError as error:
            raise PluginError(f"generator {self.spec.name}: {error}") from None


def _labels(prepared: Prepared, request: SampleRequest) -> dict[str, NDArray[np.str_]]:
    if request.populations is None:
        return {}
    population = request.populations[:: prepared.train.ploidy]
    real = (prepared.train, prepared.holdout)
    above = {
        str(name): str(group)
        for panel in real
        for name, group in zip(panel.population, panel.superpopulation, strict=True)
    }
    groups = [above[str(name)] for name in population]
    return {"population": population, "superpopulation": np.array(groups, np.str_)}
