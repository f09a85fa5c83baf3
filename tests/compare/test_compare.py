"""What a comparison calls each number, from records."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from comparison_records import measured, record, records
from hypothesis import given, settings
from hypothesis import strategies as st

from haplobench.compare.compare import compare
from haplobench.compare.model import Comparison, Row
from haplobench.suite.schema import CompareSettings

NOISE = np.array([0.0005, -0.0008, 0.0002, 0.0007, -0.0004, -0.0006, 0.0004])


def only(comparison: Comparison, submetric: str = "rmse") -> Row:
    """The one row of a number."""
    rows = [row for row in comparison.rows if row.submetric == submetric]
    assert len(rows) == 1
    return rows[0]


def against(base: list[dict[str, Any]], head: list[dict[str, Any]], **options: Any) -> Comparison:
    return compare(measured(base), measured(head), CompareSettings(**options))


@pytest.mark.parametrize(
    ("submetric", "base", "shift", "status"),
    [
        ("rmse", 0.1, 0.02, "regressed"),
        ("rmse", 0.1, -0.02, "improved"),
        ("rmse", 0.1, 0.005, "unchanged"),  # sure, but smaller than the least effect
        ("r", 0.9, -0.02, "regressed"),
        ("r", 0.9, 0.02, "improved"),
        ("bias", -0.05, -0.02, "regressed"),
        ("bias", -0.05, 0.02, "improved"),
        ("bias", -0.05, 0.10, "unchanged"),  # as far from the ideal, on its other side
        ("pairs", 100.0, 50.0, "unchanged"),
    ],
)
def test_direction_and_least_effect(submetric: str, base: float, shift: float, status: str) -> None:
    old = records(base + NOISE, submetric=submetric)
    new = records(base + shift + NOISE[::-1], submetric=submetric)
    row = only(against(old, new), submetric)
    assert row.status == status
    assert row.test == "paired"
    assert row.n_pairs == 7
    assert row.base == pytest.approx(base, abs=1e-3)


@pytest.mark.parametrize("draws", [5, 1])
def test_one_private_fit_a_side_is_no_regression_whatever_its_draws_say(draws: int) -> None:
    """Its fits differ by design, which neither draws of one fit nor of real people show."""
    why = "its protective noise comes from the operating system's entropy"
    floor = [
        record(generator="floor", role="floor", seed=0, replicate=draw, value=0.1 + 0.1 * noise)
        for draw, noise in enumerate(NOISE)
    ]
    sides = [
        measured(
            [*floor, *(record(replicate=at, value=0.1 + shift + NOISE[at]) for at in range(draws))]
        )
        for shift in (0.0, 0.3)
    ]

    def row() -> Row:
        rows = compare(*sides, CompareSettings()).rows
        return next(row for row in rows if row.generator == "model")

    tested = row()
    assert (tested.status, tested.test) == ("regressed", "borrowed")
    # One side is enough: the other may be from before the noise.
    sides[1].cohorts["chr20", "model"].unrepeatable = why
    said = row()
    assert said.status == "can't tell"
    assert why in said.reason
    assert "two seeds on either side can be tested" in said.reason
    assert said.difference == pytest.approx(tested.difference)


def test_private_fits_of_several_seeds_are_tested() -> None:
    sides = [measured(records(value + NOISE)) for value in (0.1, 0.2)]
    for side in sides:
        side.cohorts["chr20", "model"].unrepeatable = "noise"
    assert only(compare(*sides, CompareSettings())).status == "regressed"


def test_noise_is_no_regression_however_large_the_difference() -> None:
    rng = np.random.default_rng(4)
    row = only(against(records(rng.normal(0.5, 0.2, 7)), records(rng.normal(0.6, 0.2, 7))))
    assert row.status == "can't tell"
    assert row.low is not None
    assert row.high is not None
    assert row.low < 0 < row.high


def test_many_numbers_raise_the_bar() -> None:
    """One of 300 numbers with p = 0.003 is chance; alone it would not be."""
    differences = np.array([0.02, 0.03, 0.025, 0.012, 0.035, 0.01, 0.02])
    base, head = records(np.full(7, 0.1)), records(0.1 + differences)
    assert only(against(base, head)).status == "regressed"
    rng = np.random.default_rng(0)
    for k in range(300):
        labels = {"bin": str(k)}
        base += records(rng.normal(1, 0.1, 7), submetric="r", labels=labels)
        head += records(rng.normal(1, 0.1, 7), submetric="r", labels=labels)
    row = only(against(base, head))
    assert row.status == "unchanged"
    assert "chance among 301 numbers" in row.reason


def test_identical_values_need_no_test() -> None:
    row = only(against(records([0.1]), records([0.1])))
    assert (row.status, row.test, row.difference) == ("unchanged", "identical", 0.0)


def test_draws_are_averaged_within_their_seed() -> None:
    """Ten draws of each of two seeds are two values, not twenty."""

    def side(means: list[float]) -> list[dict[str, Any]]:
        return [
            record(seed=seed, replicate=draw, value=mean + 0.001 * (draw % 2))
            for seed, mean in enumerate(means, 1)
            for draw in range(10)
        ]

    row = only(against(side([0.1, 0.3]), side([0.12, 0.36])))
    assert (row.base_n, row.head_n) == (2, 2)
    assert row.base == pytest.approx(0.2005)
    assert row.status == "can't tell"


def test_one_seed_is_judged_by_its_draws_and_says_so() -> None:
    base = [record(replicate=draw, value=0.1 + noise) for draw, noise in enumerate(NOISE)]
    head = [record(replicate=draw, value=0.2 - noise) for draw, noise in enumerate(NOISE)]
    row = only(against(base, head))
    assert (row.status, row.test) == ("regressed", "borrowed")
    assert "noise of fitting taken as 3 times that of draws" in row.reason


def test_one_value_is_judged_by_the_floor() -> None:
    floor = [
        record(generator="floor", role="floor", seed=0, replicate=draw, value=0.1 + 0.1 * noise)
        for draw, noise in enumerate(NOISE)
    ]
    row = next(
        row
        for row in against([*floor, record(value=0.1)], [*floor, record(value=0.2)]).rows
        if row.generator == "model"
    )
    assert (row.status, row.test) == ("regressed", "borrowed")
    assert "noise taken as 10 times that of the floor" in row.reason


def test_one_value_without_any_noise_cant_be_tested() -> None:
    comparison = against([record(value=0.1)], [record(value=0.2)])
    row = only(comparison)
    assert row.status == "can't tell"
    assert "can't be tested" in row.reason
    assert row.p_value is None
    assert row.difference == pytest.approx(0.1)
    assert comparison.exit_code == 3
    # Too small a difference to matter, but who knows how large it is.
    assert only(against([record(value=0.1)], [record(value=0.105)])).status == "can't tell"


def test_other_seeds_are_compared_without_pairs() -> None:
    base = records(0.1 + NOISE)
    head = [replace_seed(row, row["seed"] + 100) for row in records(0.2 - NOISE)]
    comparison = against(base, head)
    row = only(comparison)
    assert (row.status, row.test, row.n_pairs) == ("regressed", "two-sample", 0)
    assert any("seeds differ" in warning for warning in comparison.warnings)


def replace_seed(row: dict[str, Any], seed: int) -> dict[str, Any]:
    return {**row, "seed": seed, "cell_id": f"{row['generator']}-{seed}"}


# --- few seeds, and no power ------------------------------------------------------------------


def family(name: str, values: Any, **given: Any) -> list[dict[str, Any]]:
    """Numbers of one generator: values (numbers, seeds, draws)."""
    return [
        record(labels={"bin": str(k)}, seed=seed, replicate=draw, value=value, **given)
        for k, number in enumerate(values)
        for seed, draws in enumerate(number, 1 if name == "model" else 0)
        for draw, value in enumerate(draws)
    ]


def drawn(seeds: int, shift: float = 0.0, rng: int = 0, fit: float = 0.0) -> list[dict[str, Any]]:
    """A run of two dozen numbers with two draws a seed, and the floor's ten draws."""
    random = np.random.default_rng(rng)
    centre = random.normal(0, fit, (24, seeds, 1)) if fit else 0.0
    model = 0.1 + shift + centre + random.normal(0, 0.002, (24, seeds, 2))
    floor = np.random.default_rng(99).normal(0.1, 0.002, (24, 1, 10))
    return [
        *family("model", model),
        *family("floor", floor, generator="floor", role="floor"),
    ]


@pytest.mark.parametrize("seeds", [1, 2, 3, 5])
def test_a_wreck_is_caught_with_few_seeds_and_nothing_else_is(seeds: int) -> None:
    base = drawn(seeds)
    assert against(base, drawn(seeds, 0.15, rng=1)).failing
    same = against(base, drawn(seeds, rng=1))
    assert not same.failing
    assert {row.status for row in same.rows} <= {"unchanged", "can't tell"}


def test_more_seeds_see_more() -> None:
    seen = []
    for seeds in (1, 2, 3, 5, 7):
        rows = against(drawn(seeds), drawn(seeds, rng=1)).rows
        seen.append(np.median([row.detectable or 0 for row in rows if row.role == "generator"]))
    assert sorted(seen, reverse=True) == seen
    assert 0 < seen[-1] < seen[0] / 4


def test_a_trained_generators_noise_is_not_taken_for_a_change() -> None:
    """Fits differ ten times as much as draws: seeds of other numbers say so."""
    alarms = [
        against(drawn(2, rng=2 * k, fit=0.02), drawn(2, rng=2 * k + 1, fit=0.02)).failing
        for k in range(1, 21)
    ]
    assert sum(map(bool, alarms)) <= 1


def test_nothing_could_have_been_found_is_no_pass() -> None:
    """Noise of 0.2 hides ten times the least effect, 0.1, whatever the difference is."""
    rng = np.random.default_rng(3)
    comparison = against(records(rng.normal(0.5, 0.2, 5)), records(rng.normal(0.5, 0.2, 5)))
    assert comparison.powerless == (("chr20", "model", "fidelity"),)
    assert (comparison.exit_code, comparison.counts["can't tell"]) == (3, 1)
    assert any(text.startswith("can't tell 1 of 1 gated") for text in comparison.warnings)
    row = only(comparison)
    assert row.detectable is not None
    assert row.detectable > 10 * row.min_effect
    wide = against(records(rng.normal(0.5, 0.2, 5)), records(rng.normal(0.5, 0.2, 5)), reach=1000.0)
    assert (only(wide).status, wide.exit_code) == ("unchanged", 0)


def test_a_number_with_power_passes_for_its_family_alone() -> None:
    rng = np.random.default_rng(3)
    blind = {"metric": "leak", "submetric": "copies"}
    base = [*records(0.1 + NOISE), *records(rng.normal(0.5, 0.2, 7), **blind)]
    head = [*records(0.1 - NOISE), *records(rng.normal(0.5, 0.2, 7), **blind)]
    comparison = against(base, head)
    assert comparison.powerless == (("chr20", "model", "privacy"),)
    assert comparison.exit_code == 3
    assert against(base, head, gate=["fidelity"]).exit_code == 0


def test_below_chance_is_neither_better_nor_worse() -> None:
    """An attack's number is compared from its ideal up: a worse guess than chance leaks nothing."""
    one_sided = {"metric": "ld", "submetric": "bias", "direction": "lower"}
    for value, shift, status in (
        (-0.2, -0.3, "unchanged"), (-0.2, 0.19, "unchanged"), (-0.2, 0.3, "regressed"),
        (0.1, -0.3, "improved"),
    ):  # fmt: skip
        base = records(value + NOISE, submetric="bias")
        head = records(value + shift - NOISE, submetric="bias")
        row = only(against(base, head, rules=[one_sided]), "bias")
        assert row.status == status, (value, shift)
        assert abs(row.difference or 0) <= 0.11


# --- times ----------------------------------------------------------------------------------


def times(values: Any, **given: Any) -> list[dict[str, Any]]:
    return records(values, metric="time", submetric="fit_cpu", **given)


SECONDS = np.array([1.0, 1.02, 0.99, 1.01, 1.03, 0.98, 1.005])


def test_times_by_ranks_and_ratio() -> None:
    assert only(against(times(SECONDS), times(SECONDS * 1.3)), "fit_cpu").status == "regressed"
    assert only(against(times(SECONDS), times(SECONDS / 1.3)), "fit_cpu").status == "improved"
    slight = only(against(times(SECONDS), times(SECONDS * 1.1)), "fit_cpu")
    assert slight.status == "unchanged"
    assert slight.relative == pytest.approx(0.1)
    assert slight.test == "ranks"
    assert (slight.base_n, slight.head_n) == (7, 7)
    row = only(against(times(SECONDS), times(SECONDS * 1.1), slower=0.05), "fit_cpu")
    assert row.status == "regressed"


def test_six_repeats_are_too_few_for_times() -> None:
    row = only(against(times(SECONDS[:6]), times(SECONDS * 2)), "fit_cpu")
    assert row.status == "can't tell"
    assert "6 in base, 7 in head" in row.reason


def test_one_fit_measured_with_many_draws_is_one_repeat() -> None:
    draws = [record(metric="time", submetric="fit_cpu", replicate=k, value=1.0) for k in range(9)]
    slow = [{**row, "value": 2.0} for row in draws]
    row = only(against(draws, slow), "fit_cpu")
    assert row.status == "can't tell"
    assert row.base_n == 1


def test_times_of_other_hardware_are_incomparable_but_nothing_else_is() -> None:
    base = [*times(SECONDS), *records(0.1 + NOISE)]
    head = [{**row, "hardware": "h2"} for row in [*times(SECONDS * 2), *records(0.1 - NOISE)]]
    comparison = against(base, head)
    row = only(comparison, "fit_cpu")
    assert row.status == "incomparable"
    assert "h1 in base, h2 in head" in row.reason
    assert only(comparison).status == "unchanged"
    assert comparison.exit_code == 0


# --- what can't be compared, and what failed ------------------------------------------------


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"dataset_digest": "d2"}, "other data"),
        ({"metric_version": "2"}, "metric version 1 in base, 2 in head"),
        ({"cell_id": "other"}, "asked otherwise"),
    ],
)
def test_incomparable(change: dict[str, str], why: str) -> None:
    head = [{**row, **change} for row in records(0.5 + NOISE)]
    comparison = against(records(0.1 + NOISE), head)
    row = only(comparison)
    assert row.status == "incomparable"
    assert why in row.reason
    assert (row.base, row.p_value) == (pytest.approx(0.1, abs=1e-3), None)
    assert comparison.exit_code == 3


def test_other_parameters_are_compared_and_named() -> None:
    head = [{**row, "params_digest": "q", "cell_id": "z"} for row in records(0.5 + NOISE)]
    row = only(against(records(0.1 + NOISE), head))
    assert row.status == "regressed"
    assert "other parameters" in row.reason


def failure(**given: Any) -> dict[str, Any]:
    return record(
        metric="", submetric="", value=None, status="failed", phase="fit",
        error_type="ValueError", error="Traceback …\n  File x\nValueError: no", **given,
    )  # fmt: skip


def test_a_cell_that_newly_fails_fails_the_comparison() -> None:
    comparison = against(records(0.1 + NOISE), [failure(seed=seed) for seed in range(1, 8)])
    (row,) = comparison.rows
    assert (row.status, row.metric, comparison.exit_code) == ("failed", "", 1)
    assert row.reason == "7 of 7 seeds: failed in fit: ValueError: no"


def test_one_seed_that_newly_fails_leaves_the_others_compared() -> None:
    head = [*records(0.1 + NOISE)[:6], failure(seed=7)]
    comparison = against(records(0.1 + NOISE), head)
    assert [row.status for row in comparison.rows] == ["failed", "unchanged"]
    assert "1 of 7 seeds" in comparison.rows[0].reason
    assert only(comparison).n_pairs == 6


def test_what_failed_before_is_no_news() -> None:
    broken = [failure(seed=1)]
    (row,) = against(broken, broken).rows
    assert row.status == "incomparable"
    assert "failed in base too" in row.reason
    (row,) = against(broken, [record()]).rows
    assert row.status == "new"
    assert row.reason == "failed in base"


def test_a_metric_that_newly_fails_is_one_row() -> None:
    bad = [
        record(seed=seed, submetric="", value=None, status="timeout", error="too long")
        for seed in range(1, 8)
    ]
    good = records(SECONDS, metric="time", submetric="fit_cpu")
    base = [*records(0.1 + NOISE), *records(0.9 + NOISE, submetric="r"), *good]
    comparison = against(base, [*bad, *good])
    failed = [row for row in comparison.rows if row.status == "failed"]
    assert [(row.metric, row.submetric) for row in failed] == [("ld", "")]
    assert comparison.exit_code == 1
    assert len(comparison.rows) == 2


def test_new_and_missing() -> None:
    base = [*records(0.1 + NOISE), *records(0.1 + NOISE, generator="old")]
    head = [
        *records(0.1 + NOISE),
        *records(0.1 + NOISE, generator="young"),
        *records(0.2 + NOISE, submetric="r"),
    ]
    found = {(row.generator, row.submetric): row.status for row in against(base, head).rows}
    assert found == {
        ("model", "rmse"): "unchanged",
        ("model", "r"): "new",
        ("young", ""): "new",
        ("old", ""): "missing",
    }


def test_a_value_later_not_applicable_is_missing_with_its_note() -> None:
    head = [record(seed=s, value=None, status="not-applicable", note="no map") for s in (1, 2)]
    row = only(against(records([0.1, 0.2]), [*head, *records([1, 2], submetric="r")]))
    assert (row.status, row.reason) == ("missing", "no map")


def test_a_mended_failure_and_a_repeated_measurement_count_once() -> None:
    again = record(value=0.4, run_key="k2")
    rows = [failure(seed=1), record(value=0.1), record(submetric="r", value=0.9), again]
    side = measured(rows)
    assert not side.failures
    found = {key.submetric: n.values for key, n in side.numbers.items() if n.values}
    assert found == {"rmse": {1: {0: 0.4}}}  # what the older code said of r is gone too


# --- gates ----------------------------------------------------------------------------------


def test_controls_and_ungated_families_never_fail_a_comparison() -> None:
    base, head = records(0.1 + NOISE), records(0.5 + NOISE[::-1])
    assert against(base, head).exit_code == 1
    assert against(base, head, gate=["privacy"]).exit_code == 0
    control = [[{**row, "role": "control"} for row in side] for side in (base, head)]
    comparison = against(*control)
    assert only(comparison).status == "regressed"
    assert comparison.exit_code == 0
    assert against(*control, controls=True).exit_code == 1


@pytest.mark.parametrize(
    ("rule", "status", "gated"),
    [
        ({"metric": "ld", "min_effect": 0.5}, "unchanged", True),
        ({"metric": "ld", "submetric": "r", "min_effect": 0.5}, "regressed", True),
        ({"metric": "ld", "submetric": "rmse", "direction": "higher"}, "improved", True),
        ({"metric": "ld", "ignore": True}, "regressed", False),
        ({"metric": "ld", "generator": "other", "ignore": True}, "regressed", True),
    ],
)
def test_rules_of_the_suite(rule: dict[str, Any], status: str, gated: bool) -> None:
    base, head = measured(records(0.1 + NOISE)), measured(records(0.5 + NOISE[::-1]))
    head.settings = {"rules": [rule]}
    row = only(compare(base, head))
    assert (row.status, row.gated) == (status, gated)


def test_the_gate_of_a_number_is_its_direction() -> None:
    row = only(
        against(records([1, 2], submetric="pairs"), records([3, 4], submetric="pairs")), "pairs"
    )
    assert not row.gated
    assert row.q_value is None


# --- properties -----------------------------------------------------------------------------


values = st.lists(st.floats(-1, 1), min_size=1, max_size=8)
sides = st.fixed_dictionaries(dict.fromkeys(("rmse", "r", "bias", "pairs"), values))


def rows_of(side: dict[str, list[float]]) -> list[dict[str, Any]]:
    return [row for name, found in side.items() for row in records(found, submetric=name)]


@given(sides)
@settings(max_examples=30, deadline=None)
def test_a_run_against_itself_is_unchanged(side: dict[str, list[float]]) -> None:
    comparison = against(rows_of(side), rows_of(side))
    assert {row.status for row in comparison.rows} == {"unchanged"}
    assert comparison.exit_code == 0


@given(sides, sides)
@settings(max_examples=60, deadline=None)
def test_swapping_base_and_head_swaps_better_and_worse(
    one: dict[str, list[float]], other: dict[str, list[float]]
) -> None:
    swap = {"improved": "regressed", "regressed": "improved", "new": "missing", "missing": "new"}
    there = against(rows_of(one), rows_of(other)).rows
    back = {row.key: row for row in against(rows_of(other), rows_of(one)).rows}
    for row in there:
        mirror = back[row.key]
        assert mirror.status == swap.get(row.status, row.status)
        if row.difference is not None:
            assert mirror.difference == pytest.approx(-row.difference, abs=1e-12)
