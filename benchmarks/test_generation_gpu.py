"""`vae` on one GPU beside msprime on one core: 100,000 haplotypes of the same region.

Needs a CUDA GPU and skips without one. The region is that of the panel in the package
(chr20:1-4 Mb, 300 Europeans), the sites those of MAF 1 % or more: the panel's for `vae`, its own
for msprime, which simulates a population of constant size, its quickest case, and decodes only
those sites. `extra_info` holds alleles per second of both, their ratio, and the GPU's
utilisation by NVML. `pytest benchmarks/test_generation_gpu.py`; two or three minutes.
"""

from __future__ import annotations

import importlib.util
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from haplobench import Panel, RecombinationMap, RunContext, SampleRequest
from haplobench.registry import load_registry, resolve
from haplobench.runner.worker.cost import GPUWatch

torch = pytest.importorskip("torch", reason="vae samples with torch")

DEVICE = "cuda:0"
pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU"),
]
REGISTRY = load_registry(("haplobench.datasets", "haplobench_vae"))
N = 100_000
MAF = 0.01
# Of the population that msprime simulates: humans', by and large.
NE, MUTATION, RECOMBINATION = 10_000, 1.29e-8, 1e-8
_CHUNK = 256


@dataclass(frozen=True)
class Rate:
    """How much was made, in what time."""

    alleles: int
    sites: int
    seconds: float

    @property
    def per_second(self) -> float:
        """Alleles per second."""
        return self.alleles / self.seconds


def common_sites(trees: Any) -> NDArray[np.bool_]:
    """Sites of MAF 1 % or more, by the trees: genotypes of the rare ones are never decoded."""
    counts = np.zeros(trees.num_sites, np.int64)
    for tree in trees.trees():
        for site in tree.sites():
            if len(site.mutations) == 1:
                counts[site.id] = tree.num_samples(site.mutations[0].node)
    frequency = counts / trees.num_samples
    return np.asarray(np.minimum(frequency, 1 - frequency) >= MAF)


def simulate(n: int, length: int, seed: int) -> Rate:
    """`n` haplotypes by msprime: ancestry, mutations, and the alleles of common sites."""
    import msprime

    start = time.perf_counter()
    ancestry = msprime.sim_ancestry(
        n // 2,
        population_size=NE,
        recombination_rate=RECOMBINATION,
        sequence_length=length,
        random_seed=seed,
    )
    trees = msprime.sim_mutations(
        ancestry, rate=MUTATION, model=msprime.BinaryMutationModel(), random_seed=seed
    )
    kept = common_sites(trees)
    trees = trees.delete_sites(np.flatnonzero(~kept))
    haplotypes = np.empty((n, trees.num_sites), np.int8)
    rows = np.empty((_CHUNK, n), np.int8)
    first = 0
    for variant in trees.variants(copy=False):
        at = variant.site.id - first
        rows[at] = variant.genotypes
        if at + 1 == _CHUNK or variant.site.id + 1 == trees.num_sites:
            haplotypes[:, first : variant.site.id + 1] = rows[: at + 1].T
            first = variant.site.id + 1
    return Rate(haplotypes.size, trees.num_sites, time.perf_counter() - start)


def region(folder: Path) -> tuple[Panel, RecombinationMap | None]:
    ctx = RunContext(seed=1, artifacts=folder, scratch=folder)
    spec = REGISTRY.dataset("embedded")
    found = resolve(spec.target)().load(spec.params(), ctx)
    return found.panel.select_sites(found.panel.maf >= MAF), found.recombination_map


@pytest.fixture(scope="module")
def by_msprime(tmp_path_factory: pytest.TempPathFactory) -> Rate:
    if importlib.util.find_spec("msprime") is None:
        pytest.skip("msprime is not installed (pip install 'haplobench[coalescent]')")
    panel, _ = region(tmp_path_factory.mktemp("region"))
    length = int(panel.positions[-1] - panel.positions[0] + 1)
    simulate(200, length // 100, 1)
    return simulate(N, length, 1)


@pytest.mark.parametrize("batch", [1024, 8192])
def test_vae_beside_msprime(benchmark: Any, batch: int, by_msprime: Rate, tmp_path: Path) -> None:
    benchmark.group = "100,000 haplotypes, vae on a GPU"
    panel, recombination = region(tmp_path)
    ctx = RunContext(
        seed=1,
        artifacts=tmp_path,
        scratch=tmp_path,
        device=DEVICE,
        recombination_map=recombination,
    )
    spec = REGISTRY.generator("vae")
    # How long it was trained doesn't change how fast it samples.
    params = spec.params(epochs=1, patience=1, temperature=0.8)
    fitted = resolve(spec.target)().fit(panel, params, ctx)

    def sample() -> int:
        made = sum(part.size for part in fitted.sample(SampleRequest(N, batch_size=batch), ctx))
        torch.cuda.synchronize()
        return made

    sample()
    torch.cuda.reset_peak_memory_stats()
    with GPUWatch(DEVICE) as gpu:
        alleles = benchmark.pedantic(sample, rounds=7)
    assert alleles == N * panel.n_sites
    rate = Rate(alleles, panel.n_sites, benchmark.stats.stats.median)
    watched = gpu.facts()
    benchmark.extra_info.update(
        {
            "gpu": torch.cuda.get_device_name(),
            "sites": rate.sites,
            "alleles_per_second": round(rate.per_second),
            "gpu_utilisation": watched["gpu_utilisation"],
            "gpu_note": watched["gpu_note"],
            "peak_gpu_memory": torch.cuda.max_memory_allocated(),
            "msprime_sites": by_msprime.sites,
            "msprime_seconds": round(by_msprime.seconds, 2),
            "msprime_alleles_per_second": round(by_msprime.per_second),
            "times_msprime": round(rate.per_second / by_msprime.per_second, 1),
        }
    )
