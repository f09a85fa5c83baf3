"""Steps of DP-SGD on people: Opacus' gradients per person, clipped, summed and noised.

Abadi et al. 2016, arXiv:1607.00133; adaptive clipping Andrew et al. 2021, arXiv:1905.03871;
ghost clipping Li et al. 2022, arXiv:2110.05679.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from opacus import GradSampleModule
from opacus.grad_sample import GradSampleModuleFastGradientClipping
from opacus.optimizers import (
    AdaClipDPOptimizer,
    DPOptimizer,
    DPOptimizerFastGradientClipping,
    DPPerLayerOptimizer,
)
from opacus.utils.fast_gradient_clipping_utils import DPTensorFastGradientClipping
from torch import Tensor, nn

from haplobench_federated.contract import person_losses

_WIDEST = 100.0  # how far the adaptive clipping norm may move from where it began


@dataclass(frozen=True)
class Clipping:
    """How the gradient of a person is bounded.

    Attributes
    ----------
    mode : str
        `flat`, `per_layer` (each parameter by an equal share of the squared norm), `adaptive` or
        `ghost` (flat, without gradients per person in memory).
    norm : float
        Bound of the whole gradient's L2 norm; where adaptive, at first.
    quantile, learning_rate : float
        Where adaptive: the share of people to stay unclipped, and how fast the norm follows.
    """

    mode: str
    norm: float
    quantile: float = 0.5
    learning_rate: float = 0.2


class _AdaptiveClipping(AdaClipDPOptimizer):  # type: ignore[misc]
    """Opacus' adaptive clipping with the count of unclipped people released as published.

    Opacus divides the noised count by the number of people in the batch, which is not noised;
    the paper adds up b - 1/2, which one person changes by 1/2, and divides by the expected number.
    """

    max_grad_norm: float
    unclipped_num: Any

    def update_max_grad_norm(self) -> None:
        share = (float(self.unclipped_num) - self.sample_size / 2) / self.expected_batch_size
        step = -self.clipbound_learning_rate * (share + 0.5 - self.target_unclipped_quantile)
        norm = self.max_grad_norm * float(torch.tensor(step, dtype=torch.float64).exp())
        self.max_grad_norm = min(max(norm, self.min_clipbound), self.max_clipbound)

    def clip_and_accumulate(self) -> None:
        if len(self.grad_samples[0]):
            super().clip_and_accumulate()
        else:  # Opacus' own can't reshape gradients of nobody
            DPOptimizer.clip_and_accumulate(self)
            self.unclipped_num = torch.as_tensor(self.unclipped_num)


class PrivateSteps:
    """Clips, sums, noises and steps; one for the steps of a round.

    Parameters
    ----------
    model : nn.Module
        Trained in place. Its parameters get Opacus' gradients per person.
    optimiser : torch.optim.Optimizer
        Of the model's parameters.
    clipping : Clipping
    noise_multiplier : float
        Of the whole step; where adaptive, the count of the unclipped is paid out of it.
    expected : float
        Expected people of a batch, which divides the noised sum.
    generator : torch.Generator
        Of the noise; of the model's device.
    """

    def __init__(
        self,
        model: nn.Module,
        optimiser: torch.optim.Optimizer,
        clipping: Clipping,
        noise_multiplier: float,
        expected: float,
        generator: torch.Generator,
    ) -> None:
        ghost = clipping.mode == "ghost"
        wrapper = GradSampleModuleFastGradientClipping if ghost else GradSampleModule
        extra: dict[str, Any] = {"max_grad_norm": clipping.norm} if ghost else {}
        self.model: Any = wrapper(model, batch_first=True, loss_reduction="sum", **extra)
        self.ghost = ghost
        self.optimiser = _wrapped(
            optimiser, clipping, noise_multiplier, expected, generator, len(self._parameters())
        )

    @property
    def clipping_norm(self) -> float:
        """The bound that the next step will use."""
        return float(self.optimiser.max_grad_norm)

    def clipped_sum(
        self, haplotypes: Tensor, population: Tensor, memory_batch: int
    ) -> list[Tensor]:
        """Sum of the people's clipped gradients, one tensor a parameter, before any noise.

        What `step` noises. Adding or removing a person changes it by at most the clipping norm.
        """
        self.optimiser.zero_grad()
        for chunk in _chunks(len(population), memory_batch):
            self._backward(haplotypes[chunk], population[chunk])
            if self.ghost:
                self.optimiser.accumulate()
            else:
                self.optimiser.clip_and_accumulate()
            self.optimiser._is_last_step_skipped = True  # zero_grad is to keep the sum
            self.optimiser.zero_grad()
        self.optimiser._is_last_step_skipped = False
        found = [p.summed_grad.detach().clone() for p in self._parameters()]
        self.optimiser.zero_grad()
        return found

    def step(
        self,
        haplotypes: Tensor,
        population: Tensor,
        memory_batch: int,
        after_noise: Callable[[], None] = lambda: None,
    ) -> None:
        """One step on a batch, which may be empty.

        `after_noise` may change the noised gradients: it sees nothing else of people, so that
        what it does costs no privacy.
        """
        self.optimiser.zero_grad()
        chunks = _chunks(len(population), memory_batch)
        for i, chunk in enumerate(chunks):
            self.optimiser.signal_skip_step(do_skip=i + 1 < len(chunks))
            self._backward(haplotypes[chunk], population[chunk])
            if self.optimiser.pre_step():
                after_noise()
                self.optimiser.original_optimizer.step()
            self.optimiser.zero_grad()

    def close(self) -> None:
        """Take Opacus' hooks and gradients off the model."""
        self.optimiser.zero_grad()
        self.model.to_standard_module()

    def _parameters(self) -> list[Any]:
        return [p for p in self.model.parameters() if p.requires_grad]

    def _backward(self, haplotypes: Tensor, population: Tensor) -> None:
        if not len(population):
            for parameter in self._parameters():
                if self.ghost:
                    parameter.grad = torch.zeros_like(parameter)
                else:
                    parameter.grad_sample = parameter.new_zeros((0, *parameter.shape))
            return
        losses = person_losses(self.model, haplotypes, population)
        with warnings.catch_warnings():
            # Alleles need no gradient, as torch remarks of the hooks on layers that read them.
            warnings.filterwarnings("ignore", "Full backward hook is firing")
            if self.ghost:
                DPTensorFastGradientClipping(self.model, self.optimiser, losses, "sum").backward()
            else:
                losses.sum().backward()  # type: ignore[no-untyped-call]


def _wrapped(
    optimiser: torch.optim.Optimizer,
    clipping: Clipping,
    noise_multiplier: float,
    expected: float,
    generator: torch.Generator,
    parameters: int,
) -> Any:
    common: dict[str, Any] = {
        "noise_multiplier": noise_multiplier,
        "expected_batch_size": expected,
        "generator": generator,
    }
    if clipping.mode == "ghost":
        return DPOptimizerFastGradientClipping(optimiser, max_grad_norm=clipping.norm, **common)
    if clipping.mode == "per_layer":
        each = clipping.norm / parameters**0.5
        return DPPerLayerOptimizer(optimiser, max_grad_norm=[each] * parameters, **common)
    if clipping.mode == "adaptive":
        return _AdaptiveClipping(
            optimiser,
            max_grad_norm=clipping.norm,
            target_unclipped_quantile=clipping.quantile,
            clipbound_learning_rate=clipping.learning_rate,
            max_clipbound=clipping.norm * _WIDEST,
            min_clipbound=clipping.norm / _WIDEST,
            # The paper's choice, an expected batch's twentieth; more where the noise needs it.
            unclipped_num_std=max(expected / 20, noise_multiplier),
            **common,
        )
    return DPOptimizer(optimiser, max_grad_norm=clipping.norm, **common)


def _chunks(people: int, memory_batch: int) -> list[slice]:
    """At least one, also of nobody."""
    return [slice(i, i + memory_batch) for i in range(0, max(people, 1), memory_batch)]
