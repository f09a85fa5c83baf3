"""How $name is computed: put yours in place of the difference of frequencies."""

import numpy as np
from haplobench import Measurement, MetricResult, Panel, Params, Reference, RunContext


class $title:
    """Told of the synthetic cohort, then asked."""

    def __init__(self, reference: Reference, params: Params, ctx: RunContext) -> None:
        self.expected = reference.holdout.frequencies
        self.found = self.expected

    def update(self, data: Panel) -> None:
        """Take the cohort; its haplotypes are (n_haplotypes, n_sites) int8."""
        self.found = data.frequencies

    def result(self) -> MetricResult:
        """One number for each submetric; None with a note where there is none."""
        value = float(np.abs(self.found - self.expected).mean())
        return MetricResult({"difference": Measurement(value, n=self.expected.size)})
