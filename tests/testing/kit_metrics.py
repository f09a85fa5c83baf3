"""Toy metrics and datasets for the kit's tests: good ones, and one per breach of the contract."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haplobench import (
    DatasetSpec,
    FigureSpec,
    LoadedDataset,
    Measurement,
    MetricResult,
    MetricSpec,
    Panel,
    Params,
    RecombinationMap,
    Reference,
    RunContext,
    SubmetricSpec,
)
from haplobench.testing import example_panel


class Good:
    """Mean absolute difference of allele frequencies: a class that streams."""

    def __init__(self, reference: Reference, params: Any, ctx: RunContext) -> None:
        self.reference, self.ctx = reference, ctx
        self.ones: NDArray[np.int64] | int = 0
        self.n = 0

    def update(self, data: Panel) -> None:
        self.ones = self.ones + (data.haplotypes == 1).sum(axis=0)
        self.n += data.n_haplotypes

    def value(self) -> Any:
        return float(np.abs(self.ones / self.n - self.reference.holdout.frequencies).mean())

    def result(self) -> MetricResult:
        return MetricResult(
            {"error": Measurement(self.value(), self.n), "count": Measurement(float(self.n))},
            {
                "sites": {
                    "synthetic": self.ones / self.n,
                    "real": self.reference.holdout.frequencies,
                }
            },
        )


class Undeclared(Good):
    def result(self) -> MetricResult:
        made = super().result()
        return MetricResult({**made.measurements, "extra": Measurement(1.0)}, made.series)


class Missing(Good):
    def result(self) -> MetricResult:
        return MetricResult({"error": Measurement(0.0)})


class NaN(Good):
    def value(self) -> Any:
        return float("nan")


class NumpyFloat(Good):
    def value(self) -> Any:
        return np.float32(1)


class NoNote(Good):
    def value(self) -> Any:
        return None


class BadError(Good):
    def result(self) -> MetricResult:
        return MetricResult(
            {"error": Measurement(1.0, 2, float("inf")), "count": Measurement(1.0)},
        )


class SameLabels(Good):
    def result(self) -> MetricResult:
        twice = [Measurement(1.0, labels={"bin": "a"}), Measurement(2.0, labels={"bin": "a"})]
        return MetricResult({"error": twice, "count": Measurement(1.0)})


class NumberLabels(Good):
    def result(self) -> MetricResult:
        one = Measurement(1.0, labels={"bin": 3})  # type: ignore[dict-item]
        return MetricResult({"error": one, "count": Measurement(1.0)})


class NotAResult(Good):
    def result(self) -> Any:
        return {"error": 1.0}


class Ragged(Good):
    def result(self) -> MetricResult:
        made = super().result()
        return MetricResult(made.measurements, {"sites": {"a": np.zeros(3), "b": np.zeros(4)}})


class Objects(Good):
    def result(self) -> MetricResult:
        made = super().result()
        return MetricResult(made.measurements, {"sites": {"a": np.array([None, "x"])}})


class Unseeded(Good):
    def value(self) -> Any:
        return float(np.random.default_rng().random())


class Mutates(Good):
    def update(self, data: Panel) -> None:
        super().update(data)
        data.haplotypes[0, 0] ^= 1


class MutatesReference(Good):
    def update(self, data: Panel) -> None:
        super().update(data)
        self.reference.train.positions[0] -= 1


class Writes(Good):
    def update(self, data: Panel) -> None:
        super().update(data)
        Path("measured.txt").write_text("x")


class ByBatch(Good):
    """Averages the batches' averages: right only for batches of one size."""

    def __init__(self, reference: Reference, params: Any, ctx: RunContext) -> None:
        super().__init__(reference, params, ctx)
        self.means: list[NDArray[np.float64]] = []

    def update(self, data: Panel) -> None:
        super().update(data)
        self.means.append(data.haplotypes.mean(axis=0))

    def value(self) -> Any:
        real = self.reference.holdout.frequencies
        return float(np.abs(np.mean(self.means, axis=0) - real).mean())


def frequency_error(
    reference: Reference, cohort: Panel, params: Params, ctx: RunContext
) -> MetricResult:
    """The same as `Good`: a function of the whole cohort."""
    error = float(np.abs(cohort.frequencies - reference.holdout.frequencies).mean())
    return MetricResult(
        {"error": Measurement(error), "count": Measurement(float(cohort.n_haplotypes))}
    )


def frequency_difference(reference: Reference, cohort: Panel, ctx: RunContext) -> MetricResult:
    """Takes no parameters, which every metric is handed."""
    return MetricResult({})


class Correlation(Good):
    """Undefined without variation."""

    def value(self) -> Any:
        with np.errstate(all="ignore"):
            real = self.reference.holdout.frequencies
            return float(np.corrcoef(self.ones / self.n, real)[0, 1])


class NeedsVariation(Good):
    def value(self) -> Any:
        if not np.any(self.ones):
            raise ZeroDivisionError("no variation")
        return super().value()


class NeedsLabels(Good):
    def value(self) -> Any:
        assert self.reference.holdout.labelled, "labels"
        return super().value()


class NeedsMap(Good):
    def value(self) -> Any:
        assert self.ctx.recombination_map is not None
        return super().value()


class NeedsTwo(Good):
    def value(self) -> Any:
        if self.n < 4:
            raise ValueError("too few")
        return super().value()


class Backwards(Good):
    """Says that real people are worse than junk."""

    def value(self) -> Any:
        return -super().value()


class SiteFree(Good):
    def __init__(self, reference: Reference, params: Any, ctx: RunContext) -> None:
        super().__init__(reference, params, ctx)
        self.total = 0

    def update(self, data: Panel) -> None:
        self.total += int((data.haplotypes == 1).sum())
        self.n += data.n_haplotypes

    def result(self) -> MetricResult:
        return MetricResult({"error": Measurement(self.total / self.n), "count": Measurement(1.0)})


class Clock:
    """A metric on telemetry."""

    def __init__(self, reference: Reference, params: Any, ctx: RunContext) -> None:
        self.seconds = 0.0
        self.n = 0

    def update(self, data: Any) -> None:
        self.seconds, self.n = data.sample_wall, data.n_haplotypes

    def result(self) -> MetricResult:
        rate = Measurement(self.n / self.seconds) if self.seconds else Measurement(None, note="0 s")
        return MetricResult({"error": rate, "count": Measurement(1.0)})


class DividesByZero(Clock):
    def result(self) -> MetricResult:
        return MetricResult(
            {"error": Measurement(self.n / self.seconds), "count": Measurement(1.0)}
        )


def draw_nothing(cohorts: Any, style: Any) -> None:
    """No chart."""


def draw_wrongly(cohorts: Any, style: Any) -> Any:
    return cohorts[0].tables["no such table"]


SUBMETRICS = (
    SubmetricSpec("error", "Error", "Mean absolute difference.", "lower", ideal=0.0, headline=True),
    SubmetricSpec("count", "Count", "Haplotypes.", "info"),
)


def figure(draw: str) -> FigureSpec:
    return FigureSpec("figure", "Figure", "A figure.", f"kit_metrics:{draw}")


def spec(target: str, **changes: Any) -> MetricSpec:
    """A description of the toy of that name."""
    fields: dict[str, Any] = {
        "name": "toy",
        "version": "1",
        "target": f"kit_metrics:{target}",
        "summary": "A toy.",
        "family": "fidelity",
        "submetrics": SUBMETRICS,
        "input": "batches",
    }
    return MetricSpec(**(fields | changes))


# --- datasets --------------------------------------------------------------------------------


class DatasetParams(Params):
    n_samples: int = 20


class GoodDataset:
    def load(self, params: DatasetParams, ctx: RunContext) -> LoadedDataset:
        panel = example_panel(params.n_samples, n_sites=50)
        return LoadedDataset(
            panel,
            RecombinationMap.uniform(1, 10**7, contig="20"),
            skipped={"indel": 3},
            provenance={"source": "made up"},
        )

    def fingerprint(self, params: DatasetParams) -> str:
        return repr(params)


class UnseededDataset(GoodDataset):
    def load(self, params: DatasetParams, ctx: RunContext) -> LoadedDataset:
        seed = int(np.random.default_rng().integers(2**31))
        return LoadedDataset(example_panel(20, n_sites=50, seed=seed), provenance={"source": "?"})


class RestlessDataset(GoodDataset):
    count = 0

    def fingerprint(self, params: DatasetParams) -> str:
        RestlessDataset.count += 1
        return str(RestlessDataset.count)


class SourcelessDataset(GoodDataset):
    def load(self, params: DatasetParams, ctx: RunContext) -> LoadedDataset:
        return LoadedDataset(example_panel(20, n_sites=50))


class EmptyDataset(GoodDataset):
    def load(self, params: DatasetParams, ctx: RunContext) -> LoadedDataset:
        panel = example_panel(20, n_sites=50).select_sites(np.zeros(50, bool))
        return LoadedDataset(panel, provenance={"source": "made up"})


class OtherMapDataset(GoodDataset):
    def load(self, params: DatasetParams, ctx: RunContext) -> LoadedDataset:
        return LoadedDataset(
            example_panel(20, n_sites=50),
            RecombinationMap.uniform(1, 10**7, contig="7"),
            provenance={"source": "made up"},
        )


class PanelOnlyDataset(GoodDataset):
    def load(self, params: DatasetParams, ctx: RunContext) -> Any:
        return example_panel(20, n_sites=50)


class RaisingDataset(GoodDataset):
    def load(self, params: DatasetParams, ctx: RunContext) -> LoadedDataset:
        raise OSError("no network")


class WritingDataset(GoodDataset):
    def load(self, params: DatasetParams, ctx: RunContext) -> LoadedDataset:
        Path("download.vcf").write_text("")
        return super().load(params, ctx)


def dataset(target: str, **changes: Any) -> DatasetSpec:
    """A description of the toy dataset of that name."""
    fields: dict[str, Any] = {
        "name": "toy",
        "version": "1",
        "target": f"kit_metrics:{target}",
        "summary": "A toy.",
        "params": DatasetParams,
    }
    return DatasetSpec(**(fields | changes))
