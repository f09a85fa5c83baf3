"""The matrix grown site by site is the same in memory and on disk, and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from haplobench import Panel
from haplobench.data.bits import Bits
from haplobench.data.formats import matrix, read_panel, write_panel


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    sizes=st.lists(st.integers(0, 70), max_size=8),
    n_haplotypes=st.integers(1, 9),
    seed=st.integers(0, 99),
    spill=st.booleans(),
    thin=st.booleans(),
    spare=st.none() | st.integers(0, 5),
    tile=st.sampled_from([7, 64]),
    missing=st.sampled_from([0, 0.001, 1]),
)
def test_blocks_become_rows(
    sizes: list[int],
    n_haplotypes: int,
    seed: int,
    spill: bool,
    thin: bool,
    spare: int | None,
    tile: int,
    missing: float,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As bits, tiles are whole words.
    monkeypatch.setattr(matrix, "_TILE_SITES", tile if spare is None else 64)
    monkeypatch.setattr(matrix, "IN_MEMORY_BYTES", 0 if spill else 1 << 30)
    monkeypatch.setattr(matrix, "_ROW_BLOCK_BYTES", 64)
    monkeypatch.setattr(matrix, "_SQUARE", 3)
    rng = np.random.default_rng(seed)
    blocks = [rng.integers(0, 2, (size, n_haplotypes)).astype(np.int8) for size in sizes]
    for block in blocks:
        block[rng.random(block.shape) < missing / 3] = -1
    whole = np.concatenate([np.empty((0, n_haplotypes), np.int8), *blocks]).T
    keep = rng.random(whole.shape[1]) < 0.7 if thin else None
    at_most = None if spare is None else whole.shape[1] + spare
    growing = matrix.HaplotypeMatrix(n_haplotypes, tmp_path, at_most)
    for block in blocks:
        growing.append(block)
    found = growing.finish(keep)
    if isinstance(found, Bits):
        found = found.unpacked()
    else:
        assert not (spill and spare is not None and missing == 0 and whole.size)
    np.testing.assert_array_equal(found, whole if keep is None else whole[:, keep])
    assert found.flags.c_contiguous
    assert not list(tmp_path.glob("*.raw"))
    assert len(list(tmp_path.glob("*.npy"))) <= 1
    for left in tmp_path.glob("*.npy"):
        left.unlink()


def test_large_panels_are_mapped_from_scratch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matrix, "_TILE_SITES", 64)
    monkeypatch.setattr(matrix, "IN_MEMORY_BYTES", 10_000)
    rng = np.random.default_rng(0)
    panel = Panel(
        haplotypes=rng.integers(0, 2, (40, 500)).astype(np.int8),
        positions=np.arange(1, 501),
        contig="1",
        samples=np.array([f"P{i}" for i in range(20)]),
        ref=np.full(500, "A"),
        alt=np.full(500, "C"),
    )
    for name in ("a.vcf.gz", "a.vcz", "a.pgen"):
        write_panel(panel, tmp_path / name)
        scratch = tmp_path / f"scratch-{name}"
        found, _ = read_panel(tmp_path / name, scratch=scratch)
        kept = found.haplotypes if found.bits is None else found.bits.words
        assert isinstance(kept, np.memmap)
        assert not kept.flags.writeable
        assert Path(str(kept.filename)).parent == scratch
        assert found.digest == panel.digest
        assert not isinstance(read_panel(tmp_path / name)[0].haplotypes, np.memmap)
