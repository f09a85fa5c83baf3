"""What all attacks together say: Holm's correction, and when "no leak seen" may be said."""

from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from scipy.stats import false_discovery_control, norm

from haplobench.report.evidence import (
    false_discovery_rates,
    holm,
    judge_attacks,
    merged,
)
from haplobench.results.description import MetricInfo, SubmetricInfo
from haplobench.results.records import Record
from haplobench.results.table import Run
from haplobench.suite.schema import VerdictSettings


def test_holm_of_a_worked_example() -> None:
    # Least times 4, next times 3, next times 2, last times 1; never less than one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_bounds_the_chance_of_any_false_alarm() -> None:
    rng = np.random.default_rng(1)
    alarms = [min(holm(list(rng.random(12)))) <= 0.05 for _ in range(4000)]
    assert 0.035 < np.mean(alarms) <= 0.06


def test_rates_of_false_discoveries_are_scipys() -> None:
    p = np.random.default_rng(2).random(40) ** 3
    assert false_discovery_rates(list(p)) == pytest.approx(false_discovery_control(p))
    assert false_discovery_rates([]) == []


@pytest.mark.parametrize("alike", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("cohorts", [1, 2, 5, 24])
def test_merged_values_hold_whatever_the_cohorts_have_in_common(cohorts: int, alike: float) -> None:
    rng = np.random.default_rng(3)
    common, own = rng.standard_normal((4000, 1)), rng.standard_normal((4000, cohorts))
    p = norm.sf(alike**0.5 * common + (1 - alike) ** 0.5 * own)
    for level in (0.01, 0.05):
        said = np.mean([merged(list(row)) <= level for row in p])
        assert said <= level + 3.3 * (level / 4000) ** 0.5


def test_a_leak_is_seen_in_one_cohort_alone_and_in_all_though_sure_in_none() -> None:
    assert merged([0.0004] + [0.5] * 24) == pytest.approx(0.02)
    assert merged([0.004] * 25) == pytest.approx(2 * 0.004 * 25 / 13)


NUMBERS = {
    name: SubmetricInfo(name, name, evidence=True, ideal=0.5, material=0.65)
    for name in ("distance", "tracts", "kinship")
}
ATTACK = MetricInfo("attack", "privacy", submetrics=tuple(NUMBERS.values()))


def _record(number: str, p: float, high: float, seed: int = 1) -> Record:
    row = cast(Record, object.__new__(Record))
    vars(row).update({name: getattr(Record, name, "") for name in Record.__dataclass_fields__})
    return replace(
        row,
        dataset="d",
        generator="g",
        role="generator",
        world_size=1,
        labels={},
        metric="attack",
        submetric=number,
        seed=seed,
        value=0.6,
        p=p,
        low=0.4,
        high=high,
        detectable=0.7,
    )


def _findings(*records: Record, rules: VerdictSettings | None = None) -> dict[str, str]:
    run = Run(Path(), {}, {}, {}, {"attack": ATTACK}, list(records))
    return {key[1]: one.finding for key, one in judge_attacks(run, rules)["d", "g"].items()}


def test_a_leak_takes_green_from_all_attacks() -> None:
    calm = _record("distance", 0.4, 0.6), _record("tracts", 0.4, 0.7)
    assert _findings(*calm) == {"distance": "clear", "tracts": "unclear"}
    found = _findings(*calm, _record("kinship", 0.001, 0.9))
    assert found == {"distance": "unseen", "tracts": "unseen", "kinship": "leak"}


def test_nothing_clears_a_cohort_with_real_people_in_it() -> None:
    calm = [_record("distance", 0.4, 0.6), _record("tracts", 0.4, 0.6)]
    datasets = {"d": {"cohort_doubts": {"g": "people of --real are in it: 3"}}}

    def findings(*records: Record) -> set[str]:
        run = Run(Path(), {}, datasets, {}, {"attack": ATTACK}, list(records))
        return {one.finding for one in judge_attacks(run)["d", "g"].values()}

    assert findings(*calm) == {"unclear"}
    assert findings(*calm, _record("kinship", 0.001, 0.9)) == {"unseen", "leak"}


def test_any_cohort_may_leak_and_many_are_corrected_for() -> None:
    seeds = [_record("distance", p, 0.6, seed) for seed, p in enumerate((0.3, 0.004, 0.9))]
    assert _findings(*seeds) == {"distance": "leak"}
    more = [_record("distance", p, 0.6, seed) for seed, p in enumerate((0.3, 0.01, 0.9))]
    assert _findings(*more) == {"distance": "clear"}


def test_a_suite_may_set_the_level_and_what_matters() -> None:
    found = _record("distance", 0.02, 0.6)
    assert _findings(found) == {"distance": "leak"}
    assert _findings(found, rules=VerdictSettings(level=0.01)) == {"distance": "clear"}
    strict = VerdictSettings(level=0.01, material={"attack.distance": 0.55})
    assert _findings(found, rules=strict) == {"distance": "unclear"}
