"""What privacy a generator claims, and how: differential privacy as a statement."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from importlib.metadata import version
from typing import Any, Literal

NoiseSource = Literal["entropy", "seed", "none", "unstated"]

_SEEDED = (
    "the noise comes from the seed: ε is infinite for whoever has the seed or a second run with it"
)
_NO_BOUND = {
    "seed": _SEEDED,
    "none": "trained without noise: no claim",
    "entropy": "no claim: the accountant gives no bound",
    "unstated": "no claim: no bound is stated",
}
_NOISE = {
    "seed": _SEEDED,
    "none": "no noise",
    "entropy": (
        "the noise came from the operating system's entropy: another fit with the same seed "
        "differs, by design"
    ),
    "unstated": "where the noise came from isn't stated",
}
_GRID = 1e-3  # of the privacy loss, up to a sum of ε of _COARSER; then relative to that
_COARSER = 100.0
_MUCH = 0.1  # people whom δ allows to publish outright, from which on a reader is warned


@dataclass(frozen=True)
class PrivacyCharge:
    """A run of Poisson-subsampled Gaussian mechanisms that a record went through.

    Attributes
    ----------
    noise_multiplier : float
        Standard deviation of the noise per sensitivity; 0: no noise, infinite ε.
    sampling_rate : float
        Probability with which a record takes part in a step; 1 where all do.
    steps : int
    """

    noise_multiplier: float
    sampling_rate: float
    steps: int = 1


@dataclass(frozen=True)
class PrivacyStatement:
    """A claim of (ε, δ)-differential privacy for everything that a fitted generator gives away.

    A generator that makes one has `Fitted.privacy_statement() -> PrivacyStatement | None`; the
    sample stage keeps it, and metrics find it as `RunContext.privacy_statement`.

    Attributes
    ----------
    epsilon : float
        Cumulative over all rounds, 0 or more; infinite: no claim, as without noise, or with noise
        from a seed.
    delta : float
        0 to 1: the probability up to which ε may not hold.
    unit : str
        What counts as one record: `person` (all haplotypes, windows and augmented copies of
        one individual) or a weaker unit.
    adjacency : str
        `add-remove` (one record more or less) or `replace` (one exchanged for another).
    accountant : str
        Which accountant composed the rounds, with its library: `PRV (opacus 1.6)`.
    mechanism : str
        What was noised: `DP-SGD, flat clipping 1.0, noise 0.9`.
    sampling : str
        How records came into a batch: `Poisson, rate 0.05, per client`.
    n_records : int or None
        Records protected (people).
    per_client : Mapping[str, float]
        ε of each client of a federation, by name; `epsilon` is the largest.
    choices : Mapping[str, str]
        Choices that depend on data (sites, MAF filter, initialisation, early stopping,
        hyper-parameters), and for each `public`, `paid`, `off` or `not covered`.
    noise_source : str
        `entropy`: of the operating system, so that nobody can draw the noise again and no two
        fits share it. `seed`: whoever has the seed, or a second run with it, can take it off; ε
        must then be infinite. `none`, or `unstated`.
    charges : tuple[PrivacyCharge, ...]
        What any one record went through at most, where that is known: claims are then composed
        by their privacy losses, which is tighter than by ε and δ. Of `add-remove` only.
    """

    epsilon: float
    delta: float
    unit: str
    accountant: str
    sampling: str
    mechanism: str = ""
    adjacency: Literal["add-remove", "replace"] = "add-remove"
    n_records: int | None = None
    per_client: Mapping[str, float] = field(default_factory=dict)
    choices: Mapping[str, str] = field(default_factory=dict)
    noise_source: NoiseSource = "unstated"
    charges: tuple[PrivacyCharge, ...] = ()

    def __post_init__(self) -> None:
        """Raises ValueError for an ε or δ that can't be one, or an unnamed unit or accountant."""
        for name, epsilon in {"epsilon": self.epsilon, **self.per_client}.items():
            if math.isnan(epsilon) or epsilon < 0:
                raise ValueError(f"privacy statement: {name} is {epsilon}, expected 0 or more")
        if not 0 <= self.delta < 1:
            raise ValueError(f"privacy statement: delta is {self.delta}, expected 0 to below 1")
        for name in ("unit", "accountant", "sampling"):
            if not getattr(self, name):
                raise ValueError(f"privacy statement: {name} is empty, expected what it is")
        if self.adjacency not in ("add-remove", "replace"):
            raise ValueError(
                f"privacy statement: adjacency is {self.adjacency!r}, expected add-remove or "
                "replace"
            )
        if self.noise_source not in _NOISE:
            raise ValueError(
                f"privacy statement: noise_source is {self.noise_source!r}, expected one of "
                f"{', '.join(_NOISE)}"
            )
        for charge in self.charges:
            sound = charge.noise_multiplier > 0 or math.isinf(self.epsilon)
            if not (sound and 0 < charge.sampling_rate <= 1 and charge.steps >= 0):
                raise ValueError(
                    f"privacy statement: charges hold {charge}, expected noise above 0, a rate "
                    "above 0 and up to 1, and no negative steps"
                )
        finite = [e for e in (self.epsilon, *self.per_client.values()) if math.isfinite(e)]
        if finite and self.noise_source in ("seed", "none"):
            raise ValueError(
                f"privacy statement: epsilon is {finite[0]:g} with noise_source "
                f"{self.noise_source}; expected inf: {_NO_BOUND[self.noise_source]}"
            )

    @property
    def no_bound(self) -> str:
        """Why there is no finite ε, as a sentence's part; empty where there is one."""
        return "" if math.isfinite(self.epsilon) else _NO_BOUND[self.noise_source]

    @property
    def noise_words(self) -> str:
        """Where the noise came from, and what follows, as a sentence's part."""
        return _NOISE[self.noise_source]

    @property
    def caution(self) -> str:
        """What to know of a δ that is large for so many people; empty where it is small."""
        if self.n_records is None or math.isinf(self.epsilon):
            return ""
        return caution_of(self.delta, self.n_records)

    def to_json(self) -> str:
        """As a JSON object; an infinite ε is null."""
        values = asdict(self)
        values["epsilon"] = _finite(self.epsilon)
        values["per_client"] = {name: _finite(e) for name, e in self.per_client.items()}
        return json.dumps(values, allow_nan=False, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> PrivacyStatement:
        """What `to_json` wrote. Raises ValueError for anything else."""
        values: Any = json.loads(text)
        known = {one.name for one in fields(cls)}
        if not isinstance(values, dict) or not values.keys() <= known or "epsilon" not in values:
            raise ValueError(f"privacy statement: expected an object with keys of {sorted(known)}")
        values["epsilon"] = _number(values["epsilon"])
        clients = values.get("per_client", {})
        values["per_client"] = {name: _number(epsilon) for name, epsilon in clients.items()}
        try:
            charges = values.get("charges", ())
            values["charges"] = tuple(PrivacyCharge(**charge) for charge in charges)
            return cls(**values)
        except TypeError as error:
            raise ValueError(f"privacy statement: {error}") from None


def delta_words(delta: float) -> str:
    """δ as a reader without its Greek would have it."""
    if not delta:
        return "without exception"
    return f"except with a probability of up to {delta:.2g}"


def caution_of(delta: float, people: int) -> str:
    """What to know of a δ that is large for so many people; empty where it is small.

    To publish a record outright with probability δ is (0, δ)-private: of n people, n δ are
    published so on average (Dwork & Roth 2014, section 2.3).
    """
    if delta * people < _MUCH:
        return ""
    return (
        f"delta {delta:.2g} is large for {people} people: a mechanism that publishes "
        f"{delta * people:.2g} of them outright, on average, would pass; expected far below "
        f"1 / {people} = {1 / people:.2g}"
    )


def greatest_charges(several: Iterable[Sequence[PrivacyCharge]]) -> tuple[PrivacyCharge, ...]:
    """Charges that none of several exceeds: what a person is charged who is in one of them.

    Where they have the same rates and steps in the same order, the least noise of each; else of
    each noise and rate the most steps.
    """
    merged: list[Counter[tuple[float, float]]] = []
    for charges in several:
        steps: Counter[tuple[float, float]] = Counter()
        for charge in charges:
            steps[charge.noise_multiplier, charge.sampling_rate] += charge.steps
        merged.append(steps)
    if len({tuple((q, n) for (_, q), n in steps.items()) for steps in merged}) == 1:
        rows = zip(*(steps.items() for steps in merged), strict=True)
        return tuple(
            PrivacyCharge(min(z for (z, _), _ in row), row[0][0][1], row[0][1]) for row in rows
        )
    most: Counter[tuple[float, float]] = Counter()
    for steps in merged:
        most |= steps
    return tuple(PrivacyCharge(z, q, n) for (z, q), n in most.items())


def either_claim(claims: Sequence[PrivacyStatement]) -> PrivacyStatement:
    """What holds for a person who is in one of several fits, and isn't told in which.

    Of one unit and adjacency; at least one claim.
    """
    return replace(
        max(claims, key=lambda claim: claim.epsilon),
        delta=max(claim.delta for claim in claims),
        charges=greatest_charges(claim.charges for claim in claims)
        if all(claim.charges for claim in claims)
        else (),
    )


@dataclass(frozen=True)
class PrivacyTotal:
    """ε and δ of several releases of the same people, composed by `method`."""

    epsilon: float
    delta: float
    method: str


def compose_claims(claims: Sequence[PrivacyStatement]) -> PrivacyTotal:
    """ε of everything that some claims are of, together: of one person who is in all of them.

    Claims that say what a record went through (`charges`) are composed by their privacy loss
    distributions (Koskela et al. 2020, arXiv:1906.03049; Doroshenko et al. 2022,
    arXiv:2207.04380), full batches as the one Gaussian mechanism that they are (Dong, Roth & Su
    2019, arXiv:1905.02383), at the largest δ of any. Others enter as the worst mechanism of their
    ε and δ, which is optimal (Kairouz, Oh & Viswanath 2015, arXiv:1311.0776), and add their δ.
    Without dp-accounting all ε and all δ are added up.

    An upper bound in each case. Claims for different units or adjacencies have none together:
    infinite, with the reason as the method.
    """
    kinds = sorted({f"{claim.unit} ({claim.adjacency})" for claim in claims})
    unbounded = [claim for claim in claims if math.isinf(claim.epsilon)]
    greatest = max((claim.delta for claim in claims), default=0.0)
    if not claims:
        return PrivacyTotal(0.0, 0.0, "nothing was released")
    if unbounded:
        return PrivacyTotal(math.inf, greatest, unbounded[0].no_bound)
    if len(kinds) > 1:
        return PrivacyTotal(math.inf, greatest, f"claims of {', '.join(kinds)} don't compose")
    if len(claims) == 1:
        return PrivacyTotal(claims[0].epsilon, claims[0].delta, claims[0].accountant)
    added = sum(claim.epsilon for claim in claims)
    added_delta = sum(claim.delta for claim in claims)
    try:
        from dp_accounting.pld import privacy_loss_distribution as pld
        from dp_accounting.pld.common import DifferentialPrivacyParameters
    except ImportError:
        method = "basic composition: the sum, as dp-accounting isn't installed"
        return PrivacyTotal(added, min(added_delta, 1.0), method)
    grid = {"value_discretization_interval": _GRID * max(1.0, added / _COARSER)}
    steps: Counter[tuple[float, float]] = Counter()
    full = 0.0
    losses, delta = [], greatest
    for claim in claims:
        if not claim.charges or claim.adjacency != "add-remove":
            bound = DifferentialPrivacyParameters(claim.epsilon, claim.delta)
            losses.append(pld.from_privacy_parameters(bound, **grid))
            delta += claim.delta
            continue
        for charge in claim.charges:
            if charge.sampling_rate == 1:
                full += charge.steps / charge.noise_multiplier**2
            else:
                steps[charge.noise_multiplier, charge.sampling_rate] += charge.steps
    if full:
        losses.append(pld.from_gaussian_mechanism(full**-0.5, **grid))
    for (noise, rate), n in steps.items():
        one = pld.from_gaussian_mechanism(noise, sampling_prob=rate, **grid)
        losses.append(one.self_compose(n))
    whole = losses[0]
    for loss in losses[1:]:
        whole = whole.compose(loss)
    method = f"privacy loss distributions (dp-accounting {version('dp-accounting')})"
    epsilon = float(whole.get_epsilon_for_delta(delta))
    return PrivacyTotal(min(epsilon, added) if delta >= added_delta else epsilon, delta, method)


def _finite(value: float) -> float | None:
    return None if math.isinf(value) else value


def _number(value: Any) -> float:
    return math.inf if value is None else float(value)
