"""Steps of DP-SGD on people: Opacus' clipped gradients per person, summed and noised.

Abadi et al. 2016, arXiv:1607.00133; adaptive clipping Andrew et al. 2021, arXiv:1905.03871;
ghost clipping Li et al. 2022, arXiv:2110.05679.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
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

from haplobench import BenchError
from haplobench.noise import (
    GROUP,
    NoiseSource,
    fine_step,
    noised,
    rounded,
    rounded_sensitivity,
)
from haplobench_federated.model import person_losses
from haplobench_federated.params import PrivacyParams

_WIDEST = 100.0  # how far the adaptive clipping norm may move from where it began
_COUNT_STEPS = 1024  # of a count's grid: finer than its noise


class _AdaptiveClipping(AdaClipDPOptimizer):  # type: ignore[misc]
    """Opacus' adaptive clipping, also of nobody."""

    def clip_and_accumulate(self) -> None:
        if len(self.grad_samples[0]):
            super().clip_and_accumulate()
        else:  # Opacus' own can't reshape gradients of nobody
            DPOptimizer.clip_and_accumulate(self)


@dataclass(frozen=True, eq=False)
class ClippedSum:
    """The sum of people's clipped gradients before any noise.

    Attributes
    ----------
    values : (n_parameters,) float64
        Adding or removing a person changes it by at most the clipping norm, in L2.
    people, unclipped : int
        Of the batch, and of those the people whose gradient wasn't clipped, which only adaptive
        clipping counts.
    """

    values: NDArray[np.float64]
    people: int
    unclipped: int


class PrivateSteps:
    """Clips, sums, noises and steps; one for the steps of a round.

    Opacus takes gradients per person and clips them; its noise is not used. Noise is added in
    whole steps of a grid (`haplobench.noise`).

    Parameters
    ----------
    model : nn.Module
        Trained in place. Its parameters get Opacus' gradients per person.
    optimiser : torch.optim.Optimizer
        Of the model's parameters.
    noise_multiplier : float
        Of the whole step; where adaptive, the count of the unclipped is paid out of it.
    expected : float
        Expected people of a batch, which divides the noised sum.
    grid_step : float or None
        Of the sum. None: so fine that it can be forgotten.
    """

    def __init__(
        self,
        model: nn.Module,
        optimiser: torch.optim.Optimizer,
        privacy: PrivacyParams,
        noise_multiplier: float,
        expected: float,
        noise: NoiseSource,
        grid_step: float | None = None,
    ) -> None:
        self.ghost = privacy.clipping == "ghost"
        self.adaptive = privacy.clipping == "adaptive"
        wrapper = GradSampleModuleFastGradientClipping if self.ghost else GradSampleModule
        extra: dict[str, Any] = {"max_grad_norm": privacy.clipping_norm} if self.ghost else {}
        self.model: Any = wrapper(model, batch_first=True, loss_reduction="sum", **extra)
        self.privacy = privacy
        self.clipping_norm = privacy.clipping_norm
        self.expected = expected
        self.noise = noise
        self.grid_step = grid_step
        # The paper's choice, an expected batch's twentieth; more where the noise needs it.
        self.count_deviation = max(expected / 20, noise_multiplier)
        self.noise_multiplier = noise_multiplier
        if self.adaptive:
            count = 2 * self.count_deviation
            self.noise_multiplier = (noise_multiplier**-2 - count**-2) ** -0.5
        self.optimiser = _wrapped(optimiser, privacy, len(self._parameters()))

    def clipped_sum(self, haplotypes: Tensor, population: Tensor, memory_batch: int) -> ClippedSum:
        """What `step` noises."""
        parameters = self._parameters()
        total = [torch.zeros(p.shape, dtype=torch.float64) for p in parameters]
        people = unclipped = 0
        self.optimiser.zero_grad()
        size = min(memory_batch, GROUP)
        for first in range(0, max(len(population), 1), size):  # once, also of nobody
            self._backward(haplotypes[first : first + size], population[first : first + size])
            if not self.ghost:
                self.optimiser.clip_and_accumulate()
            for one, parameter in zip(total, parameters, strict=True):
                part = parameter.grad if self.ghost else parameter.summed_grad
                one += part.detach().to("cpu", torch.float64).view_as(one)
            if self.adaptive:
                people += int(self.optimiser.sample_size)
                unclipped += int(self.optimiser.unclipped_num)
            self.optimiser.zero_grad()
        values = torch.cat([one.flatten() for one in total]).numpy()
        return ClippedSum(values, people, unclipped)

    def step(
        self,
        haplotypes: Tensor,
        population: Tensor,
        memory_batch: int,
        after_noise: Callable[[], None] = lambda: None,
    ) -> NDArray[np.float64]:
        """One step on a batch, which may be empty.

        `after_noise` may change the noised gradients: it sees nothing else of people, so that
        what it does costs no privacy. Returns the noised average gradient (n_parameters,)
        float64, before that. Raises BenchError where a gradient isn't finite.
        """
        clipped = self.clipped_sum(haplotypes, population, memory_batch)
        if not np.isfinite(clipped.values).all():
            raise BenchError(
                "a gradient isn't finite: noise has driven the model's weights too far; choose a "
                "lower learning rate, more people a batch, or a higher epsilon"
            )
        size = clipped.values.size
        grid_step = self.grid_step or fine_step(self.clipping_norm, size)
        released = noised(
            rounded(clipped.values, grid_step),
            self.noise_multiplier,
            rounded_sensitivity(self.clipping_norm, grid_step, size),
            self.noise,
        )
        gradient = np.asarray(released * (grid_step / self.expected), np.float64)
        parameters = self._parameters()
        ends = np.cumsum([parameter.numel() for parameter in parameters])
        for parameter, part in zip(parameters, np.split(gradient, ends[:-1]), strict=True):
            whole = torch.from_numpy(part.reshape(parameter.shape))
            parameter.grad = whole.to(parameter.device, parameter.dtype)
        after_noise()
        self.optimiser.original_optimizer.step()
        self.optimiser.zero_grad()
        if self.adaptive:
            self._follow(clipped)
        return gradient

    def close(self) -> None:
        """Take Opacus' hooks and gradients off the model."""
        self.optimiser.zero_grad()
        self.model.to_standard_module()

    def _follow(self, clipped: ClippedSum) -> None:
        """Move the clipping norm by the noised count of unclipped people.

        Opacus divides that by the number of people in the batch, which is not noised; the paper
        adds up b - 1/2, which one person changes by 1/2, and divides by the expected number.
        """
        twice = np.array([(2 * clipped.unclipped - clipped.people) * _COUNT_STEPS])
        released = noised(twice, 2 * self.count_deviation, _COUNT_STEPS, self.noise)
        share = int(released[0]) / (2 * _COUNT_STEPS) / self.expected
        change = -self.privacy.clipping_learning_rate * (
            share + 0.5 - self.privacy.clipping_quantile
        )
        first = self.privacy.clipping_norm
        least, most = first / _WIDEST, first * _WIDEST
        self.clipping_norm = min(max(self.clipping_norm * math.exp(change), least), most)
        self.optimiser.max_grad_norm = self.clipping_norm

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


def _wrapped(optimiser: torch.optim.Optimizer, privacy: PrivacyParams, parameters: int) -> Any:
    """Opacus' optimiser that clips; what it would noise and follow by is ours."""
    norm = privacy.clipping_norm
    common: dict[str, Any] = {"noise_multiplier": 0.0, "expected_batch_size": 1}
    if privacy.clipping == "ghost":
        return DPOptimizerFastGradientClipping(optimiser, max_grad_norm=norm, **common)
    if privacy.clipping == "per_layer":
        each = norm / parameters**0.5
        return DPPerLayerOptimizer(optimiser, max_grad_norm=[each] * parameters, **common)
    if privacy.clipping == "adaptive":
        return _AdaptiveClipping(
            optimiser,
            max_grad_norm=norm,
            target_unclipped_quantile=privacy.clipping_quantile,
            clipbound_learning_rate=privacy.clipping_learning_rate,
            min_clipbound=0.0,
            max_clipbound=math.inf,
            unclipped_num_std=1.0,
            **common,
        )
    return DPOptimizer(optimiser, max_grad_norm=norm, **common)
