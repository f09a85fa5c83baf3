"""Speed of the peers' samplers on one core.

    pytest benchmarks/test_peers_speed.py --benchmark-group-by=group

`rbm` beside a plain Gibbs sampler in numpy: the same machines, started and stepped alike, one
haplotype after the other or 256 together; float64, `exp`, one uniform number for each unit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from haplobench import RunContext, SampleRequest
from haplobench.registry import load_registry, resolve
from haplobench.testing import example_panel

pytest.importorskip("numba")
REGISTRY = load_registry(["haplobench_peers"])
N = 1024
TRAIN = example_panel(n_samples=100, n_sites=768, populations=("YRI", "CEU"))
ALONE = 32  # haplotypes that the sampler without batches draws


def fitted(name: str, folder: Path, **params: Any) -> tuple[Any, RunContext]:
    ctx = RunContext(seed=1, artifacts=folder, scratch=folder)
    spec = REGISTRY.generator(name)
    return resolve(spec.target)().fit(TRAIN, spec.params(**params), ctx), ctx


def plain(model: Any, n: int, together: int, rng: np.random.Generator) -> NDArray[np.int8]:
    """Haplotypes of the first stratum: (n, n_sites) int8."""
    machines, tiling = model.machines, model.frame.tiling
    parts = {name: values.astype(np.float64) for name, values in vars(machines).items()}
    padded = np.zeros((n, tiling.padded))
    label = np.zeros((together, model.frame.strata.n))
    label[:, 0] = 1

    def fire(field: NDArray[np.float64]) -> NDArray[np.float64]:
        return (rng.random(field.shape) < 1 / (1 + np.exp(-field))).astype(np.float64)

    for first in range(0, n, together):
        rows = padded[first : first + together]
        for window in range(tiling.n_windows):
            pinned = np.hstack([tiling.given(rows, window), label])
            weights = parts["weights"][window]
            hidden = parts["hidden"][window] + pinned @ parts["to_hidden"][window]
            visible = parts["visible"][window] + pinned @ parts["to_visible"][window]
            alleles = fire(np.repeat(parts["start"][window], together, axis=0))
            for _ in range(model.frame.steps):
                alleles = fire(visible + fire(hidden + alleles @ weights) @ weights.T)
            tiling.inside(rows, window)[:] = alleles
    return padded[:, tiling.overlap : tiling.overlap + tiling.n_sites].astype(np.int8)


@pytest.mark.parametrize("sampler", ["rbm", "numpy-256-together", "numpy-one-by-one"])
@pytest.mark.parametrize("window", [64, None])
def test_rbm(benchmark: Any, tmp_path: Path, sampler: str, window: int | None) -> None:
    settings = {"window": window, "hidden": 64 if window else 500, "updates": 2}
    model, ctx = fitted("rbm", tmp_path, **settings)
    benchmark.group = f"rbm, {'windows' if window else 'one machine'}"
    if sampler == "rbm":
        request = SampleRequest(N, populations=np.full(N, "CEU"))
        n, draw = N, lambda: np.concatenate(list(model.sample(request, ctx)))
    else:
        n, together = (ALONE, 1) if "one" in sampler else (N, 256)
        draw = lambda: plain(model, n, together, np.random.default_rng(1))  # noqa: E731
    drawn = benchmark.pedantic(draw, rounds=3, warmup_rounds=1)
    assert drawn.shape == (n, TRAIN.n_sites)
    alleles = n * TRAIN.n_sites / benchmark.stats.stats.min
    benchmark.extra_info["million alleles per second"] = round(alleles / 1e6, 3)


@pytest.mark.parametrize("name", ["hclt", "pca-copula"])
def test_others(benchmark: Any, tmp_path: Path, name: str) -> None:
    model, ctx = fitted(name, tmp_path, **({"iterations": 1} if name == "hclt" else {}))
    benchmark.group = "others"
    drawn = benchmark.pedantic(
        lambda: np.concatenate(list(model.sample(SampleRequest(N), ctx))), rounds=3, warmup_rounds=1
    )
    assert drawn.shape == (N, TRAIN.n_sites)
    alleles = N * TRAIN.n_sites / benchmark.stats.stats.min
    benchmark.extra_info["million alleles per second"] = round(alleles / 1e6, 3)
