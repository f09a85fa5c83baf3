"""Lists of people: each once, with the surest evidence, and how many cohorts give them away."""

import csv
import io
import json
from pathlib import Path

import pytest
from leaks_fixture import build_listed
from report_fixture import build_run

from haplobench.errors import BenchError
from haplobench.report.leaks import exposed_people, find_leaks, render_csv, render_json
from haplobench.results.table import Run, load_run
from haplobench.suite.schema import VerdictSettings

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
