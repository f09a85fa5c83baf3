"""Training of window VAEs: reproducible, validated by person, stopped early by window."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils import deterministic

from haplobench import BenchError, Panel
from haplobench.split import take_families
from haplobench_vae.paper_model import WindowVAEs
from haplobench_vae.params import TrainingParams

_VALIDATION_BATCH = 1024
# Its one setting is set by the module's own __class__: type checkers can't see it.
_DETERMINISTIC: Any = deterministic


@contextmanager
def reproducible(threads: int) -> Iterator[None]:
    """Fix what floating-point results depend on, and put it back afterwards.

    `threads` PyTorch threads, deterministic algorithms only (on CUDA too).
    """
    before = (
        torch.get_num_threads(),
        torch.get_deterministic_debug_mode(),
        _DETERMINISTIC.fill_uninitialized_memory,
    )
    # cuBLAS reads it when its handle is made; without it PyTorch refuses matrix products.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(max(1, threads))
    # The same switch as use_deterministic_algorithms, which would import the compiler (1 s).
    torch.set_deterministic_debug_mode("error")
    # Nothing here reads uninitialised memory; filling it costs a twentieth of the time.
    _DETERMINISTIC.fill_uninitialized_memory = False
    try:
        yield
    finally:
        _DETERMINISTIC.fill_uninitialized_memory = before[2]
        torch.set_num_threads(before[0])
        torch.set_deterministic_debug_mode(before[1])


def cpu_generator(seed: int) -> torch.Generator:
    """A torch generator on the CPU: all noise is drawn there, so that devices agree on it."""
    return torch.Generator().manual_seed(seed)


def validation_haplotypes(
    train: Panel,
    share: float,
    rng: np.random.Generator,
    given: NDArray[np.int64] | None = None,
) -> NDArray[np.bool_]:
    """Choose people for validation: (n_haplotypes,) bool, all haplotypes of a person alike.

    `given` are people that the suite set apart, by index; where it set none apart, `share` of
    all are drawn, families whole.

    Raises BenchError if the panel has fewer than two people.
    """
    if train.n_samples < 2:
        raise BenchError(
            f"training panel: found {train.n_samples} people, expected at least 2 "
            "(one to train on, one to validate on)",
            hint="use a larger dataset",
        )
    chosen = np.zeros(train.n_samples, np.bool_)
    if given is not None and given.size:
        chosen[given] = True
    else:
        n = min(max(1, round(share * train.n_samples)), train.n_samples - 1)
        order = rng.permutation(train.n_samples)
        whole = take_families(train, order, n)
        # Where no family is so small, some of one is better than nobody.
        chosen[whole if whole.size else order[:n]] = True
    return np.repeat(chosen, train.ploidy)


class BestByWindow:
    """The best parameters of each window so far: windows stop early one by one.

    Since windows share no parameters, this equals training each with early stopping of its own.
    """

    def __init__(self, model: nn.Module, n_windows: int) -> None:
        self.loss = torch.full((n_windows,), math.inf)
        self.epoch = torch.zeros(n_windows, dtype=torch.int64)
        self._state = {name: value.clone() for name, value in model.state_dict().items()}

    def update(self, epoch: int, loss: Tensor, model: nn.Module) -> None:
        """Keep `model`'s parameters of the windows whose `loss` (n_windows,) is the lowest yet."""
        improved = loss < self.loss
        self.loss = torch.where(improved, loss, self.loss)
        self.epoch = torch.where(improved, epoch, self.epoch)
        for name, value in model.state_dict().items():
            mask = improved.to(value.device).view(-1, *(1,) * (value.dim() - 1))
            self._state[name] = torch.where(mask, value, self._state[name])

    def restore(self, model: nn.Module) -> None:
        """Put the kept parameters back into `model`."""
        model.load_state_dict(self._state)


@dataclass(frozen=True)
class WindowHistory:
    """How training of some windows ended.

    Attributes
    ----------
    epochs : int
        Epochs trained.
    best_epoch : (n_windows,) int64
        The epoch, from 0, whose parameters were kept.
    validation_loss : (n_windows,) float32
        Reconstruction loss + β KL on the validation people then, nats per haplotype.
    """

    epochs: int
    best_epoch: NDArray[np.int64]
    validation_loss: NDArray[np.float32]


def train_windows(
    model: WindowVAEs,
    alleles: Tensor,
    validation: NDArray[np.bool_],
    params: TrainingParams,
    generator: torch.Generator,
    report: Callable[[int, float], None],
) -> WindowHistory:
    """Minimise reconstruction loss + β KL of each window with Adam; keep each window's best.

    Parameters
    ----------
    model : WindowVAEs
        Trained in place, on the device of `alleles`.
    alleles : (n_windows, n_haplotypes, sites) int8
        -1 where missing or padded.
    validation : (n_haplotypes,) bool
    params : TrainingParams
    generator : torch.Generator
        Of batches and latent noise.
    report : Callable[[int, float], None]
        Told the epoch (from 0) and the mean validation loss over windows, nats per haplotype.
    """
    held = torch.from_numpy(validation).to(alleles.device)
    fitted, held_out = alleles[:, ~held], alleles[:, held]
    n = fitted.shape[1]
    n_batches = max(1, n // params.batch_size)
    noise_of = _Noise(model.shape.n_windows, model.shape.latent, generator, alleles.device)
    # The same noise in every epoch: epochs are compared, not draws.
    held_noise = noise_of(held_out.shape[1])
    optimiser = torch.optim.Adam(model.parameters(), lr=params.learning_rate, fused=True)
    steps = params.epochs * n_batches
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: 0.5 * (1 + math.cos(math.pi * min(step, steps) / steps))
    )
    best = BestByWindow(model, model.shape.n_windows)
    for epoch in range(params.epochs):
        beta = params.beta * min(1.0, (epoch + 1) / max(1, params.warm_up))
        for rows in torch.randperm(n, generator=generator).tensor_split(n_batches):
            batch = fitted[:, rows.to(alleles.device)].float()
            reconstruction, kl = model.negative_elbo_terms(batch, noise_of(rows.numel()))
            optimiser.zero_grad()
            (reconstruction + beta * kl).mean(dim=1).sum().backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
        loss = _validation_loss(model, held_out, held_noise, params.beta)
        report(epoch, float(loss.mean()))
        # While the KL weight rises, the posterior isn't yet the one asked for.
        if epoch + 1 >= min(params.warm_up, params.epochs):
            best.update(epoch, loss, model)
            if epoch - int(best.epoch.max()) >= params.patience:
                break
    best.restore(model)
    return WindowHistory(epoch + 1, best.epoch.numpy(), best.loss.numpy())


class _Noise:
    """Standard normal latents (n_windows, n, latent), drawn on the CPU, moved to the device."""

    def __init__(
        self, n_windows: int, latent: int, generator: torch.Generator, device: torch.device
    ) -> None:
        self._shape = n_windows, latent
        self._generator = generator
        self._device = device

    def __call__(self, n: int) -> Tensor:
        windows, latent = self._shape
        return torch.randn(windows, n, latent, generator=self._generator).to(self._device)


@torch.no_grad()
def _validation_loss(model: WindowVAEs, alleles: Tensor, noise: Tensor, beta: float) -> Tensor:
    """Mean loss per haplotype of each window: (n_windows,) float32 on the CPU."""
    total = torch.zeros(alleles.shape[0], device=alleles.device)
    for start in range(0, alleles.shape[1], _VALIDATION_BATCH):
        rows = slice(start, start + _VALIDATION_BATCH)
        reconstruction, kl = model.negative_elbo_terms(alleles[:, rows].float(), noise[:, rows])
        total += (reconstruction + beta * kl).sum(dim=1)
    return (total / alleles.shape[1]).cpu()
