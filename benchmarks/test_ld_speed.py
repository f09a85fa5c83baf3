"""LD r² in a band, side by side: this package's kernels, PLINK 1.9 and scikit-allel, one thread.

    pytest benchmarks/test_ld_speed.py

5,008 simulated haplotypes (2,504 people) at 10,000 SNPs with MAF > 1 %; every SNP against the
1,000 after it. PLINK and scikit-allel correlate dosages; both of ours are shown. PLINK's time is
that of the whole program, with a threshold at which next to nothing is written; ours is shown
without packing and with it, and scikit-allel has a part of the data, for it is slow. PLINK 2 tells
r² of pairs (--r2-unphased) from 2.00a6 on; Debian 12's has no such option.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from haplobench import Panel
from haplobench_fidelity import ld_pairs
from haplobench_fidelity.ld_pairs import pack_sites

N_PEOPLE, N_SITES, BAND = 2504, 10_000, 1000
PAIRS = N_SITES * BAND - BAND * (BAND + 1) // 2
ALLEL_SITES = 800
rates: dict[str, float] = {}


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
    columns, positions = [], []
    for variant in trees.variants():
        frequency = variant.genotypes.mean()
        position = int(variant.site.position) + 1
        if min(frequency, 1 - frequency) > 0.01 and (not positions or position > positions[-1]):
            columns.append(variant.genotypes.astype(np.int8))
            positions.append(position)
        if len(columns) == N_SITES:
            break
    assert len(columns) == N_SITES
    return Panel(
        haplotypes=np.ascontiguousarray(np.array(columns).T),
        positions=np.array(positions),
        contig="1",
        samples=np.array([f"p{i}" for i in range(N_PEOPLE)]),
    )


@pytest.fixture(scope="module", autouse=True)
def table() -> Iterator[None]:
    """Print rates and their ratio to PLINK's when all is measured."""
    yield
    plink = rates.get("PLINK 1.9")
    print(f"\n{'LD r², one thread':34}{'M pairs/s':>10}{'× PLINK':>9}")
    for name, rate in rates.items():
        ratio = f"{rate / plink:9.1f}" if plink else f"{'':>9}"
        print(f"{name:34}{rate / 1e6:10.2f}{ratio}")


def record(
    benchmark: Any, name: str, work: Callable[[], object], pairs: int, rounds: int = 5
) -> None:
    """Benchmark `work`, and keep its best rate beside PLINK's."""
    benchmark.pedantic(work, rounds=rounds, warmup_rounds=1)
    rates[name] = pairs / benchmark.stats.stats.min
    benchmark.extra_info["pairs"] = pairs
    benchmark.extra_info["pairs_per_second"] = rates[name]
    if "PLINK 1.9" in rates:
        benchmark.extra_info["times_plink"] = rates[name] / rates["PLINK 1.9"]


@pytest.mark.benchmark(group="ld")
def test_plink(benchmark: Any, panel: Panel, tmp_path: Path) -> None:
    plink = shutil.which("plink1.9")
    if plink is None:
        pytest.skip("program absent: plink1.9")
    bed_reader = pytest.importorskip("bed_reader")
    bed_reader.to_bed(
        tmp_path / "panel.bed",
        panel.dosages(),
        properties={
            "iid": panel.samples,
            "sid": [f"s{i}" for i in range(N_SITES)],
            "chromosome": ["1"] * N_SITES,
            "bp_position": panel.positions,
            "allele_1": ["A"] * N_SITES,
            "allele_2": ["C"] * N_SITES,
        },
    )
    options = f"--ld-window {BAND + 1} --ld-window-kb 999999 --ld-window-r2 1 --threads 1"
    command = [plink, "--bfile", "panel", "--allow-no-sex", "--r2", *options.split()]

    def run() -> None:
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)

    record(benchmark, "PLINK 1.9", run, PAIRS)


@pytest.mark.benchmark(group="ld")
@pytest.mark.parametrize("dosages", [False, True], ids=["haplotypes", "dosages"])
def test_band(benchmark: Any, panel: Panel, dosages: bool) -> None:
    """Signed r of all pairs of the band, kept as a matrix."""
    started = time.perf_counter()
    bits = pack_sites(panel, dosages=dosages)
    benchmark.extra_info["packing_seconds"] = time.perf_counter() - started
    what = "dosages" if dosages else "haplotypes"
    record(benchmark, f"{what}, band", lambda: ld_pairs.correlation_band(bits, BAND), PAIRS)


@pytest.mark.benchmark(group="ld")
@pytest.mark.parametrize("dosages", [False, True], ids=["haplotypes", "dosages"])
def test_decay(benchmark: Any, panel: Panel, dosages: bool) -> None:
    """r² of all pairs of the band straight into distance bins, nothing kept."""
    bits = pack_sites(panel, dosages=dosages)
    # In units of sites, so that the bins hold the same pairs as the band.
    sites = np.arange(N_SITES, dtype=np.float64)
    edges = np.append(np.geomspace(1, BAND, 21)[:-1], BAND + 0.5)
    assert ld_pairs.decay(bits, sites, edges)[0].sum() == PAIRS
    what = "dosages" if dosages else "haplotypes"
    record(benchmark, f"{what}, decay", lambda: ld_pairs.decay(bits, sites, edges), PAIRS)


@pytest.mark.benchmark(group="ld")
@pytest.mark.parametrize("dosages", [False, True], ids=["haplotypes", "dosages"])
def test_packing_and_decay(benchmark: Any, panel: Panel, dosages: bool) -> None:
    """From int8 alleles to the curve: what a metric pays."""
    sites = np.arange(N_SITES, dtype=np.float64)
    edges = np.append(np.geomspace(1, BAND, 21)[:-1], BAND + 0.5)
    record(
        benchmark,
        f"{'dosages' if dosages else 'haplotypes'}, packing and decay",
        lambda: ld_pairs.decay(pack_sites(panel, dosages=dosages), sites, edges),
        PAIRS,
    )


@pytest.mark.benchmark(group="ld")
def test_scikit_allel(benchmark: Any, panel: Panel) -> None:
    allel = pytest.importorskip("allel")
    dosages = np.ascontiguousarray(panel.dosages()[:, :ALLEL_SITES].T)
    pairs = ALLEL_SITES * (ALLEL_SITES - 1) // 2
    record(benchmark, "scikit-allel", lambda: allel.rogers_huff_r(dosages), pairs, rounds=1)
