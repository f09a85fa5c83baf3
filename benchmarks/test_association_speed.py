"""Association studies, side by side: these kernels and PLINK 2's --glm, one thread.

    pytest benchmarks/test_association_speed.py

5,000 simulated people at 10,000 SNPs with MAF > 1 %, 20 quantitative traits, and one of cases and
controls; five principal components are the covariates of both. PLINK's time is that of the whole
program from its own format, with `hide-covar`, the fewest columns, and a threshold of p at which
next to nothing is written. Times are processor time, since both have one
thread. Ours is from a panel in memory to all p-values; the components, which
PLINK is handed in a table, are timed apart. Both must give the same slopes.
"""

from __future__ import annotations

import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from haplobench import Panel
from haplobench.data.formats import write_panel
from haplobench_utility.association import (
    Association,
    covariate_basis,
    linear,
    logistic,
    principal_components,
)

N_PEOPLE, N_SITES, N_TRAITS, N_PCS = 5_000, 10_000, 20, 5
seconds: dict[str, float] = {}


@pytest.fixture(scope="module")
def panel() -> Panel:
    msprime = pytest.importorskip("msprime")
    trees = msprime.sim_ancestry(
        N_PEOPLE,
        population_size=10_000,
        sequence_length=12_000_000,
        recombination_rate=1e-8,
        random_seed=1,
    )
    trees = msprime.sim_mutations(
        trees, rate=1.25e-8, random_seed=2, model=msprime.BinaryMutationModel()
    )
    columns: list[NDArray[np.int8]] = []
    for variant in trees.variants():
        frequency = variant.genotypes.mean()
        if min(frequency, 1 - frequency) > 0.01:
            columns.append(variant.genotypes.astype(np.int8))
        if len(columns) == N_SITES:
            break
    assert len(columns) == N_SITES
    return Panel(
        haplotypes=np.ascontiguousarray(np.array(columns).T),
        positions=np.arange(1, N_SITES + 1),
        contig="1",
        samples=np.array([f"p{i}" for i in range(N_PEOPLE)]),
        ref=np.full(N_SITES, "A"),
        alt=np.full(N_SITES, "C"),
    )


@pytest.fixture(scope="module")
def components(panel: Panel) -> NDArray[np.float64]:
    start = time.process_time()
    found = principal_components(panel, N_PCS)
    seconds["components, ours"] = time.process_time() - start
    return found


@pytest.fixture(scope="module")
def traits(panel: Panel) -> NDArray[np.float64]:
    rng = np.random.default_rng(3)
    causal = rng.choice(N_SITES, (N_TRAITS, 10))
    genetic = np.stack([panel.dosages()[:, sites].sum(axis=1) for sites in causal], axis=1)
    return np.asarray(genetic / genetic.std(axis=0) + rng.normal(size=genetic.shape), np.float64)


@pytest.fixture(scope="module")
def plink(
    panel: Panel,
    components: NDArray[np.float64],
    traits: NDArray[np.float64],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., Path]:
    """Runs `plink2 --glm` on the quantitative traits or the cases; gives the folder."""
    program = shutil.which("plink2")
    if program is None:
        pytest.skip("program absent: plink2")
    folder = tmp_path_factory.mktemp("plink")
    write_panel(panel, folder / "panel.pgen")

    def table(name: str, head: str, columns: NDArray[Any]) -> None:
        names = "\t".join(f"{head}{i}" for i in range(columns.shape[1]))
        rows = ["\t".join([f"p{i}", *map(str, row.tolist())]) for i, row in enumerate(columns)]
        (folder / name).write_text("\n".join([f"#IID\t{names}", *rows, ""]))

    table("q.txt", "q", traits)
    table("b.txt", "b", (traits[:, :1] > traits[:, :1].mean()).astype(int) + 1)
    table("covariates.txt", "c", components)

    def run(kind: str, *modifiers: str, p: str = "1e-300") -> Path:
        words = ["--pfile", "panel", "--pheno", f"{kind}.txt", "--covar", "covariates.txt"]
        words += ["--glm", "hide-covar", "omit-ref", *modifiers, "cols=beta,se,p"]
        words += ["--pfilter", p, "--threads", "1", "--out", kind]
        subprocess.run([program, *words], cwd=folder, check=True, capture_output=True)
        return folder

    return run


@pytest.fixture(scope="module", autouse=True)
def report() -> Iterator[None]:
    """Print times and how many times PLINK's speed ours is."""
    yield
    print()
    for name, value in seconds.items():
        theirs = seconds.get(name.replace("ours", "PLINK 2"))
        ratio = f"{theirs / value:8.1f} × PLINK 2" if theirs and "ours" in name else ""
        print(f"{name:30}{value:8.3f} s{ratio}")


def _spent() -> float:
    """Processor seconds of this process and of the programs that it has run."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def record(benchmark: Any, name: str, work: Callable[[], object], rounds: int) -> None:
    """Benchmark `work` after a warm-up; its least processor time counts, its programs' included."""
    spent: list[float] = []

    def timed() -> None:
        before = _spent()
        work()
        spent.append(_spent() - before)

    benchmark.pedantic(timed, rounds=rounds, warmup_rounds=1)
    seconds[name] = min(spent)
    benchmark.extra_info["cpu_seconds"] = seconds[name]


@pytest.mark.benchmark(group="association")
def test_plink_linear(benchmark: Any, plink: Callable[..., Path]) -> None:
    record(benchmark, "linear, 20 traits, PLINK 2", lambda: plink("q"), rounds=3)


@pytest.mark.benchmark(group="association")
def test_ours_linear(
    benchmark: Any,
    panel: Panel,
    components: NDArray[np.float64],
    traits: NDArray[np.float64],
    plink: Callable[..., Path],
) -> None:
    def work() -> Association:
        found = linear(panel, traits, covariate_basis(components))
        assert np.isfinite(found.p).all()
        return found

    record(benchmark, "linear, 20 traits, ours", work, rounds=5)
    theirs = np.loadtxt(plink("q", p="1") / "q.q7.glm.linear", skiprows=1, usecols=(-3, -2))
    found = work()
    np.testing.assert_allclose(found.beta[:, 7], theirs[:, 0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.se[:, 7], theirs[:, 1], rtol=1e-4)


@pytest.mark.benchmark(group="association")
def test_plink_logistic(benchmark: Any, plink: Callable[..., Path]) -> None:
    record(benchmark, "logistic, 1 trait, PLINK 2", lambda: plink("b", "no-firth"), rounds=2)


@pytest.mark.benchmark(group="association")
def test_ours_logistic(
    benchmark: Any,
    panel: Panel,
    components: NDArray[np.float64],
    traits: NDArray[np.float64],
) -> None:
    cases = traits[:, :1] > traits[:, :1].mean()

    def work() -> Association:
        return logistic(panel, cases, covariate_basis(components))

    record(benchmark, "logistic, 1 trait, ours", work, rounds=2)
