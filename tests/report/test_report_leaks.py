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


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return load_run(build_listed(tmp_path_factory.mktemp("leaks") / "run"))


def test_each_person_once_with_the_surest_evidence(listed: Run) -> None:
    people = exposed_people(listed)
    assert set(people) == {("chr20-eur", "patchwork"), ("chr20-eur", "chain")}
    assert people["chr20-eur", "chain"] == []
    first, second = people["chr20-eur", "patchwork"]
    assert (first.sample, first.q, first.cohorts, first.looked_at) == ("HG01", 0.01, 2, 2)
    assert (second.sample, second.q, second.cohorts, second.looked_at) == ("HG02", 0.02, 1, 2)
    assert second.evidence == "longest tract"
    assert dict(first.details) == {"kinship": 0.5}


def test_csv_and_json_have_every_column(listed: Run) -> None:
    people = find_leaks(listed)
    rows = list(csv.DictReader(io.StringIO(render_csv(people))))
    assert [row["sample"] for row in rows] == ["HG01", "HG02"]
    assert rows[0]["kinship"] == "0.5"
    assert rows[0]["generator"] == "patchwork"
    first, second = json.loads(render_json(people))
    assert first["q"] == 0.01
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
