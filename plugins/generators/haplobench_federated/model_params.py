"""Parameters of the window-code model; imports no torch."""

from __future__ import annotations

from pydantic import Field

from haplobench import Params


class ModelParams(Params):
    """Sizes of the model, and how it is sampled.

    Attributes
    ----------
    window : int
        Sites per window.
    codes : int
        Codes per window.
    temperature : float
        Divides the decoder's logits when sampling: below 1 fewer rare alleles.
    """

    window: int = Field(16, ge=2, le=4096)
    codes: int = Field(32, ge=2, le=4096)
    temperature: float = Field(0.7, gt=0, le=2)
