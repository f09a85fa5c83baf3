"""Cohorts written while they are sampled: the same files as from whole panels, in flat memory."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from haplobench import BenchError, FormatError, Panel
from haplobench.data.formats import read_panel, streaming, vcz, write_panel
from haplobench.data.formats import sites as variants_module
from haplobench.data.formats.options import ReadOptions
from haplobench.data.formats.sites import Variants, by_sites
from haplobench.data.formats.streaming import WHOLE, Columns, Part
from haplobench.testing import example_panel

zarr = pytest.importorskip("zarr")

ENDINGS = [".vcz", ".bcf", ".vcf.gz", ".pgen"]


def nobody_at_no_sites(panel: Panel) -> Panel:
    return panel.select_sites(np.zeros(panel.n_sites, bool))


def columns(path: Path, panel: Panel) -> Columns:
    return Columns(path, panel, nobody_at_no_sites(panel))


def add_all(into: Columns, panel: Panel, part: Part = WHOLE) -> None:
    for column in into.missing(part):
        rows = into.rows(column)
        into.add(column, panel.haplotypes[rows.start : rows.stop])


@pytest.fixture
def panel(monkeypatch: pytest.MonkeyPatch) -> Panel:
    """Several blocks of sites, and three columns, the last of them not full."""
    monkeypatch.setattr(variants_module, "_BLOCK_ALLELES", 1 << 13)
    monkeypatch.setattr(streaming, "_HELD_BYTES", 1 << 13)
    monkeypatch.setattr(streaming, "_BITS_BYTES", 1 << 10)
    monkeypatch.setattr(streaming, "_BAND", 40)
    monkeypatch.setattr(vcz, "_CHUNK_SITES", 40)
    return example_panel(n_samples=310, n_sites=90, seed=4)


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_is_streamed_is_what_is_written_at_once(
    tmp_path: Path, ending: str, panel: Panel
) -> None:
    path, whole = tmp_path / f"streamed{ending}", tmp_path / f"whole{ending}"
    into = columns(path, panel)
    assert (into.size, into.n) == (256, 3)
    into.begin({})
    add_all(into, panel)
    into.finish()
    write_panel(panel, whole)
    (read, skipped), (expected, _) = (read_panel(p, ReadOptions()) for p in (path, whole))
    assert not skipped
    np.testing.assert_array_equal(read.haplotypes, panel.haplotypes)
    assert read.digest == expected.digest
    if path.is_file():
        assert path.read_bytes() == whole.read_bytes()
    assert not into.folder.exists()


def files(store: Path) -> dict[str, bytes]:
    if store.is_file():
        return {p.name: p.read_bytes() for p in store.parent.glob(f"{store.stem}.*")}
    return {str(p.relative_to(store)): p.read_bytes() for p in store.rglob("*") if p.is_file()}


@pytest.mark.parametrize("ending", ENDINGS)
def test_parts_in_any_order_and_again_make_the_same_file(
    tmp_path: Path, ending: str, panel: Panel
) -> None:
    made = []
    for folder, parts in (("a", [WHOLE]), ("b", [Part(3, 3), Part(1, 3), Part(1, 3), Part(2, 3)])):
        path = tmp_path / folder / f"x{ending}"
        for part in parts:
            into = columns(path, panel)
            into.begin({"seed": "1"}, part)
            add_all(into, panel, part)
            if not into.missing():
                into.finish({"seed": "1"})
        made.append(files(path))
    assert made[0] == made[1]


def test_digests_and_counts_are_those_of_the_panel(tmp_path: Path, panel: Panel) -> None:
    path = tmp_path / "x.vcz"
    into = columns(path, panel)
    into.begin({})
    add_all(into, panel)
    into.finish({"seed": "1"})
    group = zarr.open_group(path)
    expected = hashlib.sha256()
    for row in range(0, panel.n_haplotypes, 256):
        for site in range(0, panel.n_sites, 40):
            block = panel.haplotypes[row : row + 256, site : site + 40]
            expected.update(hashlib.sha256(block.tobytes()).digest())
    assert group.attrs["haplobench_haplotypes_sha256"] == expected.hexdigest()
    assert streaming.haplotypes_digest(panel) == expected.hexdigest()
    assert streaming.variants_digest(Variants.of(panel)) == expected.hexdigest()
    assert group["variant_AC"][:, 0].tolist() == panel.haplotypes.sum(axis=0).tolist()
    assert group["variant_AN"][:].tolist() == [panel.n_haplotypes] * panel.n_sites


@pytest.mark.parametrize("ending", [".vcz", ".pgen"])
def test_a_damaged_column_is_named_and_made_again(
    tmp_path: Path, ending: str, panel: Panel
) -> None:
    into = columns(tmp_path / f"x{ending}", panel)
    into.begin({})
    add_all(into, panel)
    name = "store/call_genotype/1.1.0" if ending == ".vcz" else "columns/00000001.bits"
    content = bytearray((into.folder / name).read_bytes())
    content[40] ^= 1
    (into.folder / name).write_bytes(content)
    with pytest.raises(FormatError, match="column 1 was damaged: .* isn't what was written"):
        into.finish()
    assert into.missing() == [1]
    add_all(into, panel)
    into.finish()
    read, _ = read_panel(tmp_path / f"x{ending}")
    np.testing.assert_array_equal(read.haplotypes, panel.haplotypes)


def test_another_cohort_and_a_finished_one_are_not_gone_on_with(
    tmp_path: Path, panel: Panel
) -> None:
    into = columns(tmp_path / "x.vcz", panel)
    into.begin({"seed": "1"}, Part(1, 2))
    with pytest.raises(BenchError, match=r"x\.vcz\.unfinished: .* seed is '1', expected '2'"):
        into.begin({"seed": "2"}, Part(1, 2))
    add_all(into, panel)
    into.finish()
    with pytest.raises(BenchError, match=r"x\.vcz: is there already"):
        into.begin({"seed": "1"}, Part(2, 2))


@given(total=st.integers(1, 9), n=st.integers(0, 40), by=st.integers(1, 5))
def test_parts_share_the_columns(total: int, n: int, by: int) -> None:
    parts = [Part(number, total) for number in range(1, total + 1)]
    assert [column for part in parts for column in part.of(n)] == list(range(n))
    for part in parts:
        smaller = [column for one in part.divided(by) for column in one.of(n)]
        assert smaller == list(part.of(n))


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "-1/2", "1/2/3"])
def test_parts_that_there_are_not(text: str) -> None:
    with pytest.raises(BenchError, match="expected a part and how many there are: 3/8"):
        Part.parse(text)


def test_bcftools_counts_the_same_alleles(tmp_path: Path) -> None:
    panel = example_panel(n_samples=20, n_sites=40)
    path = tmp_path / "x.bcf"
    into = columns(path, panel)
    into.begin({})
    add_all(into, panel)
    into.finish()
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
def test_what_is_no_column_is_refused(tmp_path: Path, ending: str) -> None:
    panel = example_panel(n_samples=5, n_sites=12)
    path = tmp_path / f"x{ending}"
    for wrong, message in (
        (panel.haplotypes[:4], r"shape \(4, 12\), expected \(10, 12\)"),
        (panel.haplotypes[:, :3], r"shape \(10, 3\)"),
        (panel.haplotypes - 1, "other than 0 and 1"),
    ):
        into = columns(path, panel)
        into.begin({})
        with pytest.raises(ValueError, match=message):
            into.add(0, wrong)
        into.abandon()
        assert list(tmp_path.iterdir()) == []


def test_endings_that_cannot_be_streamed_are_refused(tmp_path: Path) -> None:
    panel = example_panel(n_samples=5, n_sites=12)
    with pytest.raises(FormatError, match=r"can't be streamed; expected one of \.vcz"):
        columns(tmp_path / "x.hapt", panel)


@given(
    blocks=st.lists(st.integers(1, 9), min_size=1, max_size=20),
    size=st.integers(1, 12),
)
def test_bands_are_blocks_cut_anew(blocks: list[int], size: int) -> None:
    n = sum(blocks)
    alleles = np.arange(n * 3).reshape(n, 3).astype(np.int8)
    ends = np.cumsum([0, *blocks])
    pieces = ((int(a), alleles[a:b]) for a, b in pairwise(ends))
    bands = [(start, band.copy()) for start, band in variants_module.bands(pieces, size)]
    assert [start for start, _ in bands] == list(range(0, n, size))
    np.testing.assert_array_equal(np.concatenate([band for _, band in bands]), alleles)


_PEAK = r"""
import re, sys
import numpy as np
from pathlib import Path
from haplobench import Panel
from haplobench.data.formats import streaming

# A buffer that is full at the lesser number.
streaming._BITS_BYTES = 1 << 22
n, sites, path = int(sys.argv[1]), 6000, Path(sys.argv[2])
positions = np.arange(1, sites + 1) * 100
ref, alt = np.full(sites, "A"), np.full(sites, "C")
empty = Panel(np.empty((0, sites), np.int8), positions, "1", np.empty(0, "U1"), ref, alt)
people = Panel(np.empty((n, 0), np.int8), np.empty(0, np.int64), "1", np.arange(n // 2).astype(str))
rng = np.random.default_rng(0)
into = streaming.Columns(path, empty, people)
into.begin({})
for column in into.missing():
    size = len(into.rows(column))
    into.add(column, (rng.random((size, sites), np.float32) < 0.2).view(np.int8))
into.finish()
# Not getrusage: its peak begins at the parent's.
print(int(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1]) / 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("n", "n_sites"), [(1, 1), (7, 9), (256, 1000), (13, 16)])
def test_haplotypes_are_turned_by_way_of_bits(n: int, n_sites: int) -> None:
    wider = np.random.default_rng(0).integers(0, 2, (n, n_sites + 5)).astype(np.int8)
    haplotypes = wider[:, 3:-2]
    turned = by_sites(haplotypes)
    np.testing.assert_array_equal(turned, haplotypes.T)
    assert turned.dtype == np.int8
    assert turned.flags.c_contiguous


@pytest.mark.parametrize("ending", [".vcz", ".bcf", ".pgen"])
def test_memory_does_not_grow_with_haplotypes(tmp_path: Path, ending: str) -> None:
    peaks = []
    for n in (20_000, 40_000):
        command = [sys.executable, "-c", _PEAK, str(n), str(tmp_path / f"x{n}{ending}")]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        peaks.append(float(said))
    print(f"{ending}: {peaks[0]:.0f} and {peaks[1]:.0f} MiB")
    # The cohort itself would be 114 MiB more; htslib's headers hold the people's names.
    assert peaks[1] < peaks[0] + 30
