"""The differential privacy that a generator claims."""

from __future__ import annotations

import math

from haplobench import Measurement, MetricResult, Panel, Params, Reference, RunContext
from haplobench.plugin.privacy import delta_words


class Statement:
    """What the generator states of itself, as measurements; nothing is checked here."""

    def __init__(self, reference: Reference, params: Params, ctx: RunContext) -> None:
        self._claim = ctx.privacy_statement

    def update(self, data: Panel) -> None:
        """The cohort tells nothing of the claim."""

    def result(self) -> MetricResult:
        """ε, δ, people protected, clients."""
        claim = self._claim
        if claim is None:
            none = Measurement(None, note="the generator claims none")
            return MetricResult(
                dict.fromkeys(("epsilon", "delta", "least_client_epsilon", "clients"), none)
            )
        parts = (
            f"holds {delta_words(claim.delta)}",
            claim.caution,
            f"unit {claim.unit}",
            f"adjacency {claim.adjacency}",
            claim.accountant,
            claim.sampling,
            claim.mechanism,
            claim.noise_words,
            *(f"{choice}: {how}" for choice, how in claim.choices.items()),
        )
        note = "; ".join(part for part in parts if part)
        clients = [epsilon for epsilon in claim.per_client.values() if math.isfinite(epsilon)]
        return MetricResult(
            {
                "epsilon": Measurement(
                    claim.epsilon if math.isfinite(claim.epsilon) else None,
                    claim.n_records,
                    note=claim.no_bound or note,
                ),
                "delta": Measurement(
                    None if claim.no_bound else claim.delta,
                    claim.n_records,
                    note=claim.no_bound or claim.caution,
                ),
                "least_client_epsilon": Measurement(
                    min(clients) if clients else None,
                    len(clients),
                    note="" if clients else claim.no_bound or "one client",
                ),
                "clients": Measurement(float(max(1, len(claim.per_client)))),
            }
        )
