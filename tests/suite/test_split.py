"""The split: by individual, stratified, seeded, whatever the panel."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haplobench import BenchError, Panel
from haplobench.split import split_panel, stratified_sample


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
