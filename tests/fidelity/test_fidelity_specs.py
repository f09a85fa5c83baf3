"""What the sequence and structure metrics promise in their specs, they keep."""

from __future__ import annotations

import subprocess
import sys
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest

from haplobench import MetricResult, MetricSpec, Panel, Reference, RunContext
from haplobench.registry import resolve
from haplobench_fidelity import specs_haplotypes as haplotypes

SPECS = {spec.name: spec for spec in haplotypes.SPECS}


def run(spec: MetricSpec, reference: Reference, cohort: Panel, ctx: RunContext):  # type: ignore[no-untyped-def]
    return resolve(spec.target)(reference, cohort, spec.params(), ctx)


CASES = [
    (name, which)
    for name, spec in SPECS.items()
    for which in ("copy", "independent", *(() if spec.site_matched else ("own sites",)))
]


@pytest.mark.parametrize(("name", "which"), CASES)
def test_results_name_every_submetric_and_are_finite(
    name: str, which: str, reference: Reference, cohorts: dict[str, Panel], ctx: RunContext
) -> None:
    spec = SPECS[name]
    if which == "own sites":
        copy = cohorts["copy"]
        cohort = replace(
            copy.select_sites(np.arange(0, copy.n_sites, 3)),
            positions=copy.positions[::3] + 1,
        )
    else:
        cohort = cohorts[which]
    result = run(spec, reference, cohort, ctx)
    assert set(result.measurements) == {submetric.name for submetric in spec.submetrics}
    for found in result.measurements.values():
        for measurement in found if isinstance(found, Iterable) else [found]:
            assert measurement.value is not None or measurement.note
            if measurement.value is not None:
                assert type(measurement.value) is float
                assert np.isfinite(measurement.value)
    for table in result.series.values():
        lengths = {len(column) for column in table.values()}
        assert len(lengths) == 1


@pytest.mark.parametrize("name", SPECS)
def test_same_seed_same_values(
    name: str,
    reference: Reference,
    cohorts: dict[str, Panel],
    ctx: RunContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = run(SPECS[name], reference, cohorts["floor"], ctx)
    monkeypatch.setattr("haplobench.memory._kept", OrderedDict())
    second = run(SPECS[name], reference, cohorts["floor"], ctx)
    assert first.measurements == second.measurements


def test_a_panel_mapped_into_memory_gives_the_same(
    reference: Reference, cohorts: dict[str, Panel], ctx: RunContext
) -> None:
    for side, panel in (("holdout", reference.holdout), ("cohort", cohorts["floor"])):
        panel.save(ctx.scratch / side)
    mapped = Reference(reference.train, Panel.load(ctx.scratch / "holdout"))
    cohort = Panel.load(ctx.scratch / "cohort")
    for spec in SPECS.values():
        plain = run(spec, reference, cohorts["floor"], ctx)
        found = run(spec, mapped, cohort, ctx)
        if spec.name == "pca":  # its sums are taken in another order
            assert _values(found) == pytest.approx(_values(plain), rel=1e-9, nan_ok=True)
        else:
            assert found.measurements == plain.measurements, spec.name


def _values(result: MetricResult) -> list[float]:
    """All values in their order, NaN where there is none."""
    rows = (rows if isinstance(rows, list) else [rows] for rows in result.measurements.values())
    return [np.nan if one.value is None else one.value for own in rows for one in own]


def test_specs_are_light_to_import() -> None:
    code = (
        "import sys; from haplobench_fidelity import specs_haplotypes, specs_sites; "
        "print([m for m in ('numba', 'scipy', 'sklearn', 'altair', 'pandas') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert out.stdout.strip() == "[]"
