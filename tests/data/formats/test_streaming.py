"""Cohorts written while they are sampled: the same files as from whole panels, in flat memory."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haplobench import FormatError, Panel
from haplobench.data.formats import read_panel, write_panel
from haplobench.data.formats import sites as variants_module
from haplobench.data.formats.options import ReadOptions
from haplobench.data.formats.streaming import Spool, streaming
from haplobench.testing import example_panel

ENDINGS = [".vcz", ".bcf", ".vcf.gz", ".pgen"]


def nobody_at_no_sites(panel: Panel) -> Panel:
    return panel.select_sites(np.zeros(panel.n_sites, bool))


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_what_is_streamed_is_what_is_written_at_once(
    tmp_path: Path, ending: str, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Several blocks of sites, and several chunks of people.
    monkeypatch.setattr(variants_module, "_BLOCK_ALLELES", 1 << 10)
    monkeypatch.setattr("haplobench.data.formats.vcz._HELD_BYTES", 1 << 13)
    panel = example_panel(n_samples=60, n_sites=90, seed=4)
    path, whole = tmp_path / f"streamed{ending}", tmp_path / f"whole{ending}"
    with streaming(path, panel, nobody_at_no_sites(panel)) as add:
        for start in range(0, panel.n_haplotypes, batch):
            add(panel.haplotypes[start : start + batch])
    write_panel(panel, whole)
    (read, skipped), (expected, _) = (read_panel(p, ReadOptions()) for p in (path, whole))
    assert not skipped
    np.testing.assert_array_equal(read.haplotypes, panel.haplotypes)
    assert read.digest == expected.digest
    if path.is_file():
        assert path.read_bytes() == whole.read_bytes()


def test_bcftools_counts_the_same_alleles(tmp_path: Path) -> None:
    panel = example_panel(n_samples=20, n_sites=40)
    path = tmp_path / "x.bcf"
    with streaming(path, panel, panel) as add:
        add(panel.haplotypes)
    try:
        command = ["bcftools", "query", "-f", "%POS %AC %AN [%GT ]\n", str(path)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except FileNotFoundError:
        pytest.skip("no bcftools")
    for line, position, column in zip(
        said.splitlines(), panel.positions, panel.haplotypes.T, strict=True
    ):
        at, alternate, called, *genotypes = line.split()
        assert (int(at), int(alternate), int(called)) == (position, column.sum(), column.size)
        assert [int(a) for g in genotypes for a in g.split("|")] == column.tolist()


@pytest.mark.parametrize("ending", ENDINGS)
def test_nothing_appears_of_what_was_not_whole(tmp_path: Path, ending: str) -> None:
    panel = example_panel(n_samples=5, n_sites=12)
    path = tmp_path / f"x{ending}"
    for wrong, message in (
        (panel.haplotypes[:4], "4 haplotypes, expected 10"),
        (np.concatenate([panel.haplotypes] * 2), "20 haplotypes, expected 10"),
        (panel.haplotypes[:, :3], r"shape \(10, 3\)"),
        (panel.haplotypes - 1, "other than 0 and 1"),
    ):
        with pytest.raises(ValueError, match=message), streaming(path, panel, panel) as add:
            add(wrong)
        assert list(tmp_path.iterdir()) == []


def test_endings_that_cannot_be_streamed_are_refused(tmp_path: Path) -> None:
    panel = example_panel(n_samples=5, n_sites=12)
    with (
        pytest.raises(FormatError, match=r"can't be streamed; expected one of \.vcz"),
        streaming(tmp_path / "x.hapt", panel, panel),
    ):
        pass


@given(
    n=st.integers(1, 40),
    sites=st.integers(1, 70),
    batch=st.integers(1, 9),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_a_spool_gives_back_what_it_took(n: int, sites: int, batch: int, seed: int) -> None:
    haplotypes = np.random.default_rng(seed).integers(0, 2, (n, sites), dtype=np.int8)
    spool = Spool(io.BytesIO(), n, sites)
    spool.step, spool._row_bytes = 16, 2
    for start in range(0, n, batch):
        spool.add(haplotypes[start : start + batch])
    for start in range(0, sites, 16):
        stop = min(sites, start + 16)
        np.testing.assert_array_equal(spool.alleles(start, stop), haplotypes[:, start:stop].T)


_PEAK = r"""
import re, sys
import numpy as np
from haplobench import Panel
from haplobench.data.formats.streaming import streaming

n, sites, path = int(sys.argv[1]), 1000, sys.argv[2]
positions = np.arange(1, sites + 1) * 100
ref, alt = np.full(sites, "A"), np.full(sites, "C")
empty = Panel(np.empty((0, sites), np.int8), positions, "1", np.empty(0, "U1"), ref, alt)
people = Panel(np.empty((n, 0), np.int8), np.empty(0, np.int64), "1", np.arange(n // 2).astype(str))
rng = np.random.default_rng(0)
with streaming(path, empty, people) as add:
    for start in range(0, n, 1000):
        add((rng.random((min(1000, n - start), sites), np.float32) < 0.2).view(np.int8))
# Not getrusage: its peak begins at the parent's.
print(int(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1]) / 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("ending", [".vcz", ".bcf", ".pgen"])
def test_memory_does_not_grow_with_haplotypes(tmp_path: Path, ending: str) -> None:
    peaks = []
    for n in (20_000, 60_000):
        command = [sys.executable, "-c", _PEAK, str(n), str(tmp_path / f"x{n}{ending}")]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        peaks.append(float(said))
    print(f"{ending}: {peaks[0]:.0f} and {peaks[1]:.0f} MiB")
    # The cohort itself would be 38 MiB more.
    assert peaks[1] < peaks[0] + 15
