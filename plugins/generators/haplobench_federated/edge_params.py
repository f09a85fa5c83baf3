"""Parameters of what a round costs a client; imports nothing heavy."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from haplobench import Params


class StudentParams(Params):
    """A small model fitted to samples of the federation's, and kept in its place.

    Attributes
    ----------
    window : int
        Sites per window.
    codes : int
        Codes per window.
    people : int
        Drawn from the federation's model.
    steps : int
        Of Adam, in tens, on a tenth of the people at a time.
    learning_rate : float
        At first; falls to 0 by a cosine.
    """

    window: int = Field(32, ge=2, le=4096)
    codes: int = Field(8, ge=2, le=4096)
    people: int = Field(2000, ge=10, le=1_000_000)
    steps: int = Field(600, ge=10, le=1_000_000)
    learning_rate: float = Field(0.1, gt=0)


class EdgeParams(Params):
    """How updates are compressed on their way up, and whether a smaller model is made in the end.

    With local privacy, what is compressed has been noised already: it costs no privacy. Secure
    aggregation sums integers of its own (`secure.bits`) and can't be combined with it.

    Attributes
    ----------
    compression : str
        `none`; `quantise`: each value to one of 2^bits levels between the least and the greatest
        of its array, up or down at random, so that its expectation is kept (QSGD, Alistarh et
        al. 2017, arXiv:1610.02132); `top_k`: the largest values only, what was left out is added
        to the next round's update (error feedback; Stich et al. 2018, arXiv:1809.07599), which
        is biased in a single round.
    bits : int
        Of `quantise`: 8 or 4.
    top_share : float
        Of `top_k`: share of the values that are sent.
    student : StudentParams or None
        None: the federation's own model is kept.
    """

    compression: Literal["none", "quantise", "top_k"] = "none"
    bits: int = 8
    top_share: float = Field(0.05, gt=0, le=1)
    student: StudentParams | None = None

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if self.bits not in (4, 8):
            raise ValueError(f"bits: {self.bits}, expected 4 or 8")
        return self
