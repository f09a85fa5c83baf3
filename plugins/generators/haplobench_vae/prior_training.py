"""Training of the window prior: recombined batches, weight averaging, early stopping."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from haplobench import RunContext
from haplobench_vae.checkpoints import (
    CheckpointFile,
    load_optimiser,
    nested,
    optimiser_tensors,
    under,
)
from haplobench_vae.codebooks import Codebooks
from haplobench_vae.mosaics import Mosaics
from haplobench_vae.params import VAEParams
from haplobench_vae.prior import WindowPrior
from haplobench_vae.windows import WindowTiling

_VALIDATION_BATCH = 256
_FEWEST_EPOCHS = 24
_FEWEST_STEPS = 800
_COMPILE_STEPS = 20_000


@dataclass(frozen=True)
class PriorHistory:
    """How training ended.

    Attributes
    ----------
    code_loss, allele_loss : list[float]
        Of each epoch, on the validation people: nats per haplotype of the codes, and of the
        alleles given the codes. Their sum bounds -log p(haplotype) from above.
    best_epoch : int
        From 0; its averaged weights were kept.
    """

    code_loss: list[float]
    allele_loss: list[float]
    best_epoch: int


@dataclass(frozen=True, eq=False)
class TrainingData:
    """What the prior is trained and validated on.

    Attributes
    ----------
    mosaics : Mosaics
        Of the training haplotypes.
    population : (n,) int64
        Of each training haplotype.
    validation : (m, n_sites) int8
    validation_population : (m,) int64
    """

    mosaics: Mosaics
    population: NDArray[np.int64]
    validation: NDArray[np.int8]
    validation_population: NDArray[np.int64]


def train_prior(
    model: WindowPrior,
    books: Codebooks,
    tiling: WindowTiling,
    data: TrainingData,
    params: VAEParams,
    ctx: RunContext,
    report: Callable[[int, int, float], None],
    checkpoint: CheckpointFile | None = None,
) -> PriorHistory:
    """Minimise the negative log-likelihood with AdamW; keep the best averaged weights.

    The global batch of a step (who is in it, and how each recombines) depends on the seed,
    the epoch and the step alone. `report` is told the epoch, the upper bound of
    epochs and the validation loss. With a
    `checkpoint`, training goes on after the last epoch that was written there, to the same
    weights as if it had never been broken off.
    """
    progress = _Progress.begin(model, data, params)
    if checkpoint is not None and (left := checkpoint.read()) is not None:
        progress.restore(*left)
        ctx.log.info("going on after epoch %d", progress.epoch)
    device = model.logits.device
    precision = _precision(params.precision, device)
    scaler = torch.amp.GradScaler(device.type, enabled=precision is torch.float16)
    loss_of = _compiled(model, params, progress.steps)
    optimiser = progress.optimiser
    everything = range(tiling.n_windows)
    n = data.population.size
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        while progress.epoch < progress.epochs and not progress.stopped(params.patience):
            rng = ctx.rng("vae", "epoch", progress.epoch)
            # Dropout draws from the device's own generator.
            torch.manual_seed(ctx.seed_for("vae", "dropout", progress.epoch))
            model.train()
            for rows in np.array_split(rng.permutation(n), progress.n_batches):
                haplotypes = data.mosaics.draw(rows, params.recombined, rng)
                alleles = torch.from_numpy(tiling.cut(haplotypes, everything)).to(device)
                population = torch.from_numpy(data.population[rows]).to(device)
                codes = books.encode(alleles)
                with torch.autocast(device.type, precision, enabled=precision != torch.float32):
                    loss = loss_of(codes, alleles, population).sum(1).mean()
                for group in optimiser.param_groups:
                    group["lr"] = params.learning_rate * _rate(progress.step, progress.steps)
                optimiser.zero_grad()
                scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
                scaler.unscale_(optimiser)
                torch.nn.utils.clip_grad_norm_(model.parameters(), params.clip * tiling.n_windows)
                scaler.step(optimiser)
                scaler.update()
                progress.stepped(params.averaging)
            progress.epoch_ended(*_validate(model, progress.average, books, tiling, data))
            report(progress.epoch - 1, progress.epochs, progress.losses[-1])
            if checkpoint is not None and ctx.group.rank == 0:
                checkpoint.write(*progress.state())
    model.load_state_dict(progress.kept, strict=False)
    model.eval()
    return PriorHistory(progress.code_losses, progress.allele_losses, progress.best_epoch)


class _Progress:
    """How far a training is: all that an epoch hands to the next."""

    def __init__(self, model: WindowPrior, n_batches: int, params: VAEParams) -> None:
        self.model = model
        self.n_batches = n_batches
        self.epochs = params.epochs or max(_FEWEST_EPOCHS, math.ceil(_FEWEST_STEPS / n_batches))
        self.steps = self.epochs * n_batches
        self.optimiser = torch.optim.AdamW(
            _weight_groups(model, params.weight_decay), lr=params.learning_rate, fused=True
        )
        self.average = {name: p.detach().clone() for name, p in model.named_parameters()}
        self.kept = self.average
        self.best_epoch = 0
        self.step = 0
        self.code_losses: list[float] = []
        self.allele_losses: list[float] = []

    @classmethod
    def begin(cls, model: WindowPrior, data: TrainingData, params: VAEParams) -> _Progress:
        """Before the first epoch."""
        return cls(model, max(1, data.population.size // params.batch_size), params)

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
        best = min(self.losses, default=math.inf)
        self.code_losses.append(code_loss)
        self.allele_losses.append(allele_loss)
        if code_loss + allele_loss < best:
            self.best_epoch = self.epoch - 1
            self.kept = {name: value.clone() for name, value in self.average.items()}

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What `restore` needs."""
        tensors = {
            **nested("weights", dict(self.model.named_parameters())),
            **nested("average", self.average),
            **nested("kept", self.kept),
            **nested("optimiser", optimiser_tensors(self.optimiser)),
        }
        said = {
            "best_epoch": self.best_epoch,
            "code_losses": self.code_losses,
            "allele_losses": self.allele_losses,
        }
        return tensors, said

    def restore(self, tensors: Mapping[str, Tensor], said: Mapping[str, Any]) -> None:
        """Go back to where `state` was taken."""
        device = self.model.logits.device
        self.model.load_state_dict(under("weights", tensors), strict=False)
        self.average, self.kept = (
            {name: value.to(device) for name, value in under(part, tensors).items()}
            for part in ("average", "kept")
        )
        load_optimiser(self.optimiser, under("optimiser", tensors))
        self.best_epoch = said["best_epoch"]
        self.code_losses, self.allele_losses = said["code_losses"], said["allele_losses"]
        self.step = self.epoch * self.n_batches


def _precision(wanted: str, device: torch.device) -> torch.dtype:
    """What matrix products are computed in; sums, losses and weights stay float32."""
    if wanted == "auto":
        able = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if able else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[wanted]


def _compiled(model: WindowPrior, params: VAEParams, steps: int) -> Callable[..., Tensor]:
    """The model's loss, compiled if wanted: on CUDA where training is long enough to repay it."""
    long = model.logits.device.type == "cuda" and steps >= _COMPILE_STEPS
    if params.compile == "on" or (params.compile == "auto" and long):
        compiled: Callable[..., Tensor] = torch.compile(model)
        return compiled
    return model


def _weight_groups(model: WindowPrior, decay: float) -> list[dict[str, object]]:
    """Weight decay for matrices and embeddings; none for biases and norms."""
    decayed = [p for p in model.parameters() if p.dim() > 1]
    plain = [p for p in model.parameters() if p.dim() <= 1]
    return [
        {"params": decayed, "weight_decay": decay},
        {"params": plain, "weight_decay": 0.0},
    ]


def _rate(step: int, steps: int) -> float:
    """Linear warm-up over a fiftieth, constant to the half, then linear to a fiftieth."""
    return min(1.0, (step + 1) / (steps / 50 + 1), max(0.02, 2 * (1 - step / steps)))


@torch.no_grad()
def _validate(
    model: WindowPrior,
    average: dict[str, Tensor],
    books: Codebooks,
    tiling: WindowTiling,
    data: TrainingData,
) -> tuple[float, float]:
    """Validation loss of the averaged weights, nats per haplotype: of codes, of alleles."""
    live = {name: value.detach().clone() for name, value in model.named_parameters()}
    model.load_state_dict(average, strict=False)
    model.eval()
    total = torch.zeros(2, dtype=torch.float64)
    n = data.validation.shape[0]
    device = model.logits.device
    for start in range(0, n, _VALIDATION_BATCH):
        rows = slice(start, start + _VALIDATION_BATCH)
        alleles = tiling.cut(data.validation[rows], range(tiling.n_windows))
        cut = torch.from_numpy(alleles).to(device)
        population = torch.from_numpy(data.validation_population[rows]).to(device)
        total += model(books.encode(cut), cut, population).sum(0).double().cpu()
    model.load_state_dict(live, strict=False)
    code, allele = (total / n).tolist()
    return code, allele
