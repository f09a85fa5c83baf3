"""Parameters of what protects a federation from hostile or broken clients; imports no torch."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from haplobench import Params

LEAST_CLIENTS = {"mean": (1, 0), "krum": (3, 2), "multi_krum": (3, 2)} | dict.fromkeys(
    ("trimmed_mean", "median"), (1, 2)
)
"""By rule: (a, b), where f hostile clients need a + b f clients in all."""


class RobustParams(Params):
    """How the server guards the average against single clients.

    All of it, but the bound that a client puts on its own update, looks at single updates, which
    secure aggregation hides: the two can't be combined.

    Attributes
    ----------
    rule : str
        `mean` (by people), `krum`, `multi_krum` (Blanchard et al. 2017, arXiv:1703.02757),
        `trimmed_mean` or `median` by coordinate (Yin et al. 2018, arXiv:1803.01498). All but the
        mean count clients, `trimmed_mean` and `median` whatever number of people they have.
    hostile : int
        Clients of a round that the rule is to bear.
    screen : bool
        Quarantine updates by norm and direction, too, before the rule.
    norm_factor : float
        Longer than this many times the median norm of the round, or shorter than its inverse, is
        quarantined by the screen: scaled updates, and clients that did nothing.
    least_cosine : float
        Updates whose cosine to the coordinate-wise median of the round is less are quarantined by
        the screen.
    update_norm : float or None
        Declared bound of a client's update (L2): clients scale theirs down to it, and one that is
        longer is quarantined. It costs no privacy.
    """

    rule: Literal["mean", "krum", "multi_krum", "trimmed_mean", "median"] = "mean"
    hostile: int = Field(0, ge=0)
    screen: bool = False
    norm_factor: float = Field(3.0, gt=1)
    least_cosine: float = Field(0.0, ge=-1, lt=1)
    update_norm: float | None = Field(None, gt=0)

    @property
    def single_updates(self) -> str:
        """The option that needs to see single updates, or empty."""
        if self.rule != "mean":
            return f"robust.rule {self.rule}"
        return "robust.screen" if self.screen else ""

    def least_clients(self, hostile: int) -> int:
        """Clients that the rule needs to bear `hostile` hostile ones."""
        base, each = LEAST_CLIENTS[self.rule]
        return base + each * hostile

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if self.hostile and self.rule == "mean":
            raise ValueError(
                "hostile: the mean bears no hostile client; expected another rule, or 0"
            )
        return self


class AttackParams(Params):
    """A simulated attack on the federation, to measure what it costs.

    Attributes
    ----------
    kind : str
        `sign_flip`: updates times -factor. `scale`: updates times factor. `label_flip`: trains on
        its people with alleles exchanged and the next population's label. `free_ride`: sends back
        the weights it got.
    clients : int
        Hostile clients: the first of the partition.
    factor : float
    """

    kind: Literal["none", "sign_flip", "scale", "label_flip", "free_ride"] = "none"
    clients: int = Field(0, ge=0)
    factor: float = Field(5.0, gt=0)

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if (self.kind == "none") != (self.clients == 0):
            raise ValueError(
                f"attack: kind {self.kind} with {self.clients} clients; expected both or neither"
            )
        return self
