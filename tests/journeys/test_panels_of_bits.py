"""Metrics give the same numbers of panels that are kept as bits as of the same in bytes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from haplobench import MetricResult, Panel, Reference, memory
from haplobench.data.bits import Bits
from haplobench.plugin.metrics import apply_metric
from haplobench.registry import load_registry, resolve
from haplobench.testing import example_context, example_reference

SPECS = {
    name: spec
    for name, spec in load_registry().metrics.items()
    if spec.family in ("fidelity", "privacy") and spec.input != "telemetry" and not spec.shadows
    # Needs a claim, and no panel.
    if name != "privacy-statement"
}


def numbers(result: MetricResult) -> list[tuple[str, object]]:
    return [
        (name, measurement)
        for name, found in result.measurements.items()
        for measurement in (found if isinstance(found, list | tuple) else [found])
    ]


@pytest.mark.parametrize("name", SPECS)
def test_numbers_are_those_of_bytes(name: str, tmp_path: Path) -> None:
    real = example_reference(40, 30)
    # Not as draws of a larger panel, of which pca would make use.
    own = (replace(panel, haplotypes=panel.haplotypes) for panel in (real.train, real.holdout))
    real = Reference(*own)
    cohort = example_reference(30, 4, seed=1).train
    cohort = real.train.with_haplotypes(cohort.haplotypes, population=real.train.population[:30])
    spec, ctx = SPECS[name], example_context(tmp_path, real.train)

    def measure(reference: Reference, shown: Panel) -> MetricResult:
        memory.forget()
        target = resolve(spec.target)
        result: MetricResult = apply_metric(spec, target, reference, shown, spec.params(), ctx)
        return result

    def packed(panel: Panel) -> Panel:
        return replace(panel, haplotypes=Bits.of(panel.haplotypes))  # type: ignore[arg-type]

    expected = measure(real, cohort)
    found = measure(Reference(packed(real.train), packed(real.holdout)), packed(cohort))
    assert numbers(found) == numbers(expected)
    assert any(measurement.value is not None for _, measurement in numbers(found))  # type: ignore[attr-defined]
    for table, columns in expected.series.items():
        for column, values in columns.items():
            np.testing.assert_array_equal(found.series[table][column], values)
