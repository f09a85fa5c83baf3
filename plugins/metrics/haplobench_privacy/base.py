"""What the metrics on a whole cohort share: taken once, measured once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from haplobench import MetricResult, Panel, Reference, RunContext
from haplobench_privacy.cohorts import Cohorts, cohorts
from haplobench_privacy.specs.common import DistanceParams

P = TypeVar("P", bound=DistanceParams)


class CohortMetric(ABC, Generic[P]):
    """A metric with `input="panel"`: lines up the panels, then measures."""

    def __init__(self, reference: Reference, params: P, ctx: RunContext) -> None:
        self.reference, self.params, self.ctx = reference, params, ctx
        self._result: MetricResult | None = None

    @abstractmethod
    def measure(self, data: Cohorts) -> MetricResult:
        """What the metric finds in the cohorts."""

    def update(self, data: Panel) -> None:
        """Take the whole synthetic cohort. Raises PanelError as `cohorts` does."""
        self._result = self.measure(
            cohorts(self.reference, data, self.params.max_haplotypes, self.ctx)
        )

    def result(self) -> MetricResult:
        """What was found in the cohort taken."""
        assert self._result is not None, "result before update"
        return self._result
