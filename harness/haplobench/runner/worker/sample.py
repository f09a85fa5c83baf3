"""The sample stage: a fitted generator draws cohorts, and every batch is checked."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haplobench.data.panel import Panel
from haplobench.data.prepared import (
    PATH_STEPS,
    PATHS,
    PRIVACY_FILE,
    TRAIN_COHORT,
    TrainingData,
    save_sequence,
)
from haplobench.distributed.group import NullGroup, ProcessGroup, shard
from haplobench.errors import PanelError, PluginError
from haplobench.plugin import (
    Explorable,
    Fitted,
    GeneratorSpec,
    PrivacyStatement,
    RunContext,
    SampleRequest,
)
from haplobench.registry import Registry, resolve
from haplobench.runner.worker.cost import (
    GPUWatch,
    Heartbeat,
    Meter,
    Profile,
    gather_work,
    most_gpu_memory,
)
from haplobench.runner.worker.job import DrawFacts, FitFacts, Job, RankWork, SampleFacts, Work

_BLOCK = 256
_MOST_PATHS = 16


class CohortBuilder:
    """Takes a rank's batches of a cohort, checks each, and makes a panel of all ranks' rows.

    The cohort is shared out over the ranks in contiguous parts: `part` is the request that this
    one's generator is to be asked; None where it has nothing to do (a generator with sites of
    its own gives one whole panel, which rank 0 asks for).
    """

    def __init__(
        self,
        spec: GeneratorSpec,
        request: SampleRequest,
        train: Panel,
        scratch: Path,
        group: ProcessGroup,
    ) -> None:
        self.spec = spec
        self.request = request
        self.train = train
        self.group = group
        self.first, self.part = _part(spec, request, train.ploidy, group)
        self.panel: Panel | None = None
        self.rows = 0
        self.batches = 0
        if spec.site_matched:
            # On disk, so that a large cohort never has to fit in memory.
            path = scratch / f"draw{request.start}.npy"
            shape = (request.n_haplotypes, train.n_sites)
            if group.rank == 0:
                self.haplotypes = np.lib.format.open_memmap(path, "w+", np.int8, shape)
            group.barrier()
            if group.rank:
                self.haplotypes = np.lib.format.open_memmap(path, "r+")

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
        n_sites, wanted = self.train.n_sites, self.part.n_haplotypes if self.part else 0
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
        begin = self.first + self.rows
        self.haplotypes[begin : begin + batch.shape[0]] = batch
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

    def cohort(self, prepared: TrainingData) -> Panel | None:
        """The cohort as a panel: all rows there, labelled if conditional, filtered if site-free.

        On rank 0; None elsewhere.
        """
        if self.spec.site_matched:
            self._check_rows()
            if self.group.rank:
                self.haplotypes.flush()
            self.group.barrier()
        if self.group.rank:
            return None
        if not self.spec.site_matched:
            if self.panel is None:
                raise PluginError(
                    f"generator {self.spec.name}: sample() yielded nothing, expected one Panel"
                )
            keep = self.panel.common_sites(prepared.facts.min_maf)
            if not keep.any():
                raise PluginError(
                    f"generator {self.spec.name}: none of the {self.panel.n_sites} sites sampled "
                    f"has a MAF of {prepared.facts.min_maf:g} or more"
                )
            return self.panel if keep.all() else self.panel.select_sites(keep)
        try:
            return self.train.with_haplotypes(self.haplotypes, **_labels(prepared, self.request))
        except PanelError as error:
            raise PluginError(f"generator {self.spec.name}: {error}") from None

    def _check_rows(self) -> None:
        wanted = self.part.n_haplotypes if self.part else 0
        if self.rows != wanted:
            raise PluginError(
                f"generator {self.spec.name}: sample() yielded {self.rows} haplotypes in "
                f"{self.batches} batches, expected {wanted}"
            )


def _part(
    spec: GeneratorSpec, request: SampleRequest, ploidy: int, group: ProcessGroup
) -> tuple[int, SampleRequest | None]:
    """First row and request of a rank's part: whole people, whole blocks where there are many."""
    if not spec.site_matched:
        return 0, request if group.rank == 0 else None
    n = request.n_haplotypes
    rows = shard(n, group.rank, group.size, align=_BLOCK if n >= _BLOCK * group.size else ploidy)
    if rows.start == rows.stop:
        return rows.start, None
    populations = None if request.populations is None else request.populations[rows]
    return rows.start, replace(
        request,
        n_haplotypes=rows.stop - rows.start,
        start=request.start + rows.start,
        populations=populations,
    )


def _labels(prepared: TrainingData, request: SampleRequest) -> dict[str, NDArray[np.str_]]:
    if request.populations is None:
        return {}
    population = request.populations[:: prepared.train.ploidy]
    real = (prepared.train, prepared)
    above = {
        str(name): str(group)
        for people in real
        for name, group in zip(people.population, people.superpopulation, strict=True)
    }
    groups = [above[str(name)] for name in population]
    return {"population": population, "superpopulation": np.array(groups, np.str_)}


def fit(job: Job, registry: Registry, ctx: RunContext, prepared: TrainingData) -> FitFacts | None:
    """Fit, all ranks together, and save rank 0's model into `model/`.

    What fitting cost, on rank 0; saving is not counted.
    """
    spec = registry.generator(job.name)
    params = spec.params.model_validate(job.params)
    generator = resolve(spec.target)()
    if job.torch:
        _load_optimisers()
    ctx.group.barrier()
    wanted = bool(job.settings.get("torch_profile")) and ctx.group.rank == 0
    profile = Profile(wanted, ctx.artifacts / "profile-fit.json.gz", ctx.device)
    with GPUWatch(ctx.device) as gpu, Meter() as meter, profile:
        fitted = generator.fit(prepared.train, params, ctx)
    facts = _gathered(ctx.group, meter.work(), gpu, ctx.group.counters.facts(), profile)
    if ctx.group.rank == 0:
        model = Path(job.output) / "model"
        model.mkdir()
        fitted.save(model)
    return facts


def _gathered(
    group: ProcessGroup,
    work: Work,
    gpu: GPUWatch,
    communication: Mapping[str, Any],
    profile: Profile,
) -> FitFacts | None:
    """The work of all ranks with the profile of rank 0; None elsewhere."""
    rank = RankWork(
        rank=group.rank, **asdict(work), **gpu.facts(), communication=dict(communication)
    )
    facts = gather_work(group, rank)
    return facts and replace(facts, profile=profile.facts())


def _load_optimisers() -> None:
    """Have torch import what its optimisers need: over a second, when a process makes its first.

    What a plugin imports before it fits isn't counted, so this isn't, either.
    """
    import torch

    torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))])


def sample(
    job: Job, registry: Registry, ctx: RunContext, prepared: TrainingData, heartbeat: Heartbeat
) -> SampleFacts | None:
    """Draw cohorts into `draw0/`, `draw1/`, … and, if asked, one as large as train into `train/`.

    Settings: `model` (folder), `draws`, `haplotypes`, `batch_size`, `train_cohort`; and
    `train_share`, the share of the haplotypes that is sampled.

    With several ranks each draws a part of every cohort, and rank 0 hands back what it cost.
    Checking and saving are not counted.
    """
    spec = registry.generator(job.name)
    fitted = resolve(spec.target)().load(Path(job.settings["model"]), ctx)
    n = job.settings["haplotypes"]
    if n == "holdout":
        n = prepared.population.size * prepared.train.ploidy
    n = max(1, round(n * job.settings.get("train_share", 1.0)))
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
        if cohort is None or cost is None:
            continue
        cohort.save(Path(job.output) / f"draw{draw}")
        draws.append(
            DrawFacts(
                **vars(cost),
                n_haplotypes=cohort.n_haplotypes,
                n_sites=cohort.n_sites,
                span=cohort.span,
                phased=cohort.phased,
                digest=cohort.digest,
            )
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
        return None
    sequence = getattr(fitted, "reference_sequence", None)
    if callable(sequence) and (bases := sequence()) is not None:
        save_sequence(bases, Path(job.output) / "sequence.npz")
    _save_statement(fitted, spec, Path(job.output) / PRIVACY_FILE)
    if spec.site_matched and isinstance(fitted, Explorable):
        heartbeat.begin("paths", 1.0)
        ctx = replace(ctx, deadline=time.monotonic() + job.time_limit)
        save_paths(fitted, spec, prepared.train, ctx, Path(job.output) / PATHS)
    return SampleFacts(tuple(draws))


def _draw(
    job: Job,
    fitted: Fitted,
    spec: GeneratorSpec,
    prepared: TrainingData,
    request: SampleRequest,
    ctx: RunContext,
    group: ProcessGroup,
) -> tuple[FitFacts | None, Panel | None]:
    """What drawing a cohort cost, and the cohort: on rank 0; nothing of either elsewhere."""
    builder = CohortBuilder(spec, request, prepared.train, Path(job.scratch), group)
    wanted = bool(job.settings.get("torch_profile")) and group.rank == 0 and request.start == 0
    trace = ctx.artifacts / "profile-sample.json.gz"
    profile = Profile(wanted, trace, ctx.device, sampling=True, owner=fitted)
    with GPUWatch(ctx.device) as gpu, profile:
        with Meter() as meter:
            batches = _sampling(fitted, builder.part, ctx, spec)
        work = meter.work()
        while True:
            with Meter() as meter:
                batch = next(batches, None)
            work = _add(work, meter.work())
            profile.step()
            if batch is None:
                break
            builder.take(batch)
    cohort = builder.cohort(prepared)
    return _gathered(group, work, gpu, {}, profile), cohort


def _like_train(prepared: TrainingData, spec: GeneratorSpec, batch_size: int) -> SampleRequest:
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


def save_paths(
    fitted: Explorable, spec: GeneratorSpec, train: Panel, ctx: RunContext, folder: Path
) -> None:
    """Keep the steps between training people of different labels, path by path.

    A generator that fails here, or gives something else, has no paths, and the log says why.
    """
    labels = train.superpopulation
    if np.unique(labels).size < 2:
        labels = train.population
    order = ctx.rng("paths").permutation(train.n_samples)
    halves = order[: order.size // 2], order[order.size // 2 :]
    apart = [pair for pair in zip(*halves, strict=False) if labels[pair[0]] != labels[pair[1]]]
    if not apart:
        return
    first, second = (train.select_samples(side) for side in np.array(apart[:_MOST_PATHS]).T)
    try:
        made = fitted.interpolate(first, second, PATH_STEPS, ctx)
        expected = (PATH_STEPS, first.n_haplotypes, train.n_sites)
        if made.shape != expected:
            raise PluginError(f"interpolate() gave shape {made.shape}, expected {expected}")
        by_person = made.reshape(PATH_STEPS, first.n_samples, train.ploidy, train.n_sites)
        rows = by_person.swapaxes(0, 1).reshape(-1, train.n_sites)
        train.with_haplotypes(np.ascontiguousarray(rows)).save(folder)
    except Exception as error:  # a plugin is someone else's code: its cohorts are there already
        ctx.log.warning("generator %s: no paths between people: %s", spec.name, error)


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


def _add(one: Work, more: Work) -> Work:
    """Two pieces of one work: times add up, memory counts at its peak."""
    return Work(
        wall=one.wall + more.wall,
        cpu=one.cpu + more.cpu,
        base_rss=one.base_rss,
        peak_rss=max(one.peak_rss, more.peak_rss),
        peak_gpu_memory=most_gpu_memory((one, more)),
    )


def _populations(prepared: TrainingData, start: int, n: int) -> NDArray[np.str_]:
    """Population of each haplotype: the held-out people's, over and over, by absolute index.

    For one that nobody in the training panel has (of one person, or all of whom are held out),
    the training people's of its superpopulation stand in, or else everybody's, spread evenly.
    """
    train = prepared.train
    labels = prepared.population.astype(object)
    absent = ~np.isin(prepared.population, train.population)
    near = np.isin(prepared.superpopulation, train.superpopulation)
    above = np.where(near, prepared.superpopulation, "")
    for group in np.unique(above[absent]):
        rows = np.flatnonzero(absent & (above == group))
        stand_ins = np.sort(train.population[(train.superpopulation == group) | (not group)])
        middles = (2 * np.arange(rows.size) + 1) * stand_ins.size // (2 * rows.size)
        labels[rows] = stand_ins[middles]
    labels = np.repeat(labels.astype(np.str_), train.ploidy)
    return labels[np.arange(start, start + n) % labels.size]
