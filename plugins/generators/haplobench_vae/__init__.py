"""Variational autoencoders of windows of SNPs.

The VAE generators and their parameters, light to import.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from haplobench import GeneratorSpec, Module, Params, hookimpl

_NEEDS = (Module("torch", "haplobench[vae]"), Module("safetensors", "haplobench[vae]"))
_FEWEST_STEPS = 400
# By the least number of training haplotypes. Few are soon known by heart, and a code's table
# then shows whose they are; where they are many, the learning rate must fall before the
# validation loss turns.
_SUITED: dict[int, dict[str, Any]] = {
    0: {"codes": 64, "smoothing": 1.0, "dropout": 0.2, "epochs": 32},
    600: {"codes": 64, "smoothing": 1.0, "dropout": 0.2, "epochs": 48},
    2000: {"codes": 128, "smoothing": 0.1, "dropout": 0.1, "epochs": 24},
}
# Options of earlier versions, at which they did nothing.
_REMOVED: dict[str, object] = {"accumulate": 1, "hierarchical": False}
Channels = Annotated[int, Field(ge=1, le=1024)]


class PaperVAEParams(Params):
    """Parameters of `vae-paper`.

    `beta`: weight of the KL term (1: the ELBO itself; Higgins et al. 2017 for others).
    `warm_up`: epochs over which the weight rises linearly to `beta`.
    `learning_rate`: Adam's at the start; it falls to 0 along a half cosine over `epochs`.
    `batch_size`: haplotypes per step.
    `epochs`: upper bound. There is no wall-clock limit: the same seed always gives the same model.
    `patience`: stop when no window's validation loss has improved for so many epochs.
    `validation`: share of the training people on whom the ELBO is validated, where the suite's
    split sets none apart; they train nothing.
    `window`: SNPs per window; the paper uses 100 to 1,000. Capped at the panel's number of sites.
    `latent`: dimensions of the latent z of one window.
    `channels`: channels of the two convolutions, mirrored in the decoder.
    `windows_per_group`: windows trained together: bounds the memory. Windows share no parameters.
    `output`: `bernoulli` draws each allele; `threshold` takes the likelier one.
    """

    beta: float = Field(1.0, ge=0, le=100)
    warm_up: int = Field(5, ge=0, le=10_000)
    learning_rate: float = Field(1e-2, gt=0, le=1)
    batch_size: int = Field(32, ge=1)
    epochs: int = Field(50, ge=1, le=10_000)
    patience: int = Field(12, ge=1)
    validation: float = Field(0.1, gt=0, lt=1)
    window: int = Field(128, ge=8, le=4096)
    latent: int = Field(12, ge=1, le=1024)
    channels: tuple[Channels, Channels] = (8, 32)
    windows_per_group: int = Field(16, ge=1, le=1024)
    output: Literal["bernoulli", "threshold"] = "bernoulli"


class VAEParams(Params):
    """Parameters of `vae`.

    `codes`, `smoothing`, `dropout` and `epochs`, if None, follow from the number of training
    haplotypes: see `for_haplotypes`.

    `window`: SNPs per window; never more than the panel has.
    `codes`: codes per window; never more than a quarter of the training haplotypes.
    `iterations`: of expectation maximisation, which finds the codes.
    `smoothing`: weight of a site's frequency in a code's allele probabilities, in haplotypes.
    `dimension`, `layers`, `heads`, `feed_forward`: of the transformer over windows; `feed_forward`
    in multiples of `dimension`.
    `reach`: windows that attention looks back: cost is linear in the number of windows.
    `residual`: hidden units of the decoder's context-dependent part.
    `dropout`: of tokens and of what each layer adds.
    `learning_rate`, `weight_decay`: AdamW's; the rate falls linearly in the second half.
    `clip`: largest norm of a gradient, in nats per window.
    `averaging`: decay of the exponential moving average of the weights, which is what is kept.
    `batch_size`: haplotypes per step, of all ranks together.
    `epochs`: upper bound; the learning rate falls over its second half. At least 400 steps, if
    None. There is no wall-clock limit: the same seed always gives the same model.
    `patience`: stop when the validation likelihood hasn't improved for so many epochs.
    `precision`: of matrix products in training. `auto`: bfloat16 on a GPU that has it, else
    float32.
    `compile`: whether `torch.compile` compiles the training step. `auto`: on a GPU, where training
    takes 20,000 steps or more.
    `recombined`: share of the training haplotypes that recombine anew, within their population,
    each time they are shown.
    `ne`: effective population size, for the rate of that recombination: 4 Ne / n per Morgan. Where
    the dataset has no map, it is estimated from the training haplotypes.
    `clusters`: into how many clusters people without labels fall, in the place of populations; 1:
    none. None: one for every 100 people, 8 at the most.
    `temperature`: divides the logits of alleles when sampling: below 1 fewer rare alleles and more
    LD. None: found after training, so that samples have the training haplotypes' LD and as many
    distinct haplotypes.
    `validation`: share of the training people on whom the likelihood is validated, where the
    suite's split sets none apart; they train nothing.
    `compression`, `overlap`: how several ranks train together, see
    `haplobench.distributed.data_parallel`.
    `sharded`: each rank keeps its share of the parameters, of their gradients and of the
    optimiser's state (FSDP2), for models that one device has no memory to train.
    """

    window: int = Field(64, ge=2, le=4096)
    codes: int | None = Field(None, ge=2, le=4096)
    iterations: int = Field(12, ge=1, le=1000)
    smoothing: float | None = Field(None, gt=0, le=100)
    dimension: int = Field(32, ge=8, le=1024)
    layers: int = Field(2, ge=1, le=12)
    heads: int = Field(4, ge=1, le=16)
    feed_forward: int = Field(4, ge=1, le=8)
    reach: int = Field(16, ge=2, le=4096)
    residual: int = Field(32, ge=1, le=1024)
    dropout: float | None = Field(None, ge=0, lt=1)
    learning_rate: float = Field(3e-3, gt=0, le=1)
    weight_decay: float = Field(0.05, ge=0, le=10)
    clip: float = Field(1.0, gt=0)
    averaging: float = Field(0.98, ge=0, lt=1)
    batch_size: int = Field(32, ge=1)
    epochs: int | None = Field(None, ge=1, le=10_000)
    patience: int = Field(4, ge=1)
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    compile: Literal["auto", "on", "off"] = "auto"
    recombined: float = Field(0.5, ge=0, le=1)
    ne: float = Field(10_000, gt=0)
    clusters: int | None = Field(None, ge=1, le=100)
    temperature: float | None = Field(None, gt=0, le=2)
    validation: float = Field(0.1, gt=0, lt=1)
    compression: Literal["none", "fp16"] = "none"
    overlap: bool = True
    sharded: bool = False

    @model_validator(mode="before")
    @classmethod
    def _without_removed(cls, values: Any) -> Any:
        """Take what earlier versions wrote, unless it asks for what is there no more."""
        if not isinstance(values, dict):
            return values
        gone = [key for key, off in _REMOVED.items() if values.get(key, off) != off]
        if values.get("compression") == "powersgd":
            gone.append("compression")
        if gone:
            raise ValueError(
                "; ".join(
                    f"{key}: {values[key]} was removed, as no suite gained by it" for key in gone
                )
                + " (compression: fp16 halves what ranks send)"
            )
        return {key: value for key, value in values.items() if key not in _REMOVED}

    @classmethod
    def of_saved(cls, values: dict[str, Any]) -> Self:
        """The parameters of a saved model, without how its ranks trained together."""
        return cls.model_validate({**values, **_REMOVED, "compression": "none"})

    def for_haplotypes(self, n: int) -> Self:
        """What is None set to what suits n training haplotypes; no more codes than n / 4."""
        suited = next(_SUITED[least] for least in sorted(_SUITED, reverse=True) if n >= least)
        steps = max(1, n // self.batch_size)
        chosen = {
            **suited,
            "epochs": max(suited["epochs"], math.ceil(_FEWEST_STEPS / steps)),
            **{key: getattr(self, key) for key in suited if getattr(self, key) is not None},
        }
        return self.model_copy(update={**chosen, "codes": max(2, min(chosen["codes"], n // 4))})

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.dimension % self.heads:
            raise ValueError(
                f"dimension {self.dimension}: expected a multiple of heads = {self.heads}"
            )
        return self


SPECS = (
    GeneratorSpec(
        name="vae",
        version="8",
        target="haplobench_vae.vae:VAE",
        summary=(
            "Windowed VAE with discrete codes, a causal transformer with local attention as their "
            "prior, conditioned on population, and a decoder that knows the windows before."
        ),
        params=VAEParams,
        needs=(
            *_NEEDS,
            Module("numba", "haplobench[vae]"),
            Module("sklearn", "haplobench[vae]"),
        ),
        conditional=True,
        distributed=True,
        citations=("oord2017", "vaswani2017", "li2003"),
    ),
    GeneratorSpec(
        name="vae-paper",
        version="1",
        target="haplobench_vae.paper:PaperVAE",
        summary=(
            "Convolutional VAE of each window of SNPs with a standard normal prior, as published "
            "for GenSynthVAE: windows are sampled independently, so LD ends at window borders."
        ),
        params=PaperVAEParams,
        needs=_NEEDS,
        distributed=True,
        citations=("saxena2026", "kingma2014"),
    ),
)


@hookimpl
def haplobench_generators() -> list[GeneratorSpec]:
    """All VAE generators."""
    return list(SPECS)
