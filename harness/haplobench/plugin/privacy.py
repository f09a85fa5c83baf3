"""What privacy a generator claims, and how: differential privacy as a statement."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal


@dataclass(frozen=True)
class PrivacyStatement:
    """A claim of (ε, δ)-differential privacy for everything that a fitted generator gives away.

    A generator that makes one has `Fitted.privacy_statement() -> PrivacyStatement | None`; the
    sample stage keeps it, and metrics find it as `RunContext.privacy_statement`.

    Attributes
    ----------
    epsilon : float
        Cumulative over all rounds, 0 or more; infinite: trained without noise, no claim.
    delta : float
        0 to 1.
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
            return cls(**values)
        except TypeError as error:
            raise ValueError(f"privacy statement: {error}") from None


def _finite(value: float) -> float | None:
    return None if math.isinf(value) else value


def _number(value: Any) -> float:
    return math.inf if value is None else float(value)
