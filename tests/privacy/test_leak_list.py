"""Leak list: p-values and adjustment against scipy, and what is found among planted copies."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from haplobench import Reference
from haplobench.testing import example_context, example_panel
from haplobench_privacy.leak_list import EVIDENCE, find_leaks, leak_list
from haplobench_privacy.specs.attacks import LeakListParams


@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_false_discoveries_are_bounded_after_benjamini_and_hochberg(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    leaks = find_leaks(rng.normal(size=(2, n)), rng.normal(size=(2, 19)))
    # Their definition: the least rate at which the step-up procedure rejects a hypothesis.
    ordered = np.sort(leaks.p)
    steps = n * ordered / np.arange(1, n + 1)
    expected = [min(1.0, steps[ordered >= p].min()) for p in leaks.p]
    np.testing.assert_allclose(leaks.q, expected)


def test_p_values_of_people_like_held_out_ones_are_uniform() -> None:
    rng = np.random.default_rng(4)
    found = []
    for _ in range(60):
        evidence = rng.standard_t(3, (3, 59)) * np.array([[1.0], [20.0], [0.1]])
        evidence[1] = np.round(evidence[1])
        found.append(find_leaks(evidence[:, :20], evidence[:, 20:]).p)
    p = np.concatenate(found)
    # Never too small: at each level no more than its share, within what chance allows.
    for level in (0.05, 0.1, 0.25, 0.5):
        slack = 4 * np.sqrt(level * (1 - level) / 60)
        assert (p <= level).mean() <= level + slack
    assert p.mean() == pytest.approx(0.5, abs=0.05)


def test_blocks_of_people_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    train, holdout = rng.normal(size=(4, 30)), rng.normal(size=(4, 11))
    whole = find_leaks(train, holdout)
    monkeypatch.setattr("haplobench_privacy.leak_list._BLOCK_VALUES", 40)
    cut = find_leaks(train, holdout)
    for name in ("strength", "strongest", "p", "q", "unseen", "rank"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(cut, name))


def test_copied_people_are_named(tmp_path: Path) -> None:
    panel = example_panel(420, n_sites=400, seed=31)
    train, holdout, unseen = (
        panel.select_samples(part) for part in np.split(np.arange(420), [150, 300])
    )
    copied = np.arange(0, 150, 5)
    mixed = unseen.haplotypes.copy()
    for i in copied:
        mixed[2 * (i % 120) : 2 * (i % 120) + 2] = train.haplotypes[2 * i : 2 * i + 2]
    result = leak_list(
        Reference(train, holdout),
        train.with_haplotypes(mixed),
        LeakListParams(),
        example_context(tmp_path, train),
    )
    table = result.series["people"]
    names = {str(name) for name in train.samples[copied]}
    flagged = {str(name) for name in table["sample"][table["q"] <= 0.05]}
    kept = {
        str(train.samples[i])
        for i in copied
        if (mixed[2 * (i % 120)] == train.haplotypes[2 * i]).all()
    }
    assert len(kept) >= 20
    assert kept <= flagged
    assert len(flagged - names) <= 0.2 * len(flagged)
    assert result.measurements["flagged"].value == len(flagged)  # type: ignore[union-attr]
    assert set(table["strongest"]) <= set(EVIDENCE)
    assert (np.diff(table["p"]) >= 0).all()
    np.testing.assert_array_equal(table["rank"], np.arange(1, 151))
    assert all(len(column) == 150 for column in table.values())


def test_too_few_held_out_people_can_flag_nobody_and_it_is_said(tmp_path: Path) -> None:
    panel = example_panel(30, n_sites=200, seed=3)
    train, holdout = (panel.select_samples(part) for part in np.split(np.arange(30), [25]))
    result = leak_list(
        Reference(train, holdout),
        train.with_haplotypes(train.haplotypes),
        LeakListParams(),
        example_context(tmp_path, train),
    )
    fewest = result.measurements["fewest_flagged"]
    assert fewest.value is None  # type: ignore[union-attr]
    assert "too few" in fewest.note  # type: ignore[union-attr]
