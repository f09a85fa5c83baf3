"""Correlation of sites against numpy, scikit-allel, PLINK and closed forms."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from founder_panels import founders_panel, with_missing
from hypothesis import given, settings
from hypothesis import strategies as st

from haplobench import Panel, PanelError
from haplobench_fidelity import ld_pairs
from haplobench_fidelity.ld_pairs import pack_sites


def panel_of(alleles: np.ndarray, **fields: Any) -> Panel:
    haplotypes = np.ascontiguousarray(alleles, np.int8)
    n, n_sites = haplotypes.shape
    return Panel(
        haplotypes=haplotypes,
        positions=np.arange(1, n_sites + 1) * 100,
        contig="1",
        samples=np.array([f"p{i}" for i in range(n // fields.get("ploidy", 2))]),
        **fields,
    )


def complete_correlation(x: np.ndarray) -> np.ndarray:
    """Pearson correlation of columns over the rows that both have (NaN: missing)."""
    found = np.full((x.shape[1], x.shape[1]), np.nan)
    for i in range(x.shape[1]):
        for j in range(x.shape[1]):
            both = ~np.isnan(x[:, i]) & ~np.isnan(x[:, j])
            if both.any() and np.ptp(x[both, i]) and np.ptp(x[both, j]):
                found[i, j] = np.corrcoef(x[both, i], x[both, j])[0, 1]
    return found


def test_haplotype_r_is_the_closed_form() -> None:
    # 50 AB, 20 Ab, 10 aB, 20 ab: D = .5 - .7 * .6
    alleles = np.repeat([[1, 1], [1, 0], [0, 1], [0, 0]], [50, 20, 10, 20], axis=0)
    expected = (0.5 - 0.7 * 0.6) / np.sqrt(0.7 * 0.3 * 0.6 * 0.4)
    found = ld_pairs.correlation_matrix(pack_sites(panel_of(alleles)))
    assert found[0, 1] == pytest.approx(expected, abs=1e-7)


@settings(max_examples=30, deadline=None)
@given(
    n_people=st.integers(1, 140),
    n_sites=st.integers(1, 40),
    seed=st.integers(0, 2**32 - 1),
    dosages=st.booleans(),
)
def test_r_equals_numpy_for_any_shape(
    n_people: int, n_sites: int, seed: int, dosages: bool
) -> None:
    rng = np.random.default_rng(seed)
    panel = panel_of(rng.random((2 * n_people, n_sites)) < rng.random(n_sites))
    rows = panel.dosages() if dosages else panel.haplotypes
    expected = complete_correlation(rows.astype(float))
    found = ld_pairs.correlation_matrix(pack_sites(panel, dosages=dosages))
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("dosages", [False, True])
def test_missing_alleles_are_left_out_pair_by_pair(dosages: bool) -> None:
    panel = with_missing(founders_panel(90, 70, seed=5), 0.08)
    rows = (panel.dosages() if dosages else panel.haplotypes).astype(float)
    rows[rows < 0] = np.nan
    found = ld_pairs.correlation_matrix(pack_sites(panel, dosages=dosages))
    expected = complete_correlation(rows)
    off_diagonal = ~np.eye(70, dtype=bool)
    np.testing.assert_allclose(found[off_diagonal], expected[off_diagonal], atol=1e-6)


def test_dosage_r_equals_scikit_allel_on_real_data(chr1: Mapping[str, Any]) -> None:
    allel = pytest.importorskip("allel")
    panel = chr1["reference"].holdout
    panel = panel.select_sites(panel.maf > 0.02)
    upper = np.triu_indices(panel.n_sites, 1)
    found = ld_pairs.correlation_matrix(pack_sites(panel, dosages=True))[upper]
    exact = np.corrcoef(panel.dosages().T.astype(float))[upper]
    np.testing.assert_allclose(found, exact, atol=1e-7)
    # scikit-allel computes in float32 and is itself up to 5e-6 off the float64 value.
    theirs = allel.rogers_huff_r(panel.dosages().T)
    difference = np.abs(found**2 - theirs**2)
    assert difference.max() < 1e-5
    assert np.quantile(difference, 0.999) < 1e-6


def test_dosage_r2_equals_plink_on_real_data(chr1: Mapping[str, Any], tmp_path: Path) -> None:
    plink = shutil.which("plink1.9")
    if plink is None:
        pytest.skip("program absent: plink1.9")
    bed_reader = pytest.importorskip("bed_reader")
    panel = chr1["reference"].holdout
    panel = panel.select_sites(np.flatnonzero(panel.maf > 0.02)[:300])
    names = [f"s{i}" for i in range(panel.n_sites)]
    bed_reader.to_bed(
        tmp_path / "panel.bed",
        panel.dosages(),
        properties={
            "iid": panel.samples,
            "sid": names,
            "chromosome": ["1"] * panel.n_sites,
            "bp_position": panel.positions,
            "allele_1": ["A"] * panel.n_sites,
            "allele_2": ["C"] * panel.n_sites,
        },
    )
    width = 40
    options = f"--ld-window {width + 1} --ld-window-kb 999999 --ld-window-r2 0 --threads 1"
    subprocess.run(
        [plink, "--bfile", "panel", "--allow-no-sex", "--r2", *options.split(), "--out", "panel"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    band = ld_pairs.correlation_band(pack_sites(panel, dosages=True), width)
    lines = (tmp_path / "panel.ld").read_text().splitlines()[1:]
    assert len(lines) == np.isfinite(band).sum()
    for line in lines:
        _, _, first, _, _, second, r2 = line.split()
        i, j = int(first[1:]), int(second[1:])
        assert band[i, j - i - 1] ** 2 == pytest.approx(float(r2), abs=1e-5)


def test_dosage_r_does_not_depend_on_phase() -> None:
    panel = founders_panel(80, 50, seed=6)
    swapped = panel.haplotypes.reshape(80, 2, 50).copy()
    swap = np.random.default_rng(0).random((80, 50)) < 0.5
    swapped[:, 0][swap], swapped[:, 1][swap] = swapped[:, 1][swap], swapped[:, 0][swap]
    other = replace(panel, haplotypes=swapped.reshape(160, 50))
    bits, other_bits = pack_sites(panel, dosages=True), pack_sites(other, dosages=True)
    found, expected = ld_pairs.correlation_band(bits, 20), ld_pairs.correlation_band(other_bits, 20)
    np.testing.assert_array_equal(found, expected)
    assert not np.array_equal(
        ld_pairs.correlation_band(pack_sites(panel), 20),
        ld_pairs.correlation_band(pack_sites(other), 20),
    )


def test_dosages_need_diploid_people() -> None:
    panel = panel_of(np.eye(6), ploidy=3)
    with pytest.raises(PanelError, match="ploidy 3"):
        pack_sites(panel, dosages=True)


def test_band_is_the_matrix_and_ends_in_nan() -> None:
    panel = founders_panel(60, 30, seed=7)
    bits = pack_sites(panel)
    band, matrix = ld_pairs.correlation_band(bits, 9), ld_pairs.correlation_matrix(bits)
    for i in range(30):
        inside = min(9, 29 - i)
        np.testing.assert_array_equal(band[i, :inside], matrix[i, i + 1 : i + 1 + inside])
        assert np.isnan(band[i, inside:]).all()


def test_packing_some_sites_reads_only_them_from_a_mapped_panel(tmp_path: Path) -> None:
    panel = founders_panel(70, 300, seed=8)
    panel.save(tmp_path / "panel")
    mapped = Panel.load(tmp_path / "panel")
    sites = np.array([3, 4, 50, 299])
    found, expected = pack_sites(mapped, sites), pack_sites(panel.select_sites(sites))
    np.testing.assert_array_equal(found.alternate, expected.alternate)
    np.testing.assert_array_equal(found.alternate[:, :3], panel.packed_sites()[sites])


@pytest.mark.parametrize("zero", [False, True])
def test_decay_counts_every_pair_once(zero: bool) -> None:
    panel = founders_panel(50, 700, seed=9)
    haplotypes = panel.haplotypes.copy()
    haplotypes[:, ::50] = 0  # fixed sites
    panel = replace(panel, haplotypes=haplotypes)
    bits, edges = pack_sites(panel), np.geomspace(300, 60_000, 13)
    pairs, total = ld_pairs.decay(bits, panel.positions.astype(float), edges, zero=zero)
    i, j = np.triu_indices(panel.n_sites, 1)
    distance = panel.positions[j] - panel.positions[i]
    r2 = ld_pairs.correlation_matrix(bits)[i, j].astype(float) ** 2
    counted = np.ones(r2.size, bool) if zero else ~np.isnan(r2)
    bins = np.digitize(distance[counted], edges)
    expected = np.bincount(bins, minlength=14)[1:-1]
    weights = np.bincount(bins, weights=np.nan_to_num(r2[counted]), minlength=14)[1:-1]
    np.testing.assert_array_equal(pairs, expected)
    np.testing.assert_allclose(total, weights, rtol=1e-6)


def test_decay_bins_hold_their_lower_edge_only() -> None:
    panel = panel_of(np.tile([[1, 1, 1], [0, 0, 0]], (4, 1)))  # distances 100, 100 and 200
    pairs, total = ld_pairs.decay(
        pack_sites(panel), panel.positions.astype(float), np.array([100.0, 200.0, 300.0])
    )
    assert pairs.tolist() == [2, 1]
    np.testing.assert_allclose(total, [2, 1])
    pairs, _ = ld_pairs.decay(
        pack_sites(panel), panel.positions.astype(float), np.array([50.0, 100.0, 200.0])
    )
    assert pairs.tolist() == [0, 2]


def test_threads_change_nothing() -> None:
    real, synthetic = founders_panel(60, 900, seed=10), founders_panel(60, 900, seed=11)
    x, y = pack_sites(real), pack_sites(synthetic)
    edges = np.geomspace(100, 100_000, 9)
    positions = real.positions.astype(float)
    first, last = np.arange(1, 901), np.full(900, 900)
    one, many = (
        (
            ld_pairs.correlation_band(x, 30, threads=threads).tobytes(),
            ld_pairs.decay(x, positions, edges, threads=threads)[1].tobytes(),
            ld_pairs.pair_moments(x, y, first, last, threads=threads),
        )
        for threads in (1, 3)
    )
    assert one == many


@pytest.mark.parametrize("squared", [False, True])
def test_pair_moments_are_those_of_numpy(squared: bool) -> None:
    real, synthetic = founders_panel(60, 80, seed=12), founders_panel(40, 80, seed=13)
    x, y = pack_sites(real), pack_sites(synthetic)
    first, last = np.arange(80) + 3, np.minimum(np.arange(80) + 30, 80)
    found = ld_pairs.pair_moments(x, y, first, last, squared=squared)
    i, j = np.triu_indices(80, 1)
    chosen = (j - i >= 3) & (j - i < 30)
    a = ld_pairs.correlation_matrix(x)[i, j][chosen].astype(float)
    b = ld_pairs.correlation_matrix(y)[i, j][chosen].astype(float)
    both = ~np.isnan(a) & ~np.isnan(b)
    a, b = a[both], b[both]
    if squared:
        a, b = a**2, b**2
    assert found.pairs == a.size
    assert found.correlation == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-6)
    assert found.rmse == pytest.approx(np.sqrt(np.mean((a - b) ** 2)), abs=1e-6)
    norm = np.linalg.norm(b - a) / np.linalg.norm(a)
    assert found.relative_error == pytest.approx(norm, abs=1e-6)


def test_moments_without_spread_have_no_correlation() -> None:
    assert ld_pairs.PairMoments().correlation is None
    assert ld_pairs.PairMoments().rmse is None
    flat = ld_pairs.PairMoments(pairs=3, x=1.5, y=0.6, xx=0.75, yy=0.2, xy=0.3)
    assert flat.correlation is None
