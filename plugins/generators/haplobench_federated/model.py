"""The window-code model: a VAE of few parameters whose posterior is exact.

Each window of adjacent sites has a discrete latent code; the decoder draws the window's alleles
independently, given the code; the prior over codes is a Markov chain along the chromosome that
keeps a code or, where it recombines, draws a new one by population and window. As the chain's
posterior is computed exactly, no encoder has to be learned: all of the privacy budget goes to
the parameters that generate.

Its hyper-parameters are constants and defaults of this package, set by hand on a region of the
1000 Genomes' chr1, whose people are public. Fidelity reported on that same region is therefore
not free of that choice, which no accountant counts; on other people's data it leaks nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from haplobench import RecombinationMap
from haplobench_federated.layers import CodeWeights, Recombination, WindowDecoder
from haplobench_federated.marginal_likelihood import MarginalLikelihood

# Morgans a code lasts at first: haplotypes are told apart before they are cut in pieces.
_FIRST_JUMPS_PER_MORGAN = 50.0
_FIRST_SPREAD = 0.2  # standard deviation of a code's logits at first


@dataclass(frozen=True)
class ModelShape:
    """Sizes of a window-code model.

    Attributes
    ----------
    n_sites : int
    window : int
        Sites per window; the last may be shorter.
    codes : int
        Codes per window.
    populations : int
    """

    n_sites: int
    window: int
    codes: int
    populations: int

    @property
    def n_windows(self) -> int:
        """Number of windows."""
        return -(-self.n_sites // self.window)


class WindowCodes(nn.Module):
    """Decoder, code weights and recombination; called, it gives losses of people.

    Three layers hold all parameters, each with gradients per person registered with Opacus
    (`haplobench_federated.layers`), so that plain and ghost clipping work; there are no
    buffers and nothing that mixes people.
    """

    def __init__(
        self, shape: ModelShape, logits: Tensor, window_weights: Tensor, recombination: Tensor
    ) -> None:
        super().__init__()
        self.shape = shape
        self.decoder = WindowDecoder(logits)
        self.weights = CodeWeights(torch.zeros(shape.populations, shape.codes), window_weights)
        self.recombination = Recombination(recombination)

    def forward(self, haplotypes: Tensor, population: Tensor) -> Tensor:
        """Negative log-likelihood of each person (people,) float32, in nats.

        Parameters
        ----------
        haplotypes : (people, ploidy, n_sites) int8
            0, 1 or -1 (missing); missing alleles are summed out.
        population : (people,) int64
        """
        shape = self.shape
        people, ploidy, n_sites = haplotypes.shape
        padded = haplotypes.new_full((people, ploidy, shape.n_windows * shape.window), -1)
        padded[:, :, :n_sites] = haplotypes
        cut = padded.view(people, ploidy, shape.n_windows, shape.window)
        emission = self.decoder((cut == 1).float(), (cut >= 0).float())
        weight = self.weights(population)[:, None].expand_as(emission)
        recombination = self.recombination(population)[:, None].expand(-1, ploidy, -1)
        likelihood: Tensor = MarginalLikelihood.apply(  # type: ignore[no-untyped-call]
            emission.flatten(0, 1).transpose(0, 1),
            weight.flatten(0, 1).transpose(0, 1),
            recombination.flatten(0, 1).transpose(0, 1),
        )
        return -likelihood.view(people, ploidy).sum(dim=1)


def build(
    shape: ModelShape,
    frequencies: NDArray[np.float64],
    positions: NDArray[np.int64],
    recombination_map: RecombinationMap | None,
    rng: np.random.Generator,
) -> WindowCodes:
    """A model before training: everything in it is public but `frequencies`.

    Parameters
    ----------
    shape : ModelShape
    frequencies : (n_sites,) float64
        Of the alternate allele: public, or released with noise and accounted for. Clamped to
        [0.005, 0.995].
    positions : (n_sites,) int64
        bp.
    recombination_map : RecombinationMap or None
        None: 1 cM/Mb.
    rng : numpy.random.Generator
        Breaks the symmetry between codes.
    """
    padded = np.full(shape.n_windows * shape.window, 0.5)
    padded[: shape.n_sites] = np.clip(frequencies, 0.005, 0.995)
    logits = np.log(padded / (1 - padded)).reshape(shape.n_windows, shape.window, 1)
    spread = _FIRST_SPREAD * rng.standard_normal((shape.n_windows, shape.window, shape.codes))
    inside = np.arange(padded.size).reshape(shape.n_windows, shape.window, 1) < shape.n_sites
    return WindowCodes(
        shape,
        torch.from_numpy((logits + spread * inside).astype(np.float32)),
        torch.zeros(shape.n_windows, shape.codes),
        torch.from_numpy(_first_recombination(shape, positions, recombination_map)),
    )


def person_losses(model: nn.Module, haplotypes: Tensor, population: Tensor) -> Tensor:
    """Loss of each person (people,); see `WindowCodes.forward`. `model` may be Opacus' wrapper."""
    losses: Tensor = model(haplotypes, population)
    return losses


def _first_recombination(
    shape: ModelShape,
    positions: NDArray[np.int64],
    recombination_map: RecombinationMap | None,
) -> NDArray[np.float32]:
    """Logits of recombining before each window, from middle to middle (n_windows,)."""
    if recombination_map is None:
        recombination_map = RecombinationMap.uniform(int(positions[0]), int(positions[-1]))
    starts = np.arange(0, shape.n_sites, shape.window)
    sizes = np.diff(np.append(starts, shape.n_sites))
    middle = np.add.reduceat(recombination_map.at(positions), starts) / sizes
    morgans = np.diff(middle, prepend=middle[0]) / 100
    r = np.clip(-np.expm1(-_FIRST_JUMPS_PER_MORGAN * morgans), 1e-3, 0.9)
    return np.asarray(np.log(r / (1 - r)), np.float32)
