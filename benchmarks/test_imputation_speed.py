"""Imputation from one reference panel, side by side: ours, Minimac4 and Beagle, on one thread.

    pytest benchmarks/test_imputation_speed.py

1,000 simulated people at 10,000 sites with MAF > 0.5 %, of which 1,000 common ones are typed, from
4,000 reference haplotypes. The programs' times are those of the whole program, reading and writing
compressed files and, of Beagle, starting Java; Minimac4's reference is compressed beforehand. CPU
seconds are compared, so that other work on the machine weighs the same on all; ours are from the
panel's alleles to the dosages of all people, in this process.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from haplobench_utility.imputation_programs import write_vcf
from numpy.typing import NDArray

from haplobench_utility.imputers import CopyingModel

N_REFERENCE, N_PEOPLE, N_SITES, N_TYPED = 4000, 1000, 10_000, 1000
seconds: dict[str, float] = {}
accuracy: dict[str, float] = {}


class Data:
    """Alleles (n_haplotypes, n_sites) int8, reference first; positions; typed sites."""

    def __init__(self) -> None:
        msprime = pytest.importorskip("msprime")
        trees = msprime.sim_ancestry(
            N_REFERENCE // 2 + N_PEOPLE,
            population_size=10_000,
            sequence_length=5_000_000,
            recombination_rate=1e-8,
            random_seed=1,
        )
        trees = msprime.sim_mutations(
            trees, rate=1.25e-8, random_seed=2, model=msprime.BinaryMutationModel()
        )
        columns, positions = [], []
        for variant in trees.variants():
            position = int(variant.site.position) + 1
            count = int(variant.genotypes.sum())
            rare = min(count, variant.genotypes.size - count) <= 0.005 * variant.genotypes.size
            if not rare and (not positions or position > positions[-1]):
                columns.append(variant.genotypes.astype(np.int8))
                positions.append(position)
            if len(columns) == N_SITES:
                break
        assert len(columns) == N_SITES
        self.alleles = np.ascontiguousarray(np.array(columns).T)
        self.positions = np.array(positions)
        self.morgans = self.positions / 1e8
        frequency = self.alleles.mean(axis=0)
        common = np.flatnonzero(np.minimum(frequency, 1 - frequency) >= 0.05)
        self.typed = common[np.linspace(0, common.size - 1, N_TYPED).astype(int)]
        self.untyped = np.setdiff1d(np.arange(N_SITES), self.typed)

    def write(self, folder: Path) -> None:
        """Both panels as compressed and indexed VCF, and a map."""
        pysam = pytest.importorskip("pysam")
        sides = {
            "reference": (self.alleles[:N_REFERENCE], self.positions),
            "target": (self.alleles[N_REFERENCE:, self.typed], self.positions[self.typed]),
        }
        for name, (alleles, positions) in sides.items():
            write_vcf(folder / f"{name}.vcf", alleles, positions)
            pysam.tabix_index(str(folder / f"{name}.vcf"), preset="vcf", force=True, csi=True)
        lines = (f"1 . {bp / 1e6:.6f} {bp}\n" for bp in self.positions)
        (folder / "map.txt").write_text("".join(lines))

    def r2(self, dosages: NDArray[np.floating[Any]]) -> float:
        """Mean r² of people's dosages, (n_people, n_untyped)."""
        truth = self.alleles[N_REFERENCE:, self.untyped].reshape(N_PEOPLE, 2, -1).sum(axis=1)
        x, y = dosages - dosages.mean(axis=0), truth - truth.mean(axis=0)
        return float(np.mean((x * y).sum(axis=0) ** 2 / ((x**2).sum(axis=0) * (y**2).sum(axis=0))))


@pytest.fixture(scope="module")
def data() -> Data:
    return Data()


@pytest.fixture(scope="module")
def files(data: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("imputation")
    data.write(folder)
    return folder


@pytest.fixture(scope="module", autouse=True)
def table() -> Iterator[None]:
    """Print CPU seconds, rates and r² when all is measured."""
    yield
    print(
        f"\n{'imputation, one thread':24}{'CPU s':>8}{'M alleles/s':>13}{'r²':>9}{'times ours':>12}"
    )
    for name, spent in seconds.items():
        rate = 2 * N_PEOPLE * (N_SITES - N_TYPED) / spent / 1e6
        ratio = spent / seconds["haplobench"] if "haplobench" in seconds else float("nan")
        print(f"{name:24}{spent:8.2f}{rate:13.2f}{accuracy[name]:9.4f}{ratio:12.1f}")


def record(benchmark: Any, name: str, work: Callable[[], object], rounds: int) -> None:
    """Benchmark `work`, and keep its best CPU time, children's too."""
    spent = []

    def timed() -> None:
        before = sum(os.times()[:4])
        work()
        spent.append(sum(os.times()[:4]) - before)

    benchmark.pedantic(timed, rounds=rounds)
    seconds[name] = min(spent)
    benchmark.extra_info["cpu_seconds"] = seconds[name]


def dosages_of(path: Path, data: Data) -> NDArray[np.float32]:
    cyvcf2 = pytest.importorskip("cyvcf2")
    rows = {record.POS: record.format("DS")[:, 0] for record in cyvcf2.VCF(str(path))}
    return np.array([rows[bp] for bp in data.positions[data.untyped]]).T


@pytest.mark.benchmark(group="imputation")
def test_copying_model(benchmark: Any, data: Data) -> None:
    small = slice(0, 200)
    warm = CopyingModel.of(data.alleles[:40, small], np.arange(0, 200, 9), data.morgans[small])
    warm.impute(data.alleles[:4, :200:9])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found: list[NDArray[np.float32]] = []

    def run() -> None:
        model = CopyingModel.of(data.alleles[:N_REFERENCE], data.typed, data.morgans, ne=10_000)
        found[:] = [model.impute(data.alleles[N_REFERENCE:, data.typed])]

    record(benchmark, "haplobench", run, rounds=3)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    benchmark.extra_info["peak_rss_kb"] = peak
    assert peak < 2 << 20, f"{peak:,} kB, {before:,} before"
    accuracy["haplobench"] = data.r2(found[0].reshape(N_PEOPLE, 2, -1).sum(axis=1))


@pytest.mark.benchmark(group="imputation")
def test_minimac4(benchmark: Any, data: Data, files: Path) -> None:
    if shutil.which("minimac4") is None:
        pytest.skip("program absent: minimac4")
    compress = ["minimac4", "--compress-reference", "reference.vcf.gz", "-o", "reference.msav"]
    subprocess.run(compress, cwd=files, check=True, capture_output=True)
    options = ["-f", "DS", "-O", "vcf.gz", "-t", "1", "-o", "minimac4.vcf.gz"]
    command = ["minimac4", "reference.msav", "target.vcf.gz", *options]

    def run() -> None:
        subprocess.run(command, cwd=files, check=True, capture_output=True)

    record(benchmark, "Minimac4", run, rounds=1)
    accuracy["Minimac4"] = data.r2(dosages_of(files / "minimac4.vcf.gz", data))


@pytest.mark.benchmark(group="imputation")
def test_beagle(benchmark: Any, data: Data, files: Path) -> None:
    if shutil.which("beagle") is None:
        pytest.skip("program absent: beagle")
    inputs = ["gt=target.vcf.gz", "ref=reference.vcf.gz", "map=map.txt", "out=beagle"]
    command = ["beagle", *inputs, "nthreads=1", "seed=1"]

    def run() -> None:
        started = time.perf_counter()
        subprocess.run(command, cwd=files, check=True, capture_output=True)
        benchmark.extra_info["wall"] = time.perf_counter() - started

    record(benchmark, "Beagle 5.4", run, rounds=1)
    accuracy["Beagle 5.4"] = data.r2(dosages_of(files / "beagle.vcf.gz", data))
