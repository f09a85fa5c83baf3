"""Records: written whole, read past torn lines, safe against other writers."""

from __future__ import annotations

import json
import math
import multiprocessing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haplobench import FormatError
from haplobench.results.records import Record, append_records, read_records


def record(**more: Any) -> Record:
    given: dict[str, Any] = {
        "run_id": "r",
        "suite": "s",
        "suite_digest": "d",
        "dataset": "chr20",
        "dataset_digest": "x",
        "generator": "markov",
        "generator_name": "markov",
        "generator_version": "1",
        "generator_distribution": "haplobench 0.1.0",
        "role": "generator",
        "params_digest": "p",
        "seed": 1,
        "replicate": 0,
        "world_size": 1,
        "cell_id": "c",
        "run_key": "k",
        "git_sha": "",
        "git_dirty": False,
        "lock_digest": "l",
        "hardware": "h",
        "status": "ok",
        "phase": "measure",
        "started": "2026-01-01T00:00:00+00:00",
    }
    return Record(**{**given, **more})


@given(
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
    st.dictionaries(st.text(max_size=5), st.text(max_size=5)),
)
def test_a_record_reads_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, value: float, note: str, labels: dict[str, str]
) -> None:
    path = tmp_path_factory.mktemp("r") / "records.jsonl"
    written = record(value=value, note=note, labels=labels)
    append_records(path, [written])
    assert list(read_records(path)) == [written]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_not_written(tmp_path: Path, value: float) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        append_records(tmp_path / "records.jsonl", [record(value=value)])
    assert not (tmp_path / "records.jsonl").exists()


@pytest.mark.parametrize("place", ["markov", "generator_name", "dataset_digest"])
def test_a_line_that_is_not_text_is_passed_over(tmp_path: Path, place: str) -> None:
    path = tmp_path / "records.jsonl"
    append_records(path, [record(seed=1), record(seed=2)])
    first, second = path.read_bytes().splitlines(keepends=True)
    torn = first.replace(place.encode(), place.encode()[:-1] + b"\xa2")
    path.write_bytes(torn + second)
    assert [found.seed for found in read_records(path)] == [2]


def test_a_torn_last_line_spoils_neither_what_came_before_nor_what_comes_after(
    tmp_path: Path,
) -> None:
    path = tmp_path / "records.jsonl"
    append_records(path, [record(value=1.0), record(value=2.0)])
    path.write_bytes(path.read_bytes()[:-30])
    assert [r.value for r in read_records(path)] == [1.0]
    append_records(path, [record(value=3.0)])
    assert [r.value for r in read_records(path)] == [1.0, 3.0]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"schema": 99}', "records.jsonl:2: schema 99 is newer than 1"),
        ('{"value": 1}', "records.jsonl:2: not a haplobench record"),
        ("[1, 2]", "records.jsonl:2: not a haplobench record"),
        ('{"schema": 1}', "records.jsonl:2: not a whole record"),
    ],
)
def test_lines_that_are_no_records(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text(record().to_json() + "\n" + line + "\n")
    with pytest.raises(FormatError, match=says):
        list(read_records(path))


def test_columns_of_a_later_program_of_the_same_schema_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text(json.dumps({**json.loads(record().to_json()), "extra": 1}) + "\n")
    assert list(read_records(path)) == [record()]


def _write(path: Path, writer: int) -> None:
    for i in range(25):
        append_records(path, [record(seed=writer, replicate=i), record(seed=writer, replicate=i)])


def test_two_writers_do_not_tear_each_others_lines(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write, args=(path, i)) for i in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    lines = path.read_text().splitlines()
    assert len(lines) == 100
    found = [(r.seed, r.replicate) for r in read_records(path)]
    assert sorted(found) == sorted((w, i) for w in range(2) for i in range(25) for _ in range(2))
    # What was appended at once stands together.
    assert all(found[i] == found[i + 1] for i in range(0, 100, 2))
