"""Haplotypes as bits are those that were packed, whichever part of them is asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from haplobench import Panel
from haplobench.data import bits
from haplobench.data.bits import Bits, pack_bits, stored_bytes

_MATRICES = st.tuples(st.integers(1, 140), st.integers(1, 200)).flatmap(
    lambda shape: arrays(np.int8, shape, elements=st.integers(0, 1))
)


@settings(max_examples=50, deadline=None)
@given(matrix=_MATRICES, low=st.integers(0, 199), length=st.integers(0, 200))
def test_parts_of_bits_are_those_of_the_matrix(matrix: np.ndarray, low: int, length: int) -> None:
    packed, columns = Bits.of(matrix), slice(low, low + length)
    rows = np.arange(matrix.shape[0])[::-3]
    assert packed.shape == matrix.shape
    np.testing.assert_array_equal(packed.unpacked(rows, columns), matrix[rows][:, columns])
    np.testing.assert_array_equal(packed.take(rows).unpacked(), matrix[rows])
    chosen = np.flatnonzero(matrix[0])
    np.testing.assert_array_equal(packed.columns(chosen).unpacked(), matrix[:, chosen])
    np.testing.assert_array_equal(packed.counts(), matrix.sum(axis=0))
    turned = pack_bits(np.ascontiguousarray(matrix.T[columns]))
    np.testing.assert_array_equal(packed.turned(columns), turned)


def _panel(n_people: int = 75, n_sites: int = 333) -> Panel:
    rng = np.random.default_rng(3)
    return Panel(
        haplotypes=rng.integers(0, 2, (2 * n_people, n_sites)).astype(np.int8),
        positions=np.arange(1, n_sites + 1) * 7,
        contig="1",
        samples=np.array([f"P{i}" for i in range(n_people)]),
        population=np.array(["A", "B", "C"])[np.arange(n_people) % 3],
    )


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Panel:
    """The panel saved as bits, and mapped."""
    monkeypatch.setattr(bits, "_PACKED_FROM", 0)
    _panel().save(tmp_path / "panel")
    return Panel.load(tmp_path / "panel")


def test_a_panel_of_bits_is_the_one_that_was_saved(stored: Panel, tmp_path: Path) -> None:
    panel, sites, people = _panel(), np.array([3, 9, 40, 200, 332]), np.array([5, 2, 70])
    assert stored.bits is not None
    size = (tmp_path / "panel" / "haplotypes.npy").stat().st_size
    assert size - 128 == stored_bytes(panel.n_haplotypes, panel.n_sites) < panel.haplotypes.size / 5
    stored.__dict__.pop("digest")
    assert stored.digest == panel.digest
    for one, other in (
        (stored.allele_counts, panel.allele_counts),
        (stored.dosages(), panel.dosages()),
        (stored.packed_sites(), panel.packed_sites()),
        (stored.packed_haplotypes(), panel.packed_haplotypes()),
        (stored.site_rows(sites), panel.site_rows(sites)),
        (stored.select_sites(sites).haplotypes, panel.select_sites(sites).haplotypes),
        (stored.select_samples(people).haplotypes, panel.select_samples(people).haplotypes),
        (stored.as_haploid().haplotypes, panel.haplotypes),
        (stored.alleles(people, slice(60, 70)), panel.alleles(people, slice(60, 70))),
        *(
            (stored.packed_haplotypes(rows, part), panel.packed_haplotypes(rows, part))
            for rows in (slice(None), people)
            for part in (slice(0, 64), slice(63, 65), slice(64, 140), slice(70, 333), slice(9, 9))
        ),
    ):
        np.testing.assert_array_equal(one, other)
    assert not stored.has_missing
    assert stored.changed(contig="2").bits is stored.bits
    assert "haplotypes" not in vars(stored), "nothing of this unpacks all of it"
    np.testing.assert_array_equal(stored.haplotypes, panel.haplotypes)
    assert not stored.haplotypes.flags.writeable


def test_what_is_written_into_the_bits_stays_out_of_the_file(stored: Panel, tmp_path: Path) -> None:
    assert stored.bits is not None
    stored.bits.words[0, 0] ^= np.uint64(1)
    assert Panel.load(tmp_path / "panel").haplotypes[0, 0] == _panel().haplotypes[0, 0]


def test_panels_with_missing_alleles_are_kept_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bits, "_PACKED_FROM", 0)
    panel = _panel()
    panel.haplotypes[4, 7] = -1
    panel.save(tmp_path / "panel")
    back = Panel.load(tmp_path / "panel")
    assert back.bits is None
    np.testing.assert_array_equal(back.haplotypes, panel.haplotypes)
