"""Cumulative privacy of a client: every release is a charge, and ε is that of all charges.

A charge is a run of Poisson-subsampled Gaussian mechanisms of one noise multiplier and one
sampling rate. ε is composed by Opacus' accountants: PRV (Gopi, Lee & Wutschitz 2021,
arXiv:2106.02848) as an upper bound, or Rényi (Mironov 2017, arXiv:1702.07476). The Gaussian
(GDP) accountant is an approximation, not a bound, and is not offered.

No amplification is claimed for drawing clients: the server knows who took part. A client that
takes part in fewer rounds is charged for fewer.

`privacy_statement` says what a fitted federation claims by that, and what it does not cover.
"""

from __future__ import annotations

import json
import math
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

from haplobench import BenchError, PrivacyCharge, PrivacyStatement
from haplobench.files import write_whole
from haplobench.plugin.privacy import NoiseSource, greatest_charges
from haplobench_federated.params import GREATEST_NOISE, Accountant, FederatedParams
from haplobench_federated.shared_noise import least_clients

_EPSILON_ERROR = 0.01  # of PRV's upper bound, absolute (Opacus' default)
_RELATIVE_ERROR = 0.005
_LEAST_ERROR = 1e-4  # PRV's grid grows with its inverse
# Beyond, PRV's grid grows without use: Rényi's bound is as valid, and nobody needs it tight.
_LOOSE = 100.0
_TOLERANCE = 1e-3  # of the search for a noise multiplier, relative
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
        write_whole(path, self.to_json() + "\n")


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
    share: float, budget: float | None, delta: float, accountant: Accountant, others: PrivacyCharge
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


_SHARED = (
    "noise of the sum of {least} clients or more: holds against the server and outsiders given "
    "secure aggregation and {least} answering clients that are honest, and not against clients "
    "that collude beyond that; discrete noise on the sum's own grid, nothing rounded after it"
)


def privacy_statement(
    params: FederatedParams,
    delta: float,
    people: int,
    ledgers: Mapping[str, Ledger],
    noise: Sequence[float],
    frequencies_noise: float = 0.0,
) -> PrivacyStatement:
    """The claim after a run, for adding or removing one person.

    Parameters
    ----------
    people : int
        Training people of all clients.
    ledgers : mapping
        What each client (or, for central noise, each client by the server) was charged. A person
        is at one client, so that ε is the largest of theirs (parallel composition).
    noise : sequence of float
        Noise multiplier of each client's steps; empty where they are the clients' secret.
    frequencies_noise : float
        Of allele frequencies; 0 where that is a secret, too.
    """
    privacy = params.privacy
    noised, accountant = privacy.noised, privacy.accountant
    spent = {
        name: ledger.epsilon(delta, accountant) if noised else math.inf
        for name, ledger in ledgers.items()
    }
    nominal = max(spent.values(), default=math.inf)
    mechanism = _mechanism(params, noise, frequencies_noise)
    if privacy.from_seed:
        spent = dict.fromkeys(spent, math.inf)
        mechanism += (
            f"; for nobody but who has neither the seed nor a second run, epsilon is {nominal:.4g}"
        )
    library = f"opacus {version('opacus')}"
    source: NoiseSource = "none"
    if noised:
        source = "seed" if privacy.from_seed else "entropy"
    return PrivacyStatement(
        epsilon=max(spent.values(), default=math.inf),
        delta=delta if noised else 0.0,
        unit="person",
        accountant=f"{accountant.upper()} ({library})" if noised else "none: no noise",
        mechanism=mechanism,
        sampling=_sampling(params),
        n_records=people,
        per_client=spent,
        choices=_choices(params),
        noise_source=source,
        charges=greatest_charges(one.charges for one in ledgers.values()) if noised else (),
    )


def _mechanism(params: FederatedParams, noise: Sequence[float], frequencies_noise: float) -> str:
    privacy = params.privacy
    if not privacy.noised:
        return "none"
    levels = sorted({round(value, 4) for value in noise if value}) or [0.0]
    multipliers = " to ".join(f"{value:g}" for value in dict.fromkeys((levels[0], levels[-1])))
    if not noise:
        multipliers = "of each client's own choice"
    clipping = f"{privacy.clipping} clipping {privacy.clipping_norm:g}"
    if privacy.kind == "central":
        text = (
            f"central Gaussian noise {multipliers} on clients' updates, {clipping}; a person is "
            "charged for half the noise multiplier"
        )
    else:
        text = f"DP-SGD at each client, {clipping}, noise multiplier {multipliers}"
    if privacy.frequencies == "noised":
        level = f"{frequencies_noise:.4g} " if frequencies_noise else ""
        text += f"; Gaussian noise {level}on allele counts"
    if privacy.shared:
        text += f"; {_SHARED.format(least=least_clients(params))}"
    return text


def _sampling(params: FederatedParams) -> str:
    if not params.privacy.noised:
        return "none claimed"
    if params.privacy.kind == "central":
        return "clients drawn without claiming amplification"
    return (
        f"Poisson, rate {params.training.sampling_rate:g} per step, each person by itself; drawing "
        "clients is not counted as amplification"
    )


def _choices(params: FederatedParams) -> dict[str, str]:
    """What depends on data, and whether it is public, paid, off or not covered."""
    noised = params.privacy.noised
    frequencies = {"half": "off", "file": "public", "noised": "paid" if noised else "not covered"}
    return {
        "sites": "public: the panel's site list is taken as given to all clients",
        "MAF filter": "not covered: the suite's filter was computed on the training people",
        "allele frequencies at the start": frequencies[params.privacy.frequencies],
        "number of people of each client": "public",
        "population labels and their numbers": "public",
        "early stopping": "off",
        "hyper-parameters": (
            "public: fixed before the run; a search over runs on the same people is not covered"
        ),
        "starting weights": "public: a checkpoint given" if params.training.initial else "off",
        "training losses": "off: never leave a client",
        "clients' CPU time and memory": "not covered: reported for this simulation",
    }
