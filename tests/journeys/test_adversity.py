"""The real program on bad ground: two at once, a full disk, a folder that can't be written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from haplobench.results.records import SCHEMA, append_records, parse_record, read_records

SUITE = """
name: tiny
seeds: [1]
datasets:
  - name: embedded
    label: chr20
    params: {region: "20:1000000-1100000"}
    filters: {min_maf: 0.05}
generators: [markov]
metrics: [allele-frequency]
floor: {draws: 2}
"""
PROGRAM = "from haplobench.cli import main; main()"
WRITER = """
import dataclasses, json, sys
from pathlib import Path
from haplobench.results.records import append_records, parse_record
path, base, run = sys.argv[1:]
one = parse_record(json.loads(base), "here")
for draw in range(100):
    append_records(Path(path), [dataclasses.replace(one, run_id=run, replicate=draw)])
"""
# Less than the run needs: it fails while it fits and samples, or already while it prepares.
TOO_SMALL = ("500k", "700k", "150k")


def bench(suite: Path, out: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "run", str(suite), "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "400"},
    )


def values(run: Path) -> list[tuple[str, ...]]:
    rows = [item for item in read_records(run / "records.jsonl") if item.family != "performance"]
    return sorted(
        (r.generator, str(r.replicate), r.metric, r.submetric, repr(r.value), repr(r.labels))
        for r in rows
    )


def finished(out: Path) -> list[Path]:
    descriptions = sorted(out.glob("tiny/*/run.json"))
    status = [json.loads(path.read_text())["status"] for path in descriptions]
    return [p.parent for p, s in zip(descriptions, status, strict=True) if s == "complete"]


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(SUITE)
    return path


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """An empty folder on which a file system of a chosen size is mounted, by root alone."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={TOO_SMALL[0]}", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


@pytest.mark.slow
def test_two_programs_write_into_one_folder_of_results(suite: Path, tmp_path: Path) -> None:
    out = tmp_path / "results"
    both = [bench(suite, out) for _ in range(2)]
    for process in both:
        _, errors = process.communicate(timeout=200)
        assert process.returncode == 0, errors
    runs = finished(out)
    assert len(runs) == 2
    assert values(runs[0]) == values(runs[1])


def test_programs_append_to_one_file_of_records_and_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    # Columns that hold text, whichever.
    texts = (
        *("run_id", "suite", "suite_digest", "dataset", "dataset_digest", "generator"),
        *("generator_name", "generator_version", "generator_distribution", "params_digest"),
        *("cell_id", "run_key", "git_sha", "lock_digest", "hardware", "started"),
    )
    base: dict[str, object] = {name: name for name in texts}
    base |= {"schema": SCHEMA, "role": "generator", "seed": 1, "replicate": 0, "world_size": 1}
    base |= {"git_dirty": False, "status": "ok", "phase": "measure", "value": 0.5}
    append_records(path, [parse_record(base, "here")])
    with path.open("a") as stream:
        stream.write('{"schema": 1, "run_id": "killed while writi')
    both = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), json.dumps(base), run])
        for run in ("one", "two")
    ]
    assert [process.wait(timeout=100) for process in both] == [0, 0]
    found = {(item.run_id, item.replicate) for item in read_records(path)}
    assert len(found) == 201


@pytest.mark.slow
@pytest.mark.parametrize("size", TOO_SMALL)
def test_a_full_disk_is_named_and_the_run_goes_on_once_there_is_room(
    suite: Path, small_disk: Path, tmp_path: Path, size: str
) -> None:
    remount(small_disk, f"size={size}")
    process = bench(suite, small_disk)
    _, errors = process.communicate(timeout=200)
    lines = [line for line in errors.splitlines() if line.startswith("error:")]
    assert process.returncode == 2, errors
    assert len(lines) == 1
    assert "No space left on device" in lines[0]
    assert "Traceback" not in errors
    before = {path: values(path.parent) for path in small_disk.glob("tiny/*/records.jsonl")}
    remount(small_disk, "size=60m")
    process = bench(suite, small_disk)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    # What had been measured stands, and the newest run is whole.
    for path, kept in before.items():
        assert set(kept) <= set(values(path.parent))
    run = finished(small_disk)[-1]
    whole = tmp_path / "whole"
    assert bench(suite, whole).wait(timeout=200) == 0
    assert values(finished(whole)[0]) == values(run)


def test_a_folder_that_cannot_be_written_is_one_line(suite: Path, small_disk: Path) -> None:
    remount(small_disk, "ro")
    process = bench(suite, small_disk)
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 2
    assert "Read-only file system" in errors
    assert errors.count("\n") == 1
