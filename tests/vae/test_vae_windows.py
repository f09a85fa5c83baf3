"""Cutting a panel into windows and putting it together again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haplobench_vae.codebooks import WindowTiling


@settings(deadline=None)
@given(
    n_sites=st.integers(1, 90),
    width=st.integers(1, 40),
    multiple=st.integers(1, 9),
    size=st.integers(1, 7),
    seed=st.integers(0, 99),
)
def test_join_undoes_cut(n_sites: int, width: int, multiple: int, size: int, seed: int) -> None:
    tiling = WindowTiling(n_sites, min(width, n_sites), multiple)
    haplotypes = np.random.default_rng(seed).integers(-1, 2, (5, n_sites)).astype(np.int8)
    joined = np.full_like(haplotypes, 9)
    for windows in tiling.groups(size):
        cut = tiling.cut(haplotypes, windows)
        assert cut.shape == (len(windows), 5, tiling.padded)
        assert cut.shape[2] % multiple == 0
        joined[:, tiling.sites(windows)] = tiling.join(cut, windows)
    np.testing.assert_array_equal(joined, haplotypes)


def test_windows_start_at_site_0_and_the_last_is_shorter() -> None:
    tiling = WindowTiling(n_sites=741, width=128, multiple=8)
    assert (tiling.n_windows, tiling.padded) == (6, 128)
    haplotypes = np.arange(741, dtype=np.int64)[None] % 2
    cut = tiling.cut(haplotypes.astype(np.int8), range(4, 6))
    np.testing.assert_array_equal(cut[1, 0, :101], haplotypes[0, 640:741])
    assert (cut[1, 0, 101:] == -1).all()
    assert tiling.sites(range(4, 6)) == slice(512, 741)


def test_a_window_wider_than_the_panel_is_refused() -> None:
    with pytest.raises(ValueError, match="width 9"):
        WindowTiling(n_sites=8, width=9)
