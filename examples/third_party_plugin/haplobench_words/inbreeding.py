"""The metric inbreeding."""

from __future__ import annotations

from haplobench import Measurement, MetricResult, Panel, Params, Reference, RunContext


def inbreeding(
    reference: Reference, cohort: Panel, params: Params, ctx: RunContext
) -> MetricResult:
    """F of the cohort against F of the held-out people; None where nothing varies."""
    expected, found = coefficient(reference.holdout), coefficient(cohort)
    if expected is None or found is None:
        measurement = Measurement(None, note="no site varies, or people aren't diploid")
    else:
        measurement = Measurement(abs(found - expected), n=cohort.n_samples)
    return MetricResult({"difference": measurement})


def coefficient(panel: Panel) -> float | None:
    """F = 1 - sum of observed over sum of expected heterozygosity; None where nothing varies."""
    frequencies = panel.frequencies
    expected = float((2 * frequencies * (1 - frequencies)).sum())
    if panel.ploidy != 2 or not expected > 0:
        return None
    first, second = panel.haplotypes[0::2], panel.haplotypes[1::2]
    observed = float(((first != second) & (first >= 0) & (second >= 0)).mean(axis=0).sum())
    return 1 - observed / expected
