"""The budget of the private peers: noise for (ε, δ), and what is claimed of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Self

import dp_accounting
import numpy as np
from numpy.typing import NDArray

from haplobench import Panel, PanelError, PrivacyCharge, PrivacyStatement
from haplobench.noise import NoiseSource, noised
from haplobench_peers.specs import PrivateParams

_PUBLIC = {
    "sites": "public: the panel's site list is taken as given",
    "MAF filter": "not covered: the suite's filter was computed on the training people",
    "number of people": "public",
}


@dataclass(frozen=True)
class Budget:
    """ε and δ of a person with all haplotypes, spent on `steps` sums over all people.

    `multiplier`: standard deviation of each sum's noise over the sum's sensitivity; 0: no noise.
    Gaussian mechanisms of one multiplier z are together one of z / √steps, whose ε is exact
    (Balle & Wang 2018).
    """

    epsilon: float
    delta: float
    steps: int
    multiplier: float
    people: int

    @classmethod
    def of(cls, train: Panel, params: PrivateParams, name: str, steps: int = 1) -> Self:
        """Raises PanelError if δ isn't below 1 / people."""
        people = train.n_samples
        delta = params.delta or min(1e-6, people**-2)
        if delta * people >= 1:
            raise PanelError(
                f"generator {name}: delta is {delta:g} for {people} people, expected below "
                f"1 / {people}: it would allow to publish one of them",
            )
        whole = 0.0
        if math.isfinite(params.epsilon):
            whole = dp_accounting.get_sigma_gaussian(params.epsilon, delta)
        return cls(params.epsilon, delta, steps, whole * math.sqrt(steps), people)

    @property
    def private(self) -> bool:
        """Whether there is noise."""
        return self.multiplier > 0

    def part(self, share: float) -> Self:
        """The budget of one of several sums, whose shares come to 1: less of it, more noise."""
        return replace(self, multiplier=self.multiplier / math.sqrt(share))

    def noised(self, total: NDArray[np.int64], sensitivity: float) -> NDArray[np.int64]:
        """One of the sums, integers that a person moves by `sensitivity` at most, in L2."""
        if not self.private:
            return total
        flat = noised(total.ravel(), self.multiplier, sensitivity, NoiseSource())
        return flat.reshape(total.shape)

    def statement(
        self, what: str, choices: Mapping[str, str], shares: tuple[float, ...] = (1.0,)
    ) -> PrivacyStatement:
        """What is claimed; `what` the noise is on, `choices` beside sites, filter and people.

        `shares`: of the sums that differ in their part of the budget.
        """
        parts = [self.part(share).multiplier for share in shares]
        return PrivacyStatement(
            epsilon=self.epsilon,
            delta=self.delta if self.private else 0.0,
            unit="person",
            accountant=f"analytic Gaussian (dp-accounting {version('dp-accounting')})"
            if self.private
            else "none: no noise",
            sampling="all people, once"
            if self.steps * len(parts) == 1
            else "all people, in every step",
            mechanism="discrete Gaussian noise, multiplier "
            f"{' and '.join(f'{multiplier:.4g}' for multiplier in parts)}, on {what}"
            if self.private
            else "none",
            n_records=self.people,
            choices={**_PUBLIC, **choices},
            noise_source="entropy" if self.private else "none",
            charges=tuple(PrivacyCharge(multiplier, 1.0, self.steps) for multiplier in parts)
            if self.private
            else (),
        )
