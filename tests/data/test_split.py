"""The split: by individual, stratified, seeded, whatever the panel."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from haplobench import BenchError, Panel
from haplobench.data.split import split_panel, stratified_sample


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
