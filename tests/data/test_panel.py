"""Panel: validation, selections, packing, saving."""

from __future__ import annotations

from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp

from haplobench import Panel, PanelError, PluginError, Populations
from haplobench.data.bits import pack_bits


def panel(haplotypes: np.ndarray, ploidy: int = 2, **changes: object) -> Panel:
    alleles = np.asarray(haplotypes, np.int8)
    given_values: dict[str, object] = {
        "positions": np.arange(1, alleles.shape[1] + 1) * 10,
        "contig": "20",
        "samples": np.array([f"p{i}" for i in range(alleles.shape[0] // ploidy)]),
        "ploidy": ploidy,
    }
    return Panel(alleles, **{**given_values, **changes})  # type: ignore[arg-type]


MATRICES = hnp.arrays(
    np.int8,
    st.tuples(st.integers(1, 9).map(lambda n: 2 * n), st.integers(1, 200)),
    elements=st.integers(0, 1),
)


@given(MATRICES)
def test_packed_bits_unpack_to_the_alleles(matrix: np.ndarray) -> None:
    words = pack_bits(matrix)
    assert words.shape == (matrix.shape[0], -(-matrix.shape[1] // 64))
    bits = np.unpackbits(words.astype("<u8").view(np.uint8), axis=1, bitorder="little")
    assert np.array_equal(bits[:, : matrix.shape[1]], matrix)
    assert not bits[:, matrix.shape[1] :].any()


@given(MATRICES)
def test_counts_and_dosages_agree_with_numpy(matrix: np.ndarray) -> None:
    people = panel(matrix)
    assert np.allclose(people.frequencies, matrix.mean(axis=0))
    assert np.array_equal(people.dosages(), matrix[0::2] + matrix[1::2])
    assert np.bitwise_count(people.packed_sites()).sum() == matrix.sum()


def test_missing_alleles_are_left_out_of_frequencies_and_refused_by_packing() -> None:
    people = panel([[0, 1, -1], [1, 1, -1]])
    assert people.frequencies.tolist() == [0.5, 1.0, 0.0]
    assert people.dosages().tolist() == [[1, 2, -1]]
    with pytest.raises(PanelError, match="missing"):
        people.packed_sites()


@given(st.integers(1, 300).map(lambda n: 2 * n), st.integers(1, 49))
def test_minor_and_major_alternate_alleles_pass_the_maf_filter_alike(n: int, percent: int) -> None:
    rare = -(-percent * n // 100)  # the fewest copies that reach the MAF
    alleles = np.zeros((n, 4), np.int8)
    for column, copies in enumerate((rare, n - rare, rare - 1, n - rare + 1)):
        alleles[:copies, column] = 1
    assert panel(alleles).common_sites(percent / 100).tolist() == [True, True, False, False]


def test_selections_keep_people_together() -> None:
    matrix = np.eye(6, dtype=np.int8)
    people = panel(matrix, population=np.array(["A", "B", "A"]))
    chosen = people.select_samples([2, 0])
    assert chosen.samples.tolist() == ["p2", "p0"]
    assert chosen.haplotypes.tolist() == matrix[[4, 5, 0, 1]].tolist()
    assert people.select_samples(people.population == "B").samples.tolist() == ["p1"]
    assert people.select_sites([1, 3]).positions.tolist() == [20, 40]
    assert people.haplotype_populations.tolist() == ["A", "A", "B", "B", "A", "A"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"positions": np.array([10, 10, 30])}, "increase strictly, found 10 then 10"),
        ({"positions": np.array([0, 10, 30])}, "1-based"),
        ({"positions": np.array([10, 30])}, "positions: expected 3"),
        ({"samples": np.array(["a", "a"])}, "'a' occurs more than once"),
        ({"samples": np.array(["a"])}, "samples: expected 2"),
        ({"population": np.array(["A"])}, "population: expected 2"),
        ({"ploidy": 3}, "can't be shared out as 3"),
    ],
)
def test_contradictions_are_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(PanelError, match=message):
        panel(np.zeros((4, 3)), **changes)  # type: ignore[arg-type]


def test_alleles_other_than_0_1_missing_are_refused() -> None:
    with pytest.raises(PanelError, match="found 2"):
        panel([[0, 2], [1, 0]])
    with pytest.raises(PanelError, match="expected int8, found int64"):
        Panel(np.zeros((2, 1), np.int64), np.array([1]), "1", np.array(["a"]))  # type: ignore[arg-type]


def test_saved_panel_comes_back_mapped_and_equal(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    people = panel(
        rng.integers(-1, 2, (8, 33)),
        population=np.array(["GBR", "GBR", "YRI", "YRI"]),
        superpopulation=np.array(["EUR", "EUR", "AFR", "AFR"]),
        build="GRCh37",
    )
    people.save(tmp_path / "p")
    back = Panel.load(tmp_path / "p")
    assert isinstance(back.haplotypes, np.memmap)
    assert np.array_equal(back.haplotypes, people.haplotypes)
    assert back.same_sites(people)
    assert back.superpopulation.tolist() == people.superpopulation.tolist()
    del back.__dict__["digest"]
    assert back.digest == people.digest  # computed afresh from what was read
    assert [p.name for p in tmp_path.iterdir()] == ["p"]


def test_digest_changes_with_any_part() -> None:
    base = panel(np.zeros((4, 3)))
    other = panel(np.zeros((4, 3)), alt=np.array(["A", "C", "G"]))
    flipped = panel(np.eye(4, 3))
    assert len({base.digest, other.digest, flipped.digest}) == 3


def test_half_a_panel_is_refused(tmp_path: Path) -> None:
    panel(np.zeros((2, 2))).save(tmp_path / "p")
    (tmp_path / "p" / "sites.npz").unlink()
    with pytest.raises(PanelError, match="not a saved panel"):
        Panel.load(tmp_path / "p")


LABELS = ["YRI", "FIN", "GBR", "FIN", "FIN", "LWK"]
ABOVE = ["AFR", "EUR", "EUR", "EUR", "EUR", ""]


@pytest.fixture(scope="module")
def populations() -> Populations:
    panel = Panel(
        np.zeros((2 * len(LABELS), 1), np.int8),
        np.array([1]),
        "20",
        np.arange(len(LABELS)).astype(str),
        population=np.array(LABELS),
        superpopulation=np.array(ABOVE),
    )
    return Populations.of(panel)


def test_they_are_those_of_the_panel(populations: Populations) -> None:
    assert populations.names == ("FIN", "GBR", "LWK", "YRI")
    # Where there is no superpopulation, the population's own name stands in.
    assert populations.superpopulations == ("EUR", "EUR", "LWK", "AFR")
    assert populations.people == (3, 1, 1, 1)
    assert populations.superpopulation_of == (1, 1, 2, 0)
    np.testing.assert_array_equal(populations.index(np.array(LABELS)), [3, 0, 1, 0, 0, 2])


def test_a_superpopulation_is_drawn_by_shares_and_a_population_is_itself(
    populations: Populations,
) -> None:
    n = 10_000
    level = (np.arange(n) + 0.5) / n
    drawn = populations.draw(np.full(n, "EUR"), level)
    np.testing.assert_array_equal(np.bincount(drawn, minlength=4), [7500, 2500, 0, 0])
    drawn = populations.draw(None, level)
    np.testing.assert_allclose(np.bincount(drawn), n * np.array([3, 1, 1, 1]) / 6, atol=1)
    mixed = np.array(["YRI", "EUR", "GBR", "LWK"])
    np.testing.assert_array_equal(populations.draw(mixed, np.full(4, 0.9)), [3, 1, 1, 2])
    # A level that rounds up to 1 still gives somebody.
    np.testing.assert_array_equal(populations.draw(np.array(["EUR"]), np.array([1.0])), [1])


def test_a_label_nobody_has_is_refused_by_name(populations: Populations) -> None:
    with pytest.raises(PluginError, match=r"'JPT' is asked for.*\(there are: FIN, GBR, LWK, YRI\)"):
        populations.draw(np.array(["FIN", "JPT"]), np.zeros(2))
    nobody = Populations(("",), ("",), (4,))
    with pytest.raises(PluginError, match="none: no labels"):
        nobody.draw(np.array(["FIN"]), np.zeros(1))
    np.testing.assert_array_equal(nobody.draw(None, np.array([0.2, 0.8])), [0, 0])
