"""The metric inbreeding."""

from __future__ import annotations

from haplobench import Measurement, MetricResult, Panel, Params, Reference, RunContext


class Inbreeding:
    """Compares F of the cohort with F of the held-out people."""

    def __init__(self, reference: Reference, params: Params, ctx: RunContext) -> None:
        self.expected = coefficient(reference.holdout)
        self.cohort: Panel | None = None

    def update(self, data: Panel) -> None:
        """Take the cohort."""
        self.cohort = data

    def result(self) -> MetricResult:
        """The difference, or None where nothing varies."""
        found = coefficient(self.cohort) if self.cohort is not None else None
        if found is None or self.expected is None or self.cohort is None:
            measurement = Measurement(None, note="no site varies, or people aren't diploid")
        else:
            measurement = Measurement(abs(found - self.expected), n=self.cohort.n_samples)
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
