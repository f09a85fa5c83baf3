"""What all attacks together say: Holm's correction, and when "no leak seen" may be said."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from leaks_fixture import build_listed
from report_fixture import build_run
from scipy.stats import false_discovery_control, norm

from haplobench.errors import BenchError
from haplobench.report.evidence import (
    exposed_people,
    false_discovery_rates,
    find_leaks,
    holm,
    judge_attacks,
    merged,
    render_csv,
    render_json,
)
from haplobench.results.description import MetricInfo, SubmetricInfo
from haplobench.results.records import Record
from haplobench.results.table import Run, load_run
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


PATCHWORK = ("chr20-eur", "patchwork")


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return load_run(build_listed(tmp_path_factory.mktemp("leaks") / "run"))


def test_each_person_once_with_the_surest_evidence(listed: Run) -> None:
    people = exposed_people(listed)
    assert set(people) == {PATCHWORK, ("chr20-eur", "chain")}
    assert people["chr20-eur", "chain"] == []
    first, second = people[PATCHWORK]
    assert (first.sample, first.cohorts, first.looked_at) == ("HG01", 2, 2)
    assert (second.sample, second.cohorts, second.looked_at) == ("HG02", 1, 2)
    # Of p .004 and .001, and .09 and .002: twice the lesser of 2 x the least and the median.
    assert (first.p, second.p) == pytest.approx((0.004, 0.008))
    assert (first.q, second.q) == pytest.approx((0.012, 0.012))
    assert second.evidence == "longest tract"
    assert dict(first.details) == {"kinship": 0.5}


def test_whom_one_cohort_of_many_flags_by_chance_is_not_named(tmp_path: Path) -> None:
    run = load_run(build_listed(tmp_path / "run"))
    assert [one.sample for one in exposed_people(run, VerdictSettings(level=0.05))[PATCHWORK]] == [
        "HG01",
        "HG02",
    ]
    assert exposed_people(run, VerdictSettings(level=0.02))[PATCHWORK] == []


def test_csv_and_json_have_every_column(listed: Run) -> None:
    people = find_leaks(listed)
    rows = list(csv.DictReader(io.StringIO(render_csv(people))))
    assert [row["sample"] for row in rows] == ["HG01", "HG02"]
    assert rows[0]["kinship"] == "0.5"
    assert rows[0]["generator"] == "patchwork"
    first, second = json.loads(render_json(people))
    assert first["q"] == pytest.approx(0.012)
    assert second["kinship"] == "inf"  # as everywhere where JSON has no number for it
    assert render_csv([]).startswith("dataset,generator,sample,population,evidence,p,q,cohorts")


def test_what_is_not_there_is_said(listed: Run, tmp_path: Path) -> None:
    assert find_leaks(listed, "chain") == []
    with pytest.raises(BenchError, match="no generator is called 'patchwerk' .did you mean patch"):
        find_leaks(listed, "patchwerk")
    with pytest.raises(BenchError, match="no dataset is called 'chr2'"):
        find_leaks(listed, dataset="chr2")
    with pytest.raises(BenchError, match="no list of people of network"):
        find_leaks(listed, "network")
    with pytest.raises(BenchError, match="no list of people: nobody was looked for"):
        find_leaks(load_run(build_run(tmp_path / "run")))
