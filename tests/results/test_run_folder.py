"""Run folders: found by path, id or suite; series read back by table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from test_records import record

from haplobench import BenchError, FormatError
from haplobench.results.provenance import provenance
from haplobench.results.run_folder import RunFolder, find_runs, resolve_run


def make_run(out: Path, suite: str, run_id: str, records: int = 1) -> RunFolder:
    folder = RunFolder(out / suite / run_id)
    folder.path.mkdir(parents=True)
    (folder.path / "run.json").write_text(json.dumps({"run_id": run_id}))
    if records:
        folder.append([record(seed=i) for i in range(records)])
    return folder


def test_runs_are_found_by_path_id_beginning_or_suite(tmp_path: Path) -> None:
    old = make_run(tmp_path, "1kg", "20260101T000000Z-aaaa")
    new = make_run(tmp_path, "1kg", "20260102T000000Z-bbbb")
    other = make_run(tmp_path, "smoke", "20260103T000000Z-cccc")
    (tmp_path / "1kg" / "stages").mkdir()
    assert [run.path for run in find_runs(tmp_path, "1kg")] == [old.path, new.path]
    assert len(find_runs(tmp_path)) == 3
    assert resolve_run(str(old.path), tmp_path) == old.path
    assert resolve_run("20260101T000000Z-aaaa", tmp_path) == old.path
    assert resolve_run("20260103", tmp_path) == other.path
    assert resolve_run("1kg", tmp_path) == new.path
    # The newest run that has anything to show.
    make_run(tmp_path, "1kg", "20260104T000000Z-dddd", records=0)
    assert resolve_run("1kg", tmp_path) == new.path


def test_what_is_not_there_is_said_with_near_names(tmp_path: Path) -> None:
    make_run(tmp_path, "smoke", "20260101T000000Z-aaaa")
    make_run(tmp_path, "smoke", "20260101T000000Z-bbbb")
    with pytest.raises(BenchError, match="did you mean smoke"):
        resolve_run("smokey", tmp_path)
    make_run(tmp_path, "begun", "20260102T000000Z-cccc", records=0)
    with pytest.raises(BenchError, match=r"no run of 'begun' under .* has records yet"):
        resolve_run("begun", tmp_path)
    with pytest.raises(BenchError, match="fits 2 runs"):
        resolve_run("20260101", tmp_path)
    with pytest.raises(BenchError, match="see `bench run`"):
        resolve_run("anything", tmp_path / "nowhere")
    with pytest.raises(BenchError, match="no run folder"):
        resolve_run("", tmp_path / "smoke")


def test_series_by_table_and_column(tmp_path: Path) -> None:
    run = make_run(tmp_path, "1kg", "r")
    path = run.series_path("cell", 2, "ld-decay")
    path.parent.mkdir(parents=True)
    np.savez(path, **{"curve/bin_bp": np.arange(3), "curve/mean_r2": np.ones(3), "x/y": np.ones(1)})
    tables = run.series(record(series="series/cell/2/ld-decay.npz"))
    assert list(tables) == ["curve", "x"]
    np.testing.assert_array_equal(tables["curve"]["bin_bp"], [0, 1, 2])
    assert run.series(record()) == {}
    with pytest.raises(FormatError, match="can't be read as series"):
        run.series(record(series="series/none.npz"))


def test_run_json_that_is_broken_is_named(tmp_path: Path) -> None:
    run = make_run(tmp_path, "1kg", "r", records=0)
    assert run.records() == []
    (run.path / "run.json").write_text("{")
    with pytest.raises(FormatError, match="run.json: not JSON"):
        run.info()
    (run.path / "run.json").unlink()
    assert run.info() == {}


def test_provenance_of_this_machine() -> None:
    import os
    import platform

    import numpy

    found = provenance()
    assert found.versions["python"] == platform.python_version()
    assert found.versions["numpy"] == numpy.__version__
    assert 1 <= found.hardware["cores"] <= (os.cpu_count() or 1)
    assert found.hardware["memory"] > 1 << 20
    assert len(found.fingerprint) == 16
    assert found.fingerprint == provenance().fingerprint
    json.dumps([found.git, found.versions, found.hardware])


@pytest.mark.parametrize("number", ["Infinity", "-Infinity", "NaN", "1e999"])
def test_a_description_with_a_number_that_is_none_is_refused_by_its_key(
    tmp_path: Path, number: str
) -> None:
    (tmp_path / "run.json").write_text(
        '{"metrics": {"m": {"submetrics": [{"name": "x", "ideal": NUMBER}]}}}'.replace(
            "NUMBER", number
        )
    )
    with pytest.raises(FormatError, match=r"run\.json: metrics\.m\.submetrics\.0\.ideal: expected"):
        RunFolder(tmp_path).info()
