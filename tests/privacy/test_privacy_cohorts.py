"""What privacy metrics share: errors of shares, none of them certain, and of their excess."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from haplobench import Measurement, Reference
from haplobench.registry import load_registry, resolve
from haplobench.testing import example_context, example_panel
from haplobench_privacy.cohorts import cohorts, excess, share, share_error


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_error_of_a_share_is_that_of_jeffreys_posterior(counts: tuple[int, int]) -> None:
    k, n = counts
    cases = np.arange(n) < k
    # Beta(k + 1/2, n - k + 1/2) has variance p (1 - p) / (n + 2), p its mean.
    spread = stats.beta(k + 0.5, n - k + 0.5).std() * np.sqrt((n + 2) / n)
    one = share(cases)
    assert one.value == k / n
    assert one.standard_error == pytest.approx(spread, rel=1e-9)
    assert one.standard_error > 0
    assert share_error(cases, 4 * n) == pytest.approx(spread / 2, rel=1e-9)


def test_an_excess_of_two_shares_of_none_is_not_certain() -> None:
    none, unseen = np.zeros(100, bool), np.zeros(50, bool)
    one = excess(none, unseen)
    assert one.value == 0
    assert one.standard_error == pytest.approx(
        np.hypot(share_error(none), share_error(unseen)), rel=1e-12
    )
    assert one.standard_error > 0.01


def test_no_share_that_a_metric_reports_is_taken_for_certain(tmp_path: Path) -> None:
    panel = example_panel(150, n_sites=200, seed=3)
    people = np.split(np.arange(150), [60, 100])
    train, holdout, cohort = (panel.select_samples(part) for part in people)
    rng = np.random.default_rng(0)
    # Sites drawn one by one: no copies, no relatives, no long tracts, nobody who stands out.
    drawn = rng.random(cohort.haplotypes.shape) < panel.frequencies
    cohort = cohort.with_haplotypes(drawn.astype(np.int8))
    none: dict[str, Measurement] = {}
    metrics = load_registry(["haplobench_privacy"]).metrics
    for name in ("nearest-neighbours", "copied-tracts", "kinship", "adversarial-accuracy"):
        spec = metrics[name]
        ctx = example_context(tmp_path, train)
        result = resolve(spec.target)(Reference(train, holdout), cohort, spec.params(), ctx)
        none |= {
            number: one
            for number, one in result.measurements.items()
            if one.standard_error is not None
        }
    for number in ("exact_copies", "excess_copies", "excess_duplicates", "duplicates"):
        assert none[number].value == 0
    for number, one in none.items():
        if number != "closer_than_unseen":  # an area: its interval is another matter
            assert one.standard_error is not None
            assert one.standard_error > 0, number


def test_dosages_are_the_panels(tmp_path: Path) -> None:
    panel = example_panel(12, n_sites=90, seed=2)
    data = cohorts(Reference(panel, panel), panel, 100, example_context(tmp_path, panel))
    np.testing.assert_array_equal(data.dosages(panel), panel.dosages())
