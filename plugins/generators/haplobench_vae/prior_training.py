"""Training of the window prior over ranks: recombined batches, weight averaging, early stopping.

The global batch of a step, how each of its haplotypes recombines and what dropout leaves of
it depend on the seed, the epoch and the place in the batch, never on the rank. So training
gives the same, whatever the world size, but for the order in which floats are summed.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from haplobench import BenchError, RecombinationMap, RunContext
from haplobench.distributed import ProcessGroup, data_parallel, shard, shared_like, whole
from haplobench_vae import VAEParams
from haplobench_vae.codebooks import Codebooks, WindowTiling
from haplobench_vae.prior import WindowPrior, dropout
from haplobench_vae.storage import CheckpointFile, load_optimiser, nested, optimiser_tensors, under

_VALIDATION_BATCH = 256
_VALIDATION_CELLS = 1 << 22  # scores held at once
_COMPILE_STEPS = 20_000


@dataclass(frozen=True, eq=False)
class Mosaics:
    """Li-Stephens mosaics (Li & Stephens 2003) of training haplotypes, without mutation.

    `haplotypes` (n, n_sites) int8: the training haplotypes.
    `group` (n,) int64: whom each haplotype recombines with: those of its own group.
    `morgans` (n_sites,) float64: genetic distance from the first site, never falling.
    `rate` (n_groups,) float64: switches per Morgan of a haplotype that recombines.
    """

    haplotypes: NDArray[np.int8]
    group: NDArray[np.int64]
    morgans: NDArray[np.float64]
    rate: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        haplotypes: NDArray[np.int8],
        group: NDArray[np.int64],
        positions: NDArray[np.int64],
        recombination_map: RecombinationMap,
        ne: float,
    ) -> Mosaics:
        """Switch at a rate of 4 Ne / n per Morgan."""
        morgans = recombination_map.at(positions) / 100
        sizes = np.bincount(group)
        return cls(haplotypes, group, morgans - morgans[0], 4 * ne / np.maximum(sizes, 1))

    def draw(
        self,
        rows: NDArray[np.int64],
        share: float,
        rng: np.random.Generator,
        part: slice = slice(None),
    ) -> NDArray[np.int8]:
        """Haplotypes (n, n_sites) int8 that begin as `rows` do; a `share` of them recombines.

        Only those of a `part` of the rows, which are the same whatever the part.
        """
        n, n_sites = rows.size, self.haplotypes.shape[1]
        group = self.group[rows]
        recombines = rng.random(n) < share
        length = self.morgans[-1]
        # A Poisson process: an interval has a switch with 1 - exp(-rate × Morgans).
        counts = rng.poisson(self.rate[group] * length * recombines)
        row = np.repeat(np.arange(n), counts)
        where, whom = rng.random((2, row.size))
        mine = np.arange(n)[part]
        chosen = np.isin(row, mine)
        row, where, whom = row[chosen], where[chosen], whom[chosen]
        site = np.searchsorted(self.morgans, where * length, side="right").clip(max=n_sites - 1)
        order = np.argsort(self.group, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(self.group))])
        sizes = np.diff(starts)[group[row]]
        partner = order[starts[group[row]] + (whom * sizes).astype(np.int64)]
        # A source stays until the next switch of its row.
        begins = np.concatenate([mine * n_sites, row * n_sites + site])
        in_order = np.argsort(begins, kind="stable")
        until = np.append(begins[in_order][1:], 0)
        ends = np.where(until // n_sites == begins[in_order] // n_sites, until, 0)
        row_ends = (begins[in_order] // n_sites + 1) * n_sites
        lengths = np.where(ends > 0, ends, row_ends) - begins[in_order]
        sources = np.repeat(np.concatenate([rows[mine], partner])[in_order], lengths)
        drawn = self.haplotypes[sources.reshape(mine.size, n_sites), np.arange(n_sites)]
        return np.asarray(drawn)


def train_prior(
    model: WindowPrior,
    codebooks: Codebooks,
    tiling: WindowTiling,
    mosaics: Mosaics,
    validation: tuple[NDArray[np.int8], NDArray[np.int64]],
    params: VAEParams,
    ctx: RunContext,
    report: Callable[[int, int, float], None],
    checkpoint: CheckpointFile | None = None,
) -> tuple[WindowPrior, dict[str, Any]]:
    """Minimise the negative log-likelihood with AdamW; keep the best averaged weights.

    All ranks of `ctx.group` train together on the `mosaics`, conditioned on their groups, and
    end with the same weights. `validation` are haplotypes (m, n_sites) and their populations
    (m,). `report` is told the epoch, the upper bound of epochs and the validation loss. With a
    `checkpoint`, training goes on after the last epoch that was written there, to the same
    weights as if it had never been broken off.

    Returns the fitted model (`model` itself, or, where ranks share that, another one, whole and on
    the CPU), and `best_epoch` (from 0; its averaged weights were kept), and for each epoch the
    validation loss of the codes and of the alleles given the codes, nats per haplotype. Their
    sum bounds -log p(haplotype) from above.

    Raises BenchError if the ranks don't find the same checkpoint.
    """
    n = mosaics.group.size
    device = torch.device(ctx.device)
    precision = _precision(params.precision, device)
    half = precision is torch.float16
    trainer = data_parallel(
        model,
        torch.optim.AdamW(
            _weight_groups(model, params.weight_decay), lr=params.learning_rate, fused=True
        ),
        ctx.group,
        device=ctx.device,
        compression=params.compression,
        overlap=params.overlap,
        scaler=torch.amp.GradScaler(device.type) if half else None,
        sharded=list(model.layers()) if params.sharded else None,
    )
    model.to(device)  # where it isn't yet: a single rank's
    # What several ranks step with may be another object, with a state of its own.
    progress = _Progress(model, trainer.optimizer, max(1, n // params.batch_size), params)
    if checkpoint is not None and (left := checkpoint.read()) is not None:
        progress.restore(*left)
        ctx.log.info("going on after epoch %d", progress.epoch)
    _agree(progress.epoch, ctx.group)
    everything = range(tiling.n_windows)
    with _compiled(model, params, progress.steps):
        while progress.epoch < progress.epochs and not progress.stopped(params.patience):
            epoch = progress.epoch
            trainer.meter.restart()
            order = np.arange(n)
            ctx.rng("vae", "epoch", epoch).shuffle(order)
            for batch in np.array_split(np.arange(n), progress.n_batches):
                rows = order[batch]
                part, share = trainer.part(rows.size)
                rng = ctx.rng("vae", "recombination", epoch, int(batch[0]))
                haplotypes = mosaics.draw(rows, params.recombined, rng, part)
                alleles = torch.from_numpy(tiling.cut(haplotypes, everything)).to(device)
                population = torch.from_numpy(mosaics.group[rows[part]]).to(device)
                codes = codebooks.encode(alleles)
                factors = None
                if params.dropout:
                    seeds = [ctx.seed_for("vae", "dropout", epoch, i) for i in batch[part]]
                    factors = dropout(model.shape, params.dropout, seeds, device)
                with torch.autocast(device.type, precision, enabled=precision != torch.float32):
                    loss = trainer.model(codes, alleles, population, factors).sum(1).mean()
                trainer.backward(loss, share)
                for group in progress.optimiser.param_groups:
                    group["lr"] = params.learning_rate * _rate(progress.step, progress.steps)
                trainer.step(params.clip * tiling.n_windows)
                progress.stepped(params.averaging)
                trainer.meter.lap("optimiser")
            trainer.meter.epochs += 1
            losses = _validate(model, progress.average, codebooks, tiling, validation, ctx.group)
            progress.epoch_ended(*losses)
            report(progress.epoch - 1, progress.epochs, progress.losses[-1])
            if checkpoint is not None:
                state = progress.state()  # all ranks together gather it
                if ctx.group.rank == 0:
                    checkpoint.write(*state)
    history = {
        "best_epoch": progress.best_epoch,
        "validation_code_loss_nats": progress.code_losses,
        "validation_allele_loss_nats": progress.allele_losses,
    }
    best = progress.best
    del progress, trainer  # and what the optimiser remembers, before a shared model is whole again
    fitted = model
    if params.sharded:
        tables = Codebooks(codebooks.logits.cpu(), codebooks.log_weights.cpu())
        fitted = WindowPrior(model.shape, tables, torch.Generator())
    with torch.no_grad():
        for name, parameter in fitted.named_parameters():
            parameter.copy_(whole(best[name]))
    return fitted.eval(), history


class _Progress:
    """How far a training is: all that an epoch hands to the next."""

    def __init__(
        self,
        model: WindowPrior,
        optimiser: torch.optim.Optimizer,
        n_batches: int,
        params: VAEParams,
    ) -> None:
        self.model = model
        self.optimiser = optimiser
        self.n_batches = n_batches
        assert params.epochs is not None  # VAEParams.for_haplotypes sets it.
        self.epochs = params.epochs
        self.steps = self.epochs * n_batches
        self.average = {name: p.detach().clone() for name, p in model.named_parameters()}
        self.best = self.average
        self.best_epoch = 0
        self.step = 0
        self.code_losses: list[float] = []
        self.allele_losses: list[float] = []

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.code_losses)

    @property
    def losses(self) -> list[float]:
        """Validation loss of each epoch, nats per haplotype."""
        return [c + a for c, a in zip(self.code_losses, self.allele_losses, strict=True)]

    def stopped(self, patience: int) -> bool:
        """Whether the validation loss hasn't improved for `patience` epochs."""
        return self.epoch > 0 and self.epoch - 1 - self.best_epoch >= patience

    def stepped(self, averaging: float) -> None:
        """Take the step's weights into the average; short averages at first."""
        self.step += 1
        decay = min(averaging, self.step / (self.step + 10))
        names, values = zip(*self.model.named_parameters(), strict=True)
        torch._foreach_lerp_(
            [self.average[name] for name in names], [v.detach() for v in values], 1 - decay
        )

    def epoch_ended(self, code_loss: float, allele_loss: float) -> None:
        """Note the validation losses; keep the averaged weights if they are the best yet."""
        lowest = min(self.losses, default=math.inf)
        self.code_losses.append(code_loss)
        self.allele_losses.append(allele_loss)
        if code_loss + allele_loss < lowest:
            self.best_epoch = self.epoch - 1
            self.best = {name: value.clone() for name, value in self.average.items()}

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What `restore` needs."""
        tensors = {
            **nested("weights", _whole(dict(self.model.named_parameters()))),
            **nested("average", _whole(self.average)),
            **nested("best", _whole(self.best)),
            **nested("optimiser", _whole(optimiser_tensors(self.optimiser))),
        }
        facts = {
            "best_epoch": self.best_epoch,
            "code_losses": self.code_losses,
            "allele_losses": self.allele_losses,
        }
        return tensors, facts

    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Go back to where `state` was taken."""
        device = self.model.logits.device
        own = dict(self.model.named_parameters())
        weights, self.average, self.best = (
            {
                name: shared_like(own[name], value.to(device))
                for name, value in under(part, tensors).items()
            }
            for part in ("weights", "average", "best")
        )
        self.model.load_state_dict(weights, strict=False)
        load_optimiser(self.optimiser, under("optimiser", tensors))
        self.best_epoch = facts["best_epoch"]
        self.code_losses, self.allele_losses = facts["code_losses"], facts["allele_losses"]
        self.step = self.epoch * self.n_batches


def _whole(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors that ranks may share, whole and on the CPU; all ranks call it together."""
    return {name: whole(value.detach()).cpu() for name, value in tensors.items()}


def _precision(wanted: str, device: torch.device) -> torch.dtype:
    """What matrix products are computed in; sums, losses and weights stay float32."""
    if wanted == "auto":
        able = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if able else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[wanted]


@contextlib.contextmanager
def _compiled(model: WindowPrior, params: VAEParams, steps: int) -> Iterator[None]:
    """Compile the model while in it, if wanted: on CUDA where training repays it, unsharded."""
    long = model.logits.device.type == "cuda" and steps >= _COMPILE_STEPS
    if params.sharded or params.compile == "off" or (params.compile == "auto" and not long):
        yield
        return
    # The model itself, within whatever the ranks have wrapped it in.
    model.forward = torch.compile(model.forward)  # type: ignore[method-assign]
    try:
        yield
    finally:
        del model.forward


def _agree(epoch: int, group: ProcessGroup) -> None:
    """Raise BenchError on a rank that goes on from another epoch than rank 0."""
    first = int(group.broadcast(np.array([epoch]))[0])
    if first != epoch:
        raise BenchError(
            f"checkpoint: rank {group.rank} found epoch {epoch}, rank 0 epoch {first}",
            hint="results must lie in a folder that all nodes share",
        )


def _weight_groups(model: WindowPrior, decay: float) -> list[dict[str, object]]:
    """Weight decay for matrices and embeddings; none for biases and norms."""
    decayed = [p for p in model.parameters() if p.dim() > 1]
    plain = [p for p in model.parameters() if p.dim() <= 1]
    return [{"params": decayed, "weight_decay": decay}, {"params": plain, "weight_decay": 0.0}]


def _rate(step: int, steps: int) -> float:
    """Linear warm-up over a fiftieth, constant to the half, then linear to a fiftieth."""
    return min(1.0, (step + 1) / (steps / 50 + 1), max(0.02, 2 * (1 - step / steps)))


@torch.no_grad()
def _validate(
    model: WindowPrior,
    average: dict[str, Tensor],
    codebooks: Codebooks,
    tiling: WindowTiling,
    validation: tuple[NDArray[np.int8], NDArray[np.int64]],
    group: ProcessGroup,
) -> tuple[float, float]:
    """Validation loss of the averaged weights, nats per haplotype: of codes, of alleles.

    Each rank takes some of the haplotypes; all have the same sums.
    """
    live = {name: value.detach().clone() for name, value in model.named_parameters()}
    model.load_state_dict(average, strict=False)
    model.eval()
    total = torch.zeros(2, dtype=torch.float64)
    haplotypes, population = validation
    n = population.size
    device = model.logits.device
    cells = model.shape.n_windows * model.shape.codes
    size = max(1, min(_VALIDATION_BATCH, _VALIDATION_CELLS // cells))
    part = shard(n, group.rank, group.size)
    # All ranks equally often, since a sharded model's ranks wait for each other: over the end of a
    # part the rows are any one, and don't count.
    most = shard(n, 0, group.size).stop
    for start in range(part.start, part.start + most, size):
        rows = slice(start, min(start + size, part.stop))
        counts = rows.start < rows.stop
        if not counts:
            rows = slice(0, 1)
        cut = torch.from_numpy(tiling.cut(haplotypes[rows], range(tiling.n_windows))).to(device)
        condition = torch.from_numpy(population[rows]).to(device)
        losses = model(codebooks.encode(cut), cut, condition).sum(0).double().cpu()
        total += losses if counts else 0
    model.load_state_dict(live, strict=False)
    code, allele = (group.all_reduce(total.numpy()) / n).tolist()
    return code, allele
