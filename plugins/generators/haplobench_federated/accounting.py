"""Cumulative privacy of a client: every release is a charge, and ε is that of all charges.

A charge is a run of Poisson-subsampled Gaussian mechanisms of one noise multiplier and one
sampling rate. ε is composed by Opacus' accountants: PRV (Gopi, Lee & Wutschitz 2021,
arXiv:2106.02848) as an upper bound, or Rényi (Mironov 2017, arXiv:1702.07476). The Gaussian
(GDP) accountant is an approximation, not a bound, and is not offered.

No amplification is claimed for drawing clients: the server knows who took part. A client that
takes part in fewer rounds is charged for fewer.
"""

from __future__ import annotations

import json
import math
import os
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Self

from haplobench import BenchError, PrivacyCharge

Accountant = Literal["prv", "rdp"]
_EPSILON_ERROR = 0.01  # of PRV's upper bound, absolute (Opacus' default)
_RELATIVE_ERROR = 0.005
_LEAST_ERROR = 1e-4  # PRV's grid grows with its inverse
# Beyond, PRV's grid grows without use: Rényi's bound is as valid, and nobody needs it tight.
_LOOSE = 100.0
_TOLERANCE = 1e-3  # of the search for a noise multiplier, relative
GREATEST_NOISE = 1e4
# Beyond, floating point overflows in Opacus: less noise is none, and more is charged as this.
_NOISE_RANGE = 1e-6, 1e6


@dataclass
class Ledger:
    """What a client has released so far.

    Kept as JSON with the client's state, so that ε after a restart is that of an unbroken run.
    """

    charges: list[PrivacyCharge] = field(default_factory=list)

    def add(self, charge: PrivacyCharge) -> None:
        """Record a release; before it is made, so that no crash can hide it."""
        if charge.steps:
            self.charges.append(charge)

    def epsilon(self, delta: float, accountant: Accountant, *more: PrivacyCharge) -> float:
        """ε of everything recorded, and of `more`, at `delta`."""
        return epsilon([*self.charges, *more], delta, accountant)

    def affords(
        self, charge: PrivacyCharge, budget: float, delta: float, accountant: Accountant
    ) -> bool:
        """Whether the budget covers one more charge."""
        return self.epsilon(delta, accountant, charge) <= budget

    def to_json(self) -> str:
        """A list of [noise multiplier, sampling rate, steps]."""
        return json.dumps([[c.noise_multiplier, c.sampling_rate, c.steps] for c in self.charges])

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `to_json` wrote. Raises ValueError for anything else."""
        values: Any = json.loads(text)
        try:
            return cls([PrivacyCharge(float(z), float(q), int(n)) for z, q, n in values])
        except TypeError:
            raise ValueError(f"ledger: expected a list of triples, found {text[:80]}") from None

    def save(self, path: Path) -> None:
        """Replace the file, whole or not at all."""
        scratch = path.with_name(f".{path.name}.{os.getpid()}")
        with scratch.open("w") as handle:
            handle.write(self.to_json() + "\n")
            handle.flush()
            os.fsync(handle.fileno())
        scratch.replace(path)


def least_delta(people: int) -> float:
    """δ where none is asked for: 1e-6, or 1 / n² for more than a thousand people.

    At 1 / n a mechanism that publishes a random person outright would pass; with it, of a million
    runs one may.
    """
    return min(1e-6, people**-2)


def epsilon(charges: Sequence[PrivacyCharge], delta: float, accountant: Accountant) -> float:
    """ε at `delta` of all charges composed, adding or removing one person: 0 or more."""
    merged: Counter[tuple[float, float]] = Counter()
    none, most = _NOISE_RANGE
    for charge in charges:
        if charge.steps and charge.noise_multiplier < none:
            return math.inf
        merged[min(charge.noise_multiplier, most), charge.sampling_rate] += charge.steps
    history = tuple(sorted((z, q, n) for (z, q), n in merged.items() if n))
    return _composed(history, delta, accountant)


@lru_cache(maxsize=4096)
def _composed(
    history: tuple[tuple[float, float, int], ...], delta: float, accountant: Accountant
) -> float:
    if not history:
        return 0.0
    from opacus.accountants import PRVAccountant, RDPAccountant

    with warnings.catch_warnings():
        # Opacus warns where the best Rényi order is the first or last: the bound still holds.
        warnings.simplefilter("ignore")
        renyi = RDPAccountant()
        renyi.history = list(history)
        bound = float(renyi.get_epsilon(delta))
        if math.isnan(bound):
            return math.inf
        # Where delta alone covers all that is lost, the conversion gives less than nothing.
        if accountant == "rdp" or not 0 < bound < _LOOSE:
            return max(0.0, bound)
        loss = PRVAccountant()
        loss.history = list(history)
        error = min(_EPSILON_ERROR, max(_LEAST_ERROR, _RELATIVE_ERROR * bound))
        try:
            tight = float(loss.get_epsilon(delta, eps_error=error))
        except ValueError:  # a delta that is lost in PRV's rounding
            return bound
        return max(0.0, min(bound, tight))


def share_noise(
    share: float,
    budget: float | None,
    delta: float,
    accountant: Accountant,
    others: PrivacyCharge,
) -> float:
    """Noise multiplier of one Gaussian release that takes a share of a budget.

    A share of 1 / multiplier², which adds up over Gaussian mechanisms (Bun & Steinke 2016,
    arXiv:1605.02065); subsampled ones are taken for Gaussian ones of multiplier / rate, which is
    their limit over many steps (Dong, Roth & Su 2019, arXiv:1905.02383). That only sets the noise:
    what it costs is for the accountant to say.

    Parameters
    ----------
    share : float
        Between 0 and 1.
    budget : float or None
        ε that all releases may spend. None: what the release and `others` come to.
    delta : float
    accountant : str
    others : PrivacyCharge
        All other releases; its noise multiplier counts where there is no budget.
    """
    if budget is not None:
        return noise_for(budget, delta, 1.0, 1, accountant) / math.sqrt(share)
    whole = others.noise_multiplier / (others.sampling_rate * math.sqrt(others.steps))
    return whole * math.sqrt((1 - share) / share)


@lru_cache(maxsize=256)
def noise_for(
    budget: float,
    delta: float,
    sampling_rate: float,
    steps: int,
    accountant: Accountant,
    spent: tuple[PrivacyCharge, ...] = (),
) -> float:
    """The least noise multiplier with which `steps` more stay within the budget.

    By bisection, to 0.1 %, from above: ε of what is returned never exceeds the budget.

    Raises BenchError if there is none, as where what was spent already leaves nothing.
    """

    def fits(noise: float) -> bool:
        charge = PrivacyCharge(noise, sampling_rate, steps)
        return epsilon([*spent, charge], delta, accountant) <= budget

    low, high = 0.0, 1.0
    while not fits(high):
        low, high = high, 2 * high
        if high > GREATEST_NOISE:
            raise BenchError(
                f"epsilon {budget:g}: no noise multiplier up to {GREATEST_NOISE:g} keeps {steps} "
                f"step{'s' * (steps != 1)} within it at delta {delta:g} by accountant "
                f"{accountant}; expected a greater epsilon or delta"
                + (", or accountant prv" if accountant == "rdp" else "")
            )
    while high - low > _TOLERANCE * high:
        middle = (low + high) / 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high
