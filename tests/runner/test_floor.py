"""The floor: real people in a cohort's place, as many as it has, and marks against it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_given_sites import people as labelled

from haplobench import Panel
from haplobench.report.model import Floor, band
from haplobench.results.description import SubmetricInfo
from haplobench.runner.floor import (
    dealt_cohort,
    floor_cohort,
    most_people,
    subsample,
    unmarked,
)


@pytest.mark.parametrize("kind", ["train", "holdout"])
def test_floors_are_real_people_apart_from_those_they_are_measured_against(kind: str) -> None:
    train, holdout = labelled(30, 1), labelled(9, 2)
    reference, cohort = floor_cohort(train, holdout, kind, 0, 0)
    source = train if kind == "train" else holdout
    assert genomes(cohort) <= genomes(source)
    assert not genomes(cohort) & genomes(reference.holdout)
    assert set(cohort.samples) & set(source.samples) == set()  # nobody is named
    assert cohort.n_samples == (9 if kind == "train" else 4)
    assert reference.train is train
    _, again = floor_cohort(train, holdout, kind, 0, 0)
    _, other = floor_cohort(train, holdout, kind, 1, 0)
    assert again.digest == cohort.digest
    assert other.digest != cohort.digest


def people(n: int, seed: int, n_sites: int = 40, prefix: str = "p") -> Panel:
    """Sites in pairs of perfect LD, so that numbers vary as real regions' do."""
    rng = np.random.default_rng(seed)
    rows = (rng.random((2 * n, n_sites // 2)) < np.linspace(0.05, 0.5, n_sites // 2)).astype(
        np.int8
    )
    names = np.array([f"{prefix}{i}" for i in range(n)])
    return Panel(np.repeat(rows, 2, axis=1), 10 * np.arange(1, n_sites + 1), "20", names)


def genomes(panel: Panel) -> set[bytes]:
    return {person.tobytes() for person in panel.haplotypes.reshape(panel.n_samples, -1)}


def test_a_deal_is_everybody_once() -> None:
    train, real = people(30, 1), people(12, 2)  # the same names: other people all the same
    everybody = genomes(train) | genomes(real)
    draws = [dealt_cohort(train, real, 9, draw, 1) for draw in range(3)]
    for reference, cohort in draws:
        parts = [cohort, reference.holdout, reference.train]
        assert [part.n_samples for part in parts] == [9, 12, 21]
        assert set[bytes]().union(*map(genomes, parts)) == everybody
    assert len({cohort.digest for _, cohort in draws}) == 3
    assert dealt_cohort(train, real, 9, 0, 1)[1].digest == draws[0][1].digest


def test_without_training_people_the_others_are_held_against() -> None:
    real = people(12, 2)
    reference, cohort = dealt_cohort(None, real, 5, 0, 1)
    assert reference.train is reference.holdout
    assert (cohort.n_samples, reference.holdout.n_samples) == (5, 7)
    assert genomes(cohort) | genomes(reference.holdout) == genomes(real)
    assert not set(cohort.samples) & set(real.samples)


@pytest.mark.parametrize("n", [2, 5, 11])
def test_a_floor_is_of_the_size_asked_for_as_far_as_there_are_people(n: int) -> None:
    train, real = people(30, 1), people(12, 2)
    assert floor_cohort(train, real, "train", 0, 1, n)[1].n_samples == n
    reference, cohort = floor_cohort(train, real, "holdout", 0, 1, n)
    assert cohort.n_samples == min(n, 6)
    assert cohort.n_samples + reference.holdout.n_samples == 12


def test_cohorts_that_no_floor_can_match_get_no_mark() -> None:
    assert most_people(41) == 20
    assert unmarked(20, 41) == ""
    assert "at least 42 training people" in unmarked(21, 41)


def test_a_subsample_is_of_the_cohort_s_people() -> None:
    cohort = people(10, 3)
    assert subsample(cohort, 10, 0, 1) is cohort
    some = [subsample(cohort, 4, draw, 1) for draw in range(3)]
    assert all(one.n_samples == 4 and genomes(one) <= genomes(cohort) for one in some)
    assert len({one.digest for one in some}) > 1


def rmse(real: Panel, cohort: Panel) -> float:
    return float(np.sqrt(((real.frequencies - cohort.frequencies) ** 2).mean()))


@pytest.mark.parametrize(("n_train", "n"), [(60, 2), (60, 10), (60, 30), (0, 2), (0, 10), (0, 20)])
def test_real_people_of_any_number_are_within_the_floor(n_train: int, n: int) -> None:
    info = SubmetricInfo("rmse", "RMSE", direction="lower", ideal=0.0)
    marks: list[str] = []
    for trial in range(40):
        real = people(40, 10_000 + trial)
        train = people(n_train, 20_000 + trial) if n_train else None
        floor = Floor.of_each(
            {
                "": (
                    np.array(
                        [
                            rmse(reference.holdout, cohort)
                            for reference, cohort in (
                                dealt_cohort(train, real, n, draw, trial) for draw in range(10)
                            )
                        ]
                    ),
                    0.0,
                )
            }
        )[""]
        for other in range(5):
            cohort = people(n, 30_000 + 100 * trial + other)
            against = real if train else dealt_cohort(None, real, n, 99, trial)[0].holdout
            marks.append(band(rmse(against, cohort), floor, info))
    share: dict[str, Any] = {mark: marks.count(mark) / len(marks) for mark in set(marks)}
    assert share["within"] >= 0.9, share
    assert share.get("better", 0) <= 0.02, share
    assert share.get("far", 0) <= 0.01, share


def test_prediction_intervals_hold_what_they_say() -> None:
    rng = np.random.default_rng(5)
    hits = {"likely": 0, "possible": 0}
    for _ in range(4000):
        draws = rng.normal(3, 2, 11)
        floor = Floor.of_each({"": (draws[:10], None)})[""]
        for name in hits:
            low, high = getattr(floor, name)
            hits[name] += low <= draws[10] <= high
    assert hits["likely"] / 4000 == pytest.approx(0.95, abs=0.015)
    assert hits["possible"] / 4000 == pytest.approx(0.99, abs=0.006)


def test_marks_allow_for_few_draws() -> None:
    floor = Floor.of_each({"": (np.linspace(0.08, 0.12, 10), 0.0)})[""]
    info = SubmetricInfo("x", "X", direction="lower", ideal=0.0)
    assert floor.likely is not None
    assert floor.possible is not None
    above, below = floor.likely[1], floor.possible[0]
    assert floor.high < above
    assert [band(v, floor, info) for v in (above - 1e-6, above + 1e-6)] == ["within", "outside"]
    assert [band(v, floor, info) for v in (below + 1e-6, below - 1e-6)] == ["within", "better"]
