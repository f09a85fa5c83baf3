"""How long the sequence and structure metrics take for one cohort, the real side known."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from haplobench import MetricSpec, Panel, Reference, RunContext
from haplobench.data.genome import surrogate_sequence
from haplobench_fidelity import specs_haplotypes as haplotypes

SPECS = (*haplotypes.SPECS, *haplotypes.SPECS)


@pytest.fixture(scope="module", params=[(60, 9_300, 3_000_000), (500, 740, 140_000)], ids=str)
def case(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A few founder haplotypes mixed in blocks: local haplotypes repeat, as real ones do."""
    n_people, n_sites, span = request.param
    rng = np.random.default_rng(1)
    founders = (rng.random((40, n_sites)) < rng.beta(0.5, 1.5, n_sites)).astype(np.int8)
    positions = np.sort(rng.choice(span, n_sites, replace=False)) + 1
    letters = np.array(list("ACGT"))
    ref = rng.integers(0, 4, n_sites)

    def cohort(people: int) -> Panel:
        source = np.repeat(rng.integers(0, 40, (2 * people, -(-n_sites // 50))), 50, axis=1)
        haplotypes = np.take_along_axis(founders, source[:, :n_sites], axis=0)
        return Panel(
            haplotypes,
            positions,
            "1",
            np.array([f"p{i}" for i in range(people)]),
            ref=letters[ref],
            alt=letters[(ref + 1) % 4],
        )

    folder = tmp_path_factory.mktemp("speed")
    ctx = RunContext(
        seed=1,
        artifacts=folder,
        scratch=Path(folder),
        sequence=surrogate_sequence(1, span, np.random.default_rng(2)),
    )
    return Reference(cohort(4 * n_people), cohort(n_people)), cohort(n_people), ctx


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_one_cohort(benchmark: Any, spec: MetricSpec, case: Any) -> None:
    reference, cohort, ctx = case
    module, name = spec.target.split(":")
    factory = getattr(importlib.import_module(module), name)

    def measure() -> Any:
        return factory(reference, cohort, spec.params(), ctx)

    measure()  # compile, and remember the real side
    result = benchmark.pedantic(measure, rounds=5)
    assert result.measurements
