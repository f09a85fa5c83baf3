"""Alleles per second of the baselines, the coalescent generators and `vae`, side by side.

Sampling only, one thread, on the panel in the package (chr20, 300 Europeans) with the
sites of MAF 1 % or more. `pytest benchmarks/test_generation_speed.py` prints the table;
`extra_info` holds the rate and the seconds of the fit. Seconds are those of the CPU, so that
what else runs on the machine hardly matters. The coalescent generators' own sites are counted,
of any frequency.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from haplobench import Panel, RunContext, SampleRequest
from haplobench.registry import load_registry, resolve

PLUGINS = (
    "haplobench_baselines",
    "haplobench_coalescent",
    "haplobench_vae",
    "haplobench.datasets",
)
REGISTRY = load_registry(PLUGINS)
N = 2048

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "independent": ("independent", {}),
    "copycat": ("copycat", {}),
    "markov-2": ("markov", {"order": 2}),
    "markov-8": ("markov", {"order": 8}),
    "markov-12": ("markov", {"order": 12}),
    "li-stephens": ("li-stephens", {}),
    "li-stephens-within-population": ("li-stephens", {"within": "population"}),
    "msprime-hudson": ("msprime", {}),
    "msprime-smc_k": ("msprime", {"model": "smc_k"}),
    "stdpopsim": ("stdpopsim", {}),
    # How long they were trained doesn't change how fast they sample.
    "vae": ("vae", {"epochs": 1, "temperature": 0.7}),
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Panel, RunContext]:
    folder = tmp_path_factory.mktemp("generation")
    ctx = RunContext(seed=1, artifacts=folder, scratch=folder, min_maf=0.01)
    spec = REGISTRY.dataset("embedded")
    loaded = resolve(spec.target)().load(spec.params(), ctx)
    panel = loaded.panel.select_sites(loaded.panel.maf >= 0.01)
    ctx = RunContext(
        seed=1,
        artifacts=folder,
        scratch=folder,
        min_maf=0.01,
        recombination_map=loaded.recombination_map,
    )
    return panel, ctx


@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize("case", CASES)
def test_sampling(benchmark: Any, case: str, prepared: tuple[Panel, RunContext]) -> None:
    panel, ctx = prepared
    name, params = CASES[case]
    spec = REGISTRY.generator(name)
    started = time.process_time()
    fitted = resolve(spec.target)().fit(panel, spec.params(**params), ctx)
    benchmark.extra_info["fit_s"] = round(time.process_time() - started, 3)
    labels = np.resize(panel.haplotype_populations, N)
    request = SampleRequest(N, populations=labels if spec.conditional else None)

    def sample() -> int:
        return sum(
            batch.haplotypes.size if isinstance(batch, Panel) else batch.size
            for batch in fitted.sample(request, ctx)
        )

    alleles = benchmark.pedantic(sample, rounds=3, warmup_rounds=1)
    assert alleles >= N
    benchmark.extra_info["alleles_per_second"] = round(alleles / benchmark.stats.stats.median)
