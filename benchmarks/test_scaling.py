"""One rank against two: training and sampling of `vae`, and what an all-reduce costs.

On the panel in the package (chr20, 300 Europeans, MAF 1 % or more). One rank and several take
turns, round by round, so that `speed_up` in `extra_info` is a ratio of neighbours in time: it
holds on a machine that is busy with something else, too, as long as that leaves a core for each
rank. `pytest benchmarks/test_scaling.py` takes two minutes on two cores; the scaling suite
(`suites/scaling.yaml`) measures at full size.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
from rank_pool import Backend, Ranks, Work

from haplobench import Panel, RecombinationMap, RunContext, SampleRequest
from haplobench.distributed import ProcessGroup, shard
from haplobench.distributed.training import PARTS
from haplobench.registry import load_registry, resolve
from haplobench.results.provenance import available_cores

pytest.importorskip("torch", reason="ranks train and talk over torch")

REGISTRY = load_registry(("haplobench.datasets", "haplobench_vae"))
PARAMS = {"epochs": 2, "patience": 2, "batch_size": 128, "overlap": False, "temperature": 0.8}
N = 2048
BLOCK = 256
ROUNDS = 3
KIB = 1024
MESSAGES = (4 * KIB, 64 * KIB, KIB * KIB, 16 * KIB * KIB)
BACKENDS: list[Any] = [
    "torch",
    pytest.param(
        "horovod",
        marks=pytest.mark.skipif(
            importlib.util.find_spec("horovod") is None,
            reason="Horovod is not installed (make horovod)",
        ),
    ),
]
needs_two_cores = pytest.mark.skipif(
    available_cores() < 2, reason="two ranks on one core tell nothing about scaling"
)


def loaded(folder: Path) -> tuple[Panel, RecombinationMap | None]:
    ctx = RunContext(seed=1, artifacts=folder, scratch=folder)
    spec = REGISTRY.dataset("embedded")
    found = resolve(spec.target)().load(spec.params(), ctx)
    return found.panel.select_sites(found.panel.maf >= 0.01), found.recombination_map


def training(group: ProcessGroup, folder: Path) -> Work:
    """Fits `vae` whenever called: seconds of a step, and the shares of its parts."""
    panel, recombination = loaded(folder)
    spec = REGISTRY.generator("vae")
    params = spec.params(**PARAMS)
    ctx = RunContext(
        seed=1, artifacts=folder, scratch=folder, group=group, recombination_map=recombination
    )

    def fit() -> dict[str, float]:
        before = group.counters.facts()
        resolve(spec.target)().fit(panel, params, ctx)
        after = group.counters.facts()
        spent = {
            name: after["steps"][name] - before["steps"].get(name, 0.0)
            for name in (*PARTS, "steps")
        }
        in_steps = sum(spent[name] for name in PARTS)
        return {
            "step_s": in_steps / spent["steps"],
            **{name: spent[name] / in_steps for name in PARTS},
            "bytes_per_step": (after["bytes"] - before["bytes"]) / spent["steps"],
        }

    return fit


def generation(group: ProcessGroup, folder: Path) -> Work:
    """Samples this rank's blocks of N haplotypes whenever called: how many alleles these are."""
    panel, recombination = loaded(folder)
    spec = REGISTRY.generator("vae")
    ctx = RunContext(seed=1, artifacts=folder, scratch=folder, recombination_map=recombination)
    # How long it was trained doesn't change how fast it samples.
    fitted = resolve(spec.target)().fit(panel, spec.params(**PARAMS | {"epochs": 1}), ctx)
    own = shard(N, group.rank, group.size, align=BLOCK)
    request = SampleRequest(own.stop - own.start, start=own.start)

    def sample() -> int:
        return sum(batch.size for batch in fitted.sample(request, ctx))

    sample()
    return sample


def summing(group: ProcessGroup, folder: Path) -> Work:
    """Sums a message of so many bytes over ranks, ten times, whenever called."""

    def reduce(n_bytes: int) -> float:
        values = np.ones(n_bytes // 4, np.float32)
        start = time.perf_counter()
        for _ in range(10):
            group.all_reduce(values)
        return (time.perf_counter() - start) / 10

    return reduce


def turns(benchmark: Any, one: Ranks, several: Ranks) -> tuple[list[Any], list[Any]]:
    """Benchmark several ranks, after each round of one; what both gave, and the speed-up."""
    alone: list[float] = []
    answers: tuple[list[Any], list[Any]] = ([], [])

    def before() -> None:
        start = time.perf_counter()
        answers[0].append(one())
        alone.append(time.perf_counter() - start)

    benchmark.pedantic(lambda: answers[1].append(several()), setup=before, rounds=ROUNDS)
    together = benchmark.stats.stats.data
    ratios = [a / b for a, b in zip(alone, together, strict=True)]
    benchmark.extra_info["one_rank_s"] = round(median(alone), 3)
    benchmark.extra_info["speed_up"] = round(median(ratios), 2)
    benchmark.extra_info["speed_up_range"] = [round(min(ratios), 2), round(max(ratios), 2)]
    return answers


@needs_two_cores
@pytest.mark.parametrize("backend", BACKENDS)
def test_training_by_two_ranks(benchmark: Any, backend: Backend, tmp_path: Path) -> None:
    benchmark.group = "training, 1 and 2 ranks"
    with (
        Ranks(1, training, tmp_path / "one") as one,
        Ranks(2, training, tmp_path / "two", backend) as two,
    ):
        alone, together = turns(benchmark, one, two)
    steps = [a["step_s"] / b["step_s"] for a, b in zip(alone, together, strict=True)]
    benchmark.extra_info["speed_up_of_a_step"] = round(median(steps), 2)
    for name in ("step_s", *PARTS):
        benchmark.extra_info[name] = round(median(answer[name] for answer in together), 4)
    benchmark.extra_info["bytes_per_step"] = round(together[0]["bytes_per_step"])
    assert together[0]["bytes_per_step"] > alone[0]["bytes_per_step"] == 0


@needs_two_cores
def test_generation_by_two_ranks(benchmark: Any, tmp_path: Path) -> None:
    benchmark.group = "generation, 1 and 2 ranks"
    with (
        Ranks(1, generation, tmp_path / "one") as one,
        Ranks(2, generation, tmp_path / "two") as two,
    ):
        alone, together = turns(benchmark, one, two)
    assert together[0] * 2 == alone[0]
    rate = alone[0] / benchmark.stats.stats.median
    benchmark.extra_info["alleles_per_second"] = round(rate)


@pytest.fixture(scope="module", params=BACKENDS)
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ranks]:
    with Ranks(2, summing, tmp_path_factory.mktemp("sums"), request.param) as ranks:
        yield ranks


@needs_two_cores
@pytest.mark.parametrize("n_bytes", MESSAGES)
def test_all_reduce(benchmark: Any, pair: Ranks, n_bytes: int) -> None:
    benchmark.group = "all-reduce by message size, 2 ranks"
    found: list[float] = []
    benchmark.pedantic(lambda: found.append(pair(n_bytes)), rounds=10, warmup_rounds=1)
    # The ranks' own clock: without the way there and back from this process.
    seconds = median(found[1:])
    benchmark.extra_info["bytes"] = n_bytes
    benchmark.extra_info["seconds"] = seconds
    benchmark.extra_info["gigabytes_per_second"] = round(n_bytes / seconds / 1e9, 3)
