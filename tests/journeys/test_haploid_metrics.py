"""Every metric on haploid people: a value, or not applicable and why; never a failure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from haplobench import Measurement, MetricResult, MetricSpec, Panel, Reference
from haplobench.plugin.metrics import apply_metric
from haplobench.registry import load_registry, resolve
from haplobench.testing import example_context, example_panel
from haplobench.testing.panels import example_shadows, haploid

# The harness refuses panels without phase for metrics that need it.
MEASURED = [
    pytest.param(spec, phased, id=f"{spec.name}-{'phased' if phased else 'unphased'}")
    for spec in load_registry().metrics.values()
    for phased in (True, False)
    if spec.input != "telemetry" and (phased or not spec.phased)
]
# What needs two haplotypes of a person; all else has a value.
DIPLOID = {
    "kinship": None,
    "haplotype-statistics": {
        "heterozygosity_ratio",
        "heterozygosity_wasserstein",
        "run_longest_wasserstein",
        "run_total_wasserstein",
    },
}


@pytest.mark.parametrize(("spec", "phased"), MEASURED)
def test_haploid_people_are_measured_or_said_not_to_be(
    spec: MetricSpec, phased: bool, tmp_path: Path
) -> None:
    panel = haploid(example_panel(180, n_sites=120))

    def people(start: int, stop: int) -> Panel:
        return replace(panel.select_samples(np.arange(start, stop)), phased=phased)

    reference, cohort = Reference(people(0, 80), people(80, 130)), people(130, 180)
    changes = {"shadows": example_shadows(tmp_path, reference)} if spec.shadows else {}
    ctx = example_context(tmp_path, reference.train, **changes)
    target = resolve(spec.target)
    result = apply_metric(spec, target, reference, cohort, spec.params(), ctx)
    assert isinstance(result, MetricResult)
    assert set(result.measurements) == {submetric.name for submetric in spec.submetrics}
    for name, found in result.measurements.items():
        for one in [found] if isinstance(found, Measurement) else found:
            assert one.value is not None or one.note, name
            assert one.value is None or np.isfinite(one.value), name
            if spec.name in DIPLOID and name in (DIPLOID[spec.name] or {name}):
                assert one.value is None
                assert "diploid" in one.note
