"""Change points: found where they are, not in noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from haplobench.history.reading import find_changes


def test_a_step_is_found_where_it_is() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(0, 1, 40)
    values[25:] += 6
    (change,) = find_changes(values, direction="lower")
    assert change.index == 25
    assert change.before == pytest.approx(values[:25].mean())
    assert change.after == pytest.approx(values[25:].mean())
    assert change.verdict == "worse"


def test_pure_noise_is_seldom_marked() -> None:
    rng = np.random.default_rng(2)
    for n, most in ((10, 0.08), (30, 0.03), (100, 0.01)):
        marked = sum(bool(find_changes(rng.normal(5, 2, n))) for _ in range(300))
        assert marked <= most * 300


def test_steps_of_three_deviations_are_found() -> None:
    rng = np.random.default_rng(3)
    found = 0
    for _ in range(100):
        values = rng.normal(0, 1, 30)
        values[15:] += 3
        found += any(abs(change.index - 15) <= 1 for change in find_changes(values))
    assert found >= 90


def test_the_verdict_follows_the_direction() -> None:
    up = [0.1, 0.11, 0.1, 0.11, 0.1, 0.9, 0.91, 0.9, 0.91, 0.9]
    assert [c.verdict for c in find_changes(up, direction="higher")] == ["better"]
    assert [c.verdict for c in find_changes(up, direction="lower")] == ["worse"]
    assert [c.verdict for c in find_changes(up, direction="info")] == ["changed"]
    assert [c.verdict for c in find_changes(up, direction="closer", ideal=1.0)] == ["better"]
    assert [c.verdict for c in find_changes(up, direction="closer", ideal=0.0)] == ["worse"]


def test_a_step_in_a_number_without_noise_is_found() -> None:
    (change,) = find_changes([2.0] * 6 + [3.0] * 6)
    assert (change.index, change.before, change.after) == (6, 2.0, 3.0)


def test_changes_under_the_smallest_effect_are_left_out() -> None:
    steps = [1.0] * 6 + [1.01] * 6 + [2.0] * 6
    assert [c.index for c in find_changes(steps, min_effect=0.1)] == [12]


@given(st.floats(0.001, 1e6), st.floats(-1e3, 1e3))
def test_unit_and_origin_do_not_matter_to_steps_without_noise(unit: float, origin: float) -> None:
    values = np.repeat([0.0, 1.0, 0.0], 8)
    indices = [change.index for change in find_changes(values * unit + origin)]
    assert indices == [8, 16]


@given(st.lists(st.floats(-1e9, 1e9, allow_nan=False), max_size=60))
def test_whatever_the_values_changes_lie_inside_in_order(values: list[float]) -> None:
    indices = [change.index for change in find_changes(values)]
    assert indices == sorted(set(indices))
    assert all(0 < index < len(values) for index in indices)
