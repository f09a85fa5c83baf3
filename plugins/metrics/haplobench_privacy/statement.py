"""The differential privacy that a generator claims; without scipy, which the audit needs."""

from __future__ import annotations

import math

from haplobench import Measurement, MetricResult, Panel, Params, Reference, RunContext
from haplobench.plugin.privacy import delta_words
from haplobench_privacy.specs_attacks import PRIVACY_STATEMENT


def statement(reference: Reference, cohort: Panel, params: Params, ctx: RunContext) -> MetricResult:
    """What the generator states of itself, as measurements; nothing is checked here."""
    claim = ctx.privacy_statement
    if claim is None:
        return PRIVACY_STATEMENT.not_applicable("the generator claims none")
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
