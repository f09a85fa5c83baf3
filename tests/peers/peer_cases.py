"""What the tests of the peers share."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from haplobench import Panel, RunContext, SampleRequest
from haplobench.registry import load_registry, resolve

REGISTRY = load_registry(["haplobench_peers"])
# Parameters with which each peer fits in a moment.
QUICK: dict[str, dict[str, Any]] = {
    "rbm": {"updates": 40, "window": 16, "overlap": 8, "hidden": 16},
    "wgan": {
        "updates": 60,
        "critic_updates": 2,
        "batch_size": 32,
        "learning_rate": 0.01,
        "averaging": 0.8,
        "latents": 8,
        "maker": (64,),
        "critic": (64,),
    },
    "gan": {
        "updates": 100,
        "learning_rate": 0.003,
        "critic_learning_rate": 0.003,
        "averaging": 0.8,
        "latents": 8,
        "maker": (64,),
        "critic": (64,),
    },
    "latent-diffusion": {
        "window": 16,
        "overlap": 8,
        "latents": 8,
        "hidden": 32,
        "layers": 1,
        "steps": 6,
        "updates": 60,
        "batch_size": 64,
        "averaging": 0.9,
    },
    "hclt": {"states": 4, "iterations": 3},
    "pca-copula": {"window": 16, "overlap": 16},
    "tsinfer": {},
    # Without noise, what it draws is known.
    "dp-marginals": {"epsilon": math.inf, "given": 3, "drawn": 2},
    "admixture": {},
    "families": {},
    "dp-hmm": {"epsilon": math.inf, "states": 3, "iterations": 3, "window": 4},
    "dp-founders": {
        "epsilon": math.inf,
        "reach": 8,
        "founders": 4,
        "members": 2,
        "iterations": 20,
    },
}


def fitted(name: str, train: Panel, ctx: RunContext, **params: Any) -> Any:
    spec = REGISTRY.generator(name)
    return resolve(spec.target)().fit(train, spec.params(**(QUICK[name] | params)), ctx)


def sampled(
    generator: Any, ctx: RunContext, n: int, populations: NDArray[np.str_] | None = None
) -> NDArray[np.int8]:
    request = SampleRequest(n, populations=populations)
    return np.concatenate(list(generator.sample(request, ctx)))


def context(folder: Path, seed: int = 1, **changes: Any) -> RunContext:
    return RunContext(seed=seed, artifacts=folder, scratch=folder, **changes)


def panel(haplotypes: Any, **changes: Any) -> Panel:
    """A panel with a site every 1,000 bp."""
    alleles = np.ascontiguousarray(haplotypes, np.int8)
    n_haplotypes, n_sites = alleles.shape
    return Panel(
        haplotypes=alleles,
        positions=1 + 1000 * np.arange(n_sites),
        contig="1",
        samples=np.array([f"p{i}" for i in range(n_haplotypes // changes.get("ploidy", 2))]),
        **changes,
    )


def clusters(n: int, n_sites: int, seed: int = 3) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    """Haplotypes (n, n_sites) around four ancestral ones, 2 % of alleles changed, and whose."""
    rng = np.random.default_rng(seed)
    founders = rng.integers(0, 2, (4, n_sites))
    which = np.arange(n) % 4
    return (founders[which] ^ (rng.random((n, n_sites)) < 0.02)).astype(np.int8), which


def gaussian_epsilon(multiplier: float, delta: float) -> float:
    """ε of one Gaussian mechanism, by the closed form of Balle & Wang 2018, theorem 8."""

    def excess(epsilon: float) -> float:
        half, lift = 1 / (2 * multiplier), epsilon * multiplier
        beyond = stats.norm.cdf(half - lift) - math.exp(epsilon) * stats.norm.cdf(-half - lift)
        return float(beyond - delta)

    return float(optimize.brentq(excess, 0, 100))
