"""The split: by individual, stratified, seeded, whatever the panel."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from haplobench import BenchError, FormatError, Panel
from haplobench.data.formats import ReadOptions, read_panel, write_panel
from haplobench.data.labels import Label
from haplobench.data.split import (
    declared_families,
    family_sizes,
    keep_together,
    split_panel,
    stratified_sample,
)
from haplobench.testing import example_panel


def panel_of(populations: list[str], order: np.ndarray | None = None) -> Panel:
    n = len(populations)
    order = np.arange(n) if order is None else order
    return Panel(
        np.zeros((2 * n, 3), np.int8),
        np.array([1, 2, 3]),
        "1",
        np.array([f"person{i}" for i in range(n)])[order],
        population=np.array(populations)[order],
    )


populations = st.lists(st.sampled_from(["GBR", "FIN", "CEU", "YRI", ""]), min_size=6, max_size=120)


@given(populations, st.floats(0.1, 0.6), st.floats(0, 0.5), st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_everybody_is_on_one_side_and_populations_keep_their_share(
    labels: list[str], holdout: float, validation: float, seed: int
) -> None:
    panel = panel_of(labels)
    n = round(holdout * panel.n_samples)
    left = panel.n_samples - n
    if n < 2 or left - round(validation * left) < 2:
        with pytest.raises(BenchError, match="at least 2"):
            split_panel(panel, holdout, validation, seed)
        return
    split = split_panel(panel, holdout, validation, seed)
    assert split.holdout.size == n
    together = np.concatenate([split.train, split.holdout])
    assert np.array_equal(np.sort(together), np.arange(panel.n_samples))
    assert np.isin(split.validation, split.train).all()
    assert split.validation.size == round(validation * split.train.size)
    assert np.array_equal(split.train[split.validation_in_train], split.validation)
    for label, size in Counter(labels).items():
        held = int((panel.population[split.holdout] == label).sum())
        assert abs(held - size * n / panel.n_samples) < 1 + 1e-9


@given(st.integers(0, 10**6), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_the_order_in_the_file_does_not_matter(seed: int, random: object) -> None:
    labels = ["GBR"] * 11 + ["FIN"] * 9 + ["CEU"] * 3
    order = np.random.default_rng(seed).permutation(len(labels))
    one, two = panel_of(labels), panel_of(labels, order)
    first, second = split_panel(one, 0.3, 0.1, seed), split_panel(two, 0.3, 0.1, seed)
    assert set(one.samples[first.holdout]) == set(two.samples[second.holdout])
    assert set(one.samples[first.validation]) == set(two.samples[second.validation])


def test_seeds_differ_and_repeat() -> None:
    panel = panel_of(["GBR"] * 50)
    one = split_panel(panel, 0.2, 0.1, 1).holdout
    assert np.array_equal(one, split_panel(panel, 0.2, 0.1, 1).holdout)
    assert not np.array_equal(one, split_panel(panel, 0.2, 0.1, 2).holdout)
    # The validation share doesn't change who is held out.
    assert np.array_equal(one, split_panel(panel, 0.2, 0.3, 1).holdout)


def test_counts_of_people() -> None:
    split = split_panel(panel_of(["GBR"] * 30 + ["FIN"] * 10), 8, 4, 1)
    assert (split.holdout.size, split.validation.size, split.train.size) == (8, 4, 32)


@pytest.mark.parametrize(
    ("holdout", "validation"), [(0, 0), (0.01, 0), (49, 0), (0.2, 39), (80, 0)]
)
def test_splits_that_leave_nobody(holdout: float, validation: float) -> None:
    with pytest.raises(BenchError, match=r"split\.(holdout|validation)"):
        split_panel(panel_of(["GBR"] * 50), holdout, validation, 1)


def test_a_sample_can_follow_other_peoples_proportions() -> None:
    panel = panel_of(["GBR"] * 40 + ["FIN"] * 40)
    like = panel_of(["GBR"] * 15 + ["FIN"] * 5)
    everyone = np.arange(80, dtype=np.int64)
    chosen = stratified_sample(panel, everyone, 20, "key", like=like)
    assert Counter(panel.population[chosen].tolist()) == {"GBR": 15, "FIN": 5}
    # Where one population has too few, the others make up for it.
    many = stratified_sample(panel, everyone, 60, "key", like=like)
    assert Counter(panel.population[many].tolist()) == {"GBR": 40, "FIN": 20}
    # Populations that nobody has: in proportion to who is there.
    other = stratified_sample(panel, everyone, 10, "key", like=panel_of(["YRI"]))
    assert Counter(panel.population[other].tolist()) == {"GBR": 5, "FIN": 5}


def with_families(panel: Panel, families: list[int]) -> Panel:
    """The panel with the families numbered; 0 is nobody's."""
    return replace(panel, family=np.array([str(n) if n else "" for n in families]))


people_and_kin = st.lists(
    st.tuples(st.sampled_from(["GBR", "FIN", "CEU", "YRI", ""]), st.integers(0, 12)),
    min_size=12,
    max_size=80,
)


@given(people_and_kin, st.floats(0.1, 0.6), st.floats(0, 0.4), st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_families_are_on_one_side(
    people: list[tuple[str, int]], holdout: float, validation: float, seed: int
) -> None:
    panel = with_families(panel_of([label for label, _ in people]), [n for _, n in people])
    sizes = Counter(n for _, n in people if n)
    largest = max(sizes.values(), default=1)
    try:
        split = split_panel(panel, holdout, validation, seed)
    except BenchError:
        reject()
    sides = (split.holdout, split.validation, np.setdiff1d(split.train, split.validation))
    assert np.array_equal(np.sort(np.concatenate(sides)), np.arange(panel.n_samples))
    for one, other in combinations(sides, 2):
        assert not set(panel.family[one]) & set(panel.family[other]) - {""}
    # Within one family of what was asked; exactly so, where people alone can fill up.
    n = round(holdout * panel.n_samples)
    assert n - largest < split.holdout.size <= n
    n = round(validation * split.train.size)
    assert n - largest < split.validation.size <= n


@given(people_and_kin, st.integers(2, 5), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_folds_hold_everybody_out_once(
    people: list[tuple[str, int]], folds: int, seed: int
) -> None:
    panel = with_families(panel_of([label for label, _ in people]), [n for _, n in people])
    largest = max(Counter(n for _, n in people if n).values(), default=1)
    try:
        parts = [split_panel(panel, 0.2, 0.1, seed, folds=folds, fold=i + 1) for i in range(folds)]
    except BenchError:
        reject()
    held = np.concatenate([part.holdout for part in parts])
    assert np.array_equal(np.sort(held), np.arange(panel.n_samples))
    for part in parts:
        assert not set(panel.family[part.holdout]) & set(panel.family[part.train]) - {""}
    if largest == 1:
        for label in set(panel.population.tolist()):
            counts = [int((panel.population[part.holdout] == label).sum()) for part in parts]
            assert max(counts) - min(counts) <= 1
        sizes = [part.holdout.size for part in parts]
        assert max(sizes) - min(sizes) <= 1


def small_populations(n: int, size: int, superpopulations: int = 5) -> Panel:
    labels = [f"pop{i:02}" for i in range(n) for _ in range(size)]
    panel = panel_of(labels)
    above = np.array([f"super{int(label[3:]) % superpopulations}" for label in labels])
    return replace(panel, superpopulation=above)


@pytest.mark.parametrize(("n", "size"), [(40, 1), (50, 2)])
def test_who_is_held_out_of_many_small_populations(n: int, size: int) -> None:
    panel = small_populations(n, size)
    held = np.zeros((60, panel.n_samples), bool)
    for seed in range(60):
        split = split_panel(panel, 0.2, 0.1, seed)
        held[seed, split.holdout] = True
        assert split.holdout.size == n * size // 5
        counts = Counter(panel.superpopulation[split.holdout].tolist())
        assert max(counts.values()) - min(counts.values()) <= 1
        assert max(Counter(panel.population[split.holdout].tolist()).values()) == 1
        # Nobody's superpopulation is used up, and two draws of the floor differ.
        assert set(panel.superpopulation[split.train]) == set(panel.superpopulation)
        train, out = panel.select_samples(split.train), panel.select_samples(split.holdout)
        everyone = np.arange(train.n_samples)
        draws = [stratified_sample(train, everyone, out.n_samples, f"{i}", out) for i in range(2)]
        assert not np.array_equal(*draws)
        assert Counter(train.superpopulation[draws[0]].tolist()) == counts
    # Each person of 60 seeds' 20 %: 12 times on average; 0 or 30 times has a chance below 1e-5.
    times = held.sum(axis=0)
    assert times.min() > 0
    assert times.max() < 30


def test_small_populations_beside_large_ones_change_nothing_for_those() -> None:
    large = panel_of(["GBR"] * 50 + ["FIN"] * 40)
    more = panel_of(["GBR"] * 50 + ["FIN"] * 40 + [f"pop{i}" for i in range(10)])
    one, two = split_panel(large, 0.2, 0.1, 3), split_panel(more, 0.2, 0.1, 3)
    assert set(two.holdout[two.holdout < 90]) == set(one.holdout)
    assert (two.holdout >= 90).sum() == 2


def test_a_family_that_leaves_nobody_else() -> None:
    panel = with_families(panel_of(["GBR"] * 10), [1] * 9 + [0])
    with pytest.raises(BenchError, match=r"families are kept whole: there are 1, the largest of 9"):
        split_panel(panel, 0.2, 0.1, 1)
    with pytest.raises(BenchError, match=r"split\.folds: 6 folds of 10 people"):
        split_panel(panel, 0.2, 0.1, 1, folds=6, fold=1)


def test_the_splits_of_published_figures_stay() -> None:
    # As drawn by the build whose figures the README gives.
    panel = panel_of(["GBR"] * 91 + ["FIN"] * 99 + ["CEU"] * 3 + ["IBS"] * 107)
    split = split_panel(panel, 0.2, 0.1, 1)
    digest = hashlib.sha256(b" ".join(part.tobytes() for part in (split.holdout, split.validation)))
    assert digest.hexdigest()[:16] == "9d59002d9315910b"


def families(names: Sequence[str], table: dict[str, Label]) -> list[str]:
    named = {name: name for name in names if name in table}
    return declared_families(names, table, named).tolist()


def test_parents_children_and_their_relatives_are_one_family() -> None:
    table = {
        "mother": Label(),
        "child": Label(mother="mother", father="absent"),
        "half-sibling": Label(father="absent"),
        "grandchild": Label(mother="half-sibling"),
        "stranger": Label(),
    }
    names = ["stranger", "grandchild", "mother", "child"]
    # The half-sibling isn't in the panel, and links its people nevertheless.
    assert families(names, table) == ["", "child", "child", "child"]


def test_a_shared_family_name_is_a_family_and_ones_own_is_not() -> None:
    table = {f"p{i}": Label(family="F1" if i < 2 else f"p{i}") for i in range(4)}
    assert families(["p0", "p1", "p2", "p3"], table) == ["p0", "p0", "", ""]


def test_a_family_name_of_a_whole_cohort_is_no_family() -> None:
    cohort = {f"p{i:02}": Label(family="GBR") for i in range(21)}
    assert set(families(list(cohort), cohort)) == {""}
    # With parents in it, it is one.
    cohort["p01"] = Label(family="GBR", father="p00")
    assert set(families(list(cohort), cohort)) == {"p00"}


def test_pairs_are_added_to_declared_families() -> None:
    panel = example_panel(6, n_sites=10)
    names = panel.samples.tolist()
    declared = keep_together(panel, np.array([[0, 1]]))
    assert declared.family.tolist() == [names[0]] * 2 + [""] * 4
    more = keep_together(declared, np.array([[1, 3], [4, 5]]))
    assert more.family.tolist() == [names[0], names[0], "", names[0], names[4], names[4]]
    assert sorted(family_sizes(more).tolist()) == [2, 3]
    assert keep_together(panel, np.empty((0, 2), np.int64)).digest == panel.digest
    assert more.digest != panel.digest


def test_families_go_with_their_people(tmp_path: Path) -> None:
    panel = keep_together(example_panel(6, n_sites=10), np.array([[1, 4]]))
    panel.save(tmp_path / "saved")
    for same in (Panel.load(tmp_path / "saved"), panel.select_sites([0, 2])):
        assert same.family.tolist() == panel.family.tolist()
    chosen = panel.select_samples([4, 0])
    assert chosen.family.tolist() == [panel.samples[1], ""]
    assert (panel.with_haplotypes(panel.haplotypes).family == "").all()


TRIO = {"person2": ("person1", "person3"), "person5": ("person4", "0")}


@pytest.fixture
def panel() -> Panel:
    return example_panel(7, n_sites=30, seed=3)


def pedigrees(panel: Panel) -> dict[str, str]:
    """Lines as PLINK, and as the 1000 Genomes Project's 3,202 people's two pedigrees write them."""
    rows = [(name, *TRIO.get(name, ("0", "0"))) for name in panel.samples.tolist()]
    return {
        "plink.fam": "".join(f"0 {name} {pat} {mat} 0 -9\n" for name, pat, mat in rows),
        "info.txt": "sampleID fatherID motherID sex\n"
        + "".join(f"{name} {pat} {mat} 1\n" for name, pat, mat in rows),
        "population.txt": "FamilyID SampleID FatherID MotherID Sex Population Superpopulation\n"
        + "".join(f"{name} {name} {pat} {mat} 2 GBR EUR\n" for name, pat, mat in rows),
        "g1k.ped": "Family ID\tIndividual ID\tPaternal ID\tMaternal ID\tGender\tPhenotype\n"
        + "".join(f"{name}\t{name}\t{pat}\t{mat}\t1\t0\n" for name, pat, mat in rows),
    }


@pytest.mark.parametrize("name", ["plink.fam", "info.txt", "population.txt", "g1k.ped"])
def test_pedigree_files(tmp_path: Path, panel: Panel, name: str) -> None:
    vcf, pedigree = tmp_path / "p.vcf.gz", tmp_path / name
    write_panel(panel, vcf)
    pedigree.write_text(pedigrees(panel)[name])
    read, _ = read_panel(vcf, ReadOptions(pedigree_file=pedigree))
    expected = [*["person1"] * 3, *["person4"] * 2, "", ""]
    assert read.family.tolist() == expected
    # One parent is enough, who may have been left out.
    some = ReadOptions(pedigree_file=pedigree, samples=("person3", "person2", "person5"))
    assert read_panel(vcf, some)[0].family.tolist() == ["person2", "person2", ""]
    assert (read_panel(vcf)[0].family == "").all()


@pytest.mark.parametrize("ending", [".bed", ".pgen"])
def test_families_in_plinks_own_tables(tmp_path: Path, panel: Panel, ending: str) -> None:
    path = tmp_path / f"p{ending}"
    write_panel(panel, path)
    assert (read_panel(path)[0].family == "").all()
    people = tmp_path / ("p.fam" if ending == ".bed" else "p.psam")
    header = "" if ending == ".bed" else "#FID\tIID\tPAT\tMAT\tSEX\tPHENO1\n"
    people.write_text(header + pedigrees(panel)["plink.fam"].replace(" ", "\t"))
    assert read_panel(path)[0].family.tolist() == [*["person1"] * 3, *["person4"] * 2, "", ""]


def test_a_pedigree_of_others_is_refused(tmp_path: Path, panel: Panel) -> None:
    vcf, pedigree = tmp_path / "p.vcf.gz", tmp_path / "other.fam"
    write_panel(panel, vcf)
    pedigree.write_text("0 NA1 NA2 NA3 0 -9\n0 NA2 0 0 0 -9\n")
    with pytest.raises(FormatError, match=r"other\.fam: its 2 people are none of the samples"):
        read_panel(vcf, ReadOptions(pedigree_file=pedigree))
