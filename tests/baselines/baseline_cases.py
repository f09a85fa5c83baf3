"""What the tests of the baselines share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haplobench import Panel, RunContext, SampleRequest
from haplobench.registry import load_registry, resolve

REGISTRY = load_registry(["haplobench_baselines"])
NAMES = tuple(REGISTRY.generators)


def fitted(name: str, train: Panel, ctx: RunContext, **params: Any) -> Any:
    spec = REGISTRY.generator(name)
    return resolve(spec.target)().fit(train, spec.params(**params), ctx)


def sampled(
    generator: Any,
    ctx: RunContext,
    n: int,
    start: int = 0,
    batch_size: int = 1024,
    populations: NDArray[np.str_] | None = None,
) -> NDArray[np.int8]:
    request = SampleRequest(n, start, batch_size, populations)
    return np.concatenate(list(generator.sample(request, ctx)))


def context(folder: Path, seed: int = 1, **changes: Any) -> RunContext:
    return RunContext(seed=seed, artifacts=folder, scratch=folder, **changes)


def panel(haplotypes: Any, *, step: int = 1000, **changes: Any) -> Panel:
    """A panel with a site every `step` bp."""
    alleles = np.ascontiguousarray(haplotypes, np.int8)
    n_haplotypes, n_sites = alleles.shape
    ploidy = changes.get("ploidy", 2)
    return Panel(
        haplotypes=alleles,
        positions=1 + step * np.arange(n_sites),
        contig="1",
        samples=np.array([f"p{i}" for i in range(n_haplotypes // ploidy)]),
        **changes,
    )


def worst_z(ones: NDArray[Any], n: int, probabilities: NDArray[np.float64]) -> float:
    """Largest |z| of binomial counts; about 4 among thousands that are as expected."""
    expected = n * probabilities
    deviation = np.sqrt(n * probabilities * (1 - probabilities))
    sure = deviation == 0
    assert np.array_equal(ones[sure], expected[sure])
    return float(np.abs((ones[~sure] - expected[~sure]) / deviation[~sure]).max())


def rows(haplotypes: NDArray[np.int8]) -> set[bytes]:
    return {row.tobytes() for row in haplotypes}
