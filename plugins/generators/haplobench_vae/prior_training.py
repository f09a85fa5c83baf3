"""Training of the window prior: recombined batches, weight averaging, early stopping."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from haplobench import RunContext
from haplobench_vae.codebooks import Codebooks
from haplobench_vae.mosaics import Mosaics
from haplobench_vae.params import VAEParams
from haplobench_vae.prior import WindowPrior
from haplobench_vae.windows import WindowTiling

_VALIDATION_BATCH = 256


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
    report: Callable[[int, float], None],
) -> PriorHistory:
    """Minimise the negative log-likelihood with AdamW; keep the best averaged weights.

    The global batch of a step (who is in it, and how each recombines) depends on the seed,
    the epoch and the step alone. `report` is told the epoch and the validation loss.
    """
    device = model.logits.device
    everything = range(tiling.n_windows)
    n = data.population.size
    n_batches = max(1, n // params.batch_size)
    steps = params.epochs * n_batches
    optimiser = torch.optim.AdamW(
        _weight_groups(model, params.weight_decay), lr=params.learning_rate, fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, steps))
    average = {name: value.detach().clone() for name, value in model.named_parameters()}
    best, kept, best_epoch = math.inf, average, 0
    code_losses: list[float] = []
    allele_losses: list[float] = []
    step = 0
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        # Dropout draws from the device's own generator.
        torch.manual_seed(ctx.seed_for("vae", "dropout"))
        for epoch in range(params.epochs):
            rng = ctx.rng("vae", "epoch", epoch)
            model.train()
            for rows in np.array_split(rng.permutation(n), n_batches):
                haplotypes = data.mosaics.draw(rows, params.recombined, rng)
                alleles = torch.from_numpy(tiling.cut(haplotypes, everything)).to(device)
                population = torch.from_numpy(data.population[rows]).to(device)
                loss = model(books.encode(alleles), alleles, population).sum(1).mean()
                optimiser.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), params.clip * tiling.n_windows)
                optimiser.step()
                schedule.step()
                step += 1
                decay = min(params.averaging, step / (step + 10))
                names, values = zip(*model.named_parameters(), strict=True)
                torch._foreach_lerp_(
                    [average[name] for name in names], [v.detach() for v in values], 1 - decay
                )
            code, allele = _validate(model, average, books, tiling, data)
            code_losses.append(code)
            allele_losses.append(allele)
            report(epoch, code + allele)
            if code + allele < best:
                best, best_epoch = code + allele, epoch
                kept = {name: value.clone() for name, value in average.items()}
            elif epoch - best_epoch >= params.patience:
                break
    model.load_state_dict(kept, strict=False)
    model.eval()
    return PriorHistory(code_losses, allele_losses, best_epoch)


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
