"""The one reader: which records count, one run of a file of many, texts that can't command."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_records import record

from haplobench.errors import BenchError, FormatError
from haplobench.results.records import Record, append_records
from haplobench.results.table import latest, load_run, read, read_run, read_runs, why

RECORDS = st.lists(
    st.builds(
        lambda **given: record(**given),
        seed=st.integers(1, 2),
        replicate=st.integers(0, 1),
        metric=st.sampled_from(["", "m"]),
        submetric=st.sampled_from(["", "x", "y"]),
        run_key=st.sampled_from(["k", "l"]),
        status=st.sampled_from(["ok", "failed", "not-applicable"]),
        labels=st.sampled_from([{}, {"a": "1", "b": "2"}, {"b": "2", "a": "1"}]),
    ).filter(lambda row: (row.metric or not row.submetric) and (row.submetric or not row.labels)),
    max_size=12,
)


def replaces(new: Record, old: Record) -> bool:
    """The rules pair by pair, of a record that was written after another."""
    if (new.dataset, new.generator, new.world_size, new.seed) != (
        old.dataset, old.generator, old.world_size, old.seed
    ):  # fmt: skip
        return False
    if not old.metric:
        again = not new.metric and new.replicate == old.replicate
        return again or bool(new.metric and new.status == "ok")
    if (new.metric, new.replicate) != (old.metric, old.replicate):
        return False
    of_whole = not new.submetric and new.status != "ok"
    same = (new.submetric, new.labels) == (old.submetric, old.labels)
    told_in_detail = bool(not old.submetric and new.submetric)
    return new.run_key != old.run_key or of_whole or same or told_in_detail


@given(RECORDS)
def test_what_counts_is_what_nothing_later_replaces(rows: list[Record]) -> None:
    expected = [
        old for at, old in enumerate(rows) if not any(replaces(new, old) for new in rows[at + 1 :])
    ]
    found = latest(rows)
    assert [id(row) for row in found] == [id(row) for row in expected]
    assert latest(found) == found


def test_a_table_counts_what_was_written_and_torn(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    append_records(path, [record(metric="m", submetric="x", value=v) for v in (1.0, 2.0)])
    with path.open("a") as stream:
        stream.write('{"schema": 1, "run_id": "r", "val')
    table = read(path)
    assert [row.value for row in table.records] == [2.0]
    assert table.first is not None
    assert (table.first.value, table.n_records, table.torn) == (1.0, 2, 1)


def test_runs_of_one_file_are_read_apart_however_they_are_mixed(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    for seed in (1, 2):
        for run in ("2026a", "2026b"):
            append_records(path, [record(run_id=run, seed=seed, metric="m", submetric="x")])
    read_in = {table.records[0].run_id: table for table in read_runs([path]) if table.records}
    assert set(read_in) == {"2026a", "2026b"}
    for run, table in read_in.items():
        assert [row.seed for row in table.records] == [1, 2]
        assert read_run(path, run).records == table.records
    assert read_run(path).records == read_in["2026b"].records
    assert read_run(path, "-2").records == read_in["2026a"].records
    with pytest.raises(BenchError, match="'2026' fits 2 of 2 runs"):
        read_run(path, "2026")


def test_a_line_that_is_no_record_is_named_by_its_number(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text(record().to_json() + '\n{"run_id": "r", "schema": 1}\n')
    for reader in (read, read_run, lambda path: list(read_runs([path]))):
        with pytest.raises(FormatError, match=r"records\.jsonl:2: not a whole record"):
            reader(path)


def test_texts_cannot_command_a_terminal(tmp_path: Path) -> None:
    hostile = {"pop\x1b[2J": "\u202eEUR"}
    row = record(generator="\x1b]0;x\x07", metric="m", submetric="x", labels=hostile, value=1.0)
    append_records(tmp_path / "records.jsonl", [row])
    (found,) = read(tmp_path / "records.jsonl").records
    assert found.generator == "\\x1b]0;x\\x07"
    assert dict(found.labels) == {"pop\\x1b[2J": "\\u202eEUR"}
    run = load_run(tmp_path)
    assert list(run.cohorts) == ["\\x1b]0;x\\x07"]


def test_an_error_is_one_line() -> None:
    trace = "Traceback (most recent call last):\n  File x\nValueError: no"
    assert why("ValueError", trace) == "ValueError: no"
    assert why("ValueError", "shapes differ\nTraceback …") == "ValueError: shapes differ"
    assert why("OSError", "it said:\ndisk full") == "OSError: it said: disk full"
    assert why("E", "x" * 400).endswith("…")
    assert len(why("E", "x" * 400)) == 160
