"""Exact likelihood of haplotypes whose window codes form a Markov chain with recombination."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class MarginalLikelihood(torch.autograd.Function):
    """Log-likelihood with the codes summed out, and its gradient by the backward recursion.

    Between windows a haplotype keeps its code with probability 1 - r or, recombining, draws a
    new one: Li & Stephens' chain (Genetics 165, 2003) over haplotype clusters (Scheet &
    Stephens, Am. J. Hum. Genet. 78, 2006). Because the new code does not depend on the old,
    both recursions (Rabiner, Proc. IEEE 77, 1989) cost one multiplication per code, not one
    per pair of codes.

    The gradient in the emissions is the posterior of the codes, which makes this the evidence
    lower bound of a variational autoencoder whose encoder is the exact posterior: bound and
    likelihood are equal.
    """

    @staticmethod
    def forward(ctx: Any, emission: Tensor, weight: Tensor, recombination: Tensor) -> Tensor:
        """Log-likelihoods (n,) float32, in nats.

        Parameters
        ----------
        emission : (n_windows, n, codes) float32
            Log-probability of a haplotype's alleles in a window, given each code.
        weight : (n_windows, n, codes) float32
            Logits of the code drawn where a haplotype begins or recombines.
        recombination : (n_windows, n) float32
            Logits of r before each window; the first row is not used.
        """
        highest = emission.amax(dim=2, keepdim=True)
        likelihood = (emission - highest).exp_()
        drawn = weight.softmax(dim=2)
        r = recombination.sigmoid()[:, :, None]
        filtered = torch.empty_like(likelihood)
        scale = torch.empty_like(likelihood[..., :1])
        for window in range(emission.shape[0]):
            if window == 0:
                state = drawn[0] * likelihood[0]
            else:
                state = torch.lerp(filtered[window - 1], drawn[window], r[window])
                state *= likelihood[window]
            # Every code may be ruled out in float32 where one before was certain.
            scale[window] = state.sum(dim=1, keepdim=True).clamp_min_(_SMALLEST)
            torch.div(state, scale[window], out=filtered[window])
        ctx.save_for_backward(likelihood, drawn, r, filtered, scale)
        return (scale.log() + highest).sum(dim=0)[:, 0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Posterior expectations times `gradient` (n,)."""
        likelihood, drawn, r, filtered, scale = ctx.saved_tensors
        n_windows = filtered.shape[0]
        outer = gradient[:, None]
        posterior = torch.empty_like(filtered)
        weight = torch.empty_like(filtered)
        recombination = torch.zeros_like(r[:, :, 0])
        later = torch.ones_like(filtered[0])
        for window in range(n_windows - 1, 0, -1):
            posterior[window] = filtered[window] * later * outer
            message = likelihood[window] * later / scale[window]
            jump = drawn[window] * message
            jump *= r[window]
            jumped = jump.sum(dim=1, keepdim=True)
            weight[window] = (jump - drawn[window] * jumped) * outer
            # Kept and jumped add up to one, so the derivative in logit r is jumped - r.
            recombination[window] = ((jumped - r[window]) * outer)[:, 0]
            later = torch.add(jumped, message * (1 - r[window]))
        posterior[0] = filtered[0] * later * outer
        weight[0] = (filtered[0] * later - drawn[0]) * outer
        return posterior, weight, recombination


_SMALLEST = 1e-37
