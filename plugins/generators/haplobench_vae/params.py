"""Parameters of the VAE generators; imports no torch, so that listing them costs nothing."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from haplobench import Params

Channels = Annotated[int, Field(ge=1, le=1024)]


class TrainingParams(Params):
    """How a VAE is trained.

    Attributes
    ----------
    beta : float
        Weight of the KL term (1: the ELBO itself; Higgins et al. 2017 for others).
    warm_up : int
        Epochs over which the weight rises linearly to `beta`.
    learning_rate : float
        Adam's at the start; it falls to 0 along a half cosine over `epochs`.
    batch_size : int
        Haplotypes per step.
    epochs : int
        Upper bound. There is no wall-clock limit: the same seed always gives the same model.
    patience : int
        Stop when no window's validation loss has improved for so many epochs.
    validation : float
        Share of the training people on whom the ELBO is validated, where the suite's split
        sets none apart; they train nothing.
    """

    beta: float = Field(1.0, ge=0, le=100)
    warm_up: int = Field(5, ge=0, le=10_000)
    learning_rate: float = Field(1e-2, gt=0, le=1)
    batch_size: int = Field(32, ge=1)
    epochs: int = Field(50, ge=1, le=10_000)
    patience: int = Field(12, ge=1)
    validation: float = Field(0.1, gt=0, lt=1)


class PaperVAEParams(TrainingParams):
    """Parameters of `vae-paper`.

    Attributes
    ----------
    window : int
        SNPs per window; the paper uses 100 to 1,000. Capped at the panel's number of sites.
    latent : int
        Dimensions of the latent z of one window.
    channels : tuple[int, int]
        Channels of the two convolutions, mirrored in the decoder.
    windows_per_group : int
        Windows trained together: bounds the memory. Windows share no parameters.
    output : str
        `bernoulli` draws each allele; `threshold` takes the likelier one.
    """

    window: int = Field(128, ge=8, le=4096)
    latent: int = Field(12, ge=1, le=1024)
    channels: tuple[Channels, Channels] = (8, 32)
    windows_per_group: int = Field(16, ge=1, le=1024)
    output: Literal["bernoulli", "threshold"] = "bernoulli"
