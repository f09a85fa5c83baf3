"""Reading one run out of a file of records, or a baseline, without holding the whole file."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from haplobench.comparison.measured import Measured, define, gather
from haplobench.comparison.model import Side
from haplobench.errors import BenchError, FormatError, SuiteError
from haplobench.files import parse_json
from haplobench.results.records import check_record, check_schema

_RUN = re.compile(rb'"run_id": ?"((?:[^"\\]|\\.)*)"')


def runs_in(stream: BinaryIO) -> dict[str, list[tuple[int, int]]]:
    """Ids of the runs in a file of records, in their order, with the byte ranges they lie in.

    Looks for the key alone and parses nothing: some hundreds of MB a second.
    """
    found: dict[bytes, list[tuple[int, int]]] = {}
    start = 0
    marker, last = b"", b""
    spans: list[tuple[int, int]] = []
    for line in stream:
        end = start + len(line)
        # Neighbouring lines nearly always belong to the same run: then one look is enough.
        if not (marker and line.startswith(marker)):
            match = _RUN.search(line)
            if match is None:
                start = end
                continue
            last = match[1]
            # Only at a line's beginning is the text sure to be the key and not part of a value.
            marker = line[: match.end()] if match.start() == 1 else b""
            spans = found.setdefault(last, [])
        if spans and spans[-1][1] == start:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
        start = end
    named = {}
    for name, value in found.items():
        with contextlib.suppress(ValueError):  # torn, or no text at all
            named[str(parse_json(b'"' + name + b'"'))] = value
    return named


def read_run(path: Path, run: str, side: Side) -> Measured:
    """Read one run of a file of records.

    Parameters
    ----------
    path : Path
    run : str
        A run's id or its beginning, `-2` for the last but one, or empty for the newest.
    side : Side
        What is known already; the rest is filled in from the records.

    Raises
    ------
    BenchError
        If the file holds no such run.
    FormatError
        If a line is JSON but no record, or its schema is newer than this program's.
    """
    with path.open("rb") as stream:
        found = runs_in(stream)
        name = _choose(list(found), run, path)
        rows = _rows(_lines(stream, found[name]), str(path))
        return gather(rows, side)


def _choose(names: list[str], run: str, path: Path) -> str:
    if not names:
        raise BenchError(f"{path}: no records")
    # Ids begin with the time of their start.
    names = sorted(names)
    if not run:
        return names[-1]
    if re.fullmatch(r"-\d+", run) and 1 <= -int(run) <= len(names):
        return names[int(run)]
    fitting = [name for name in names if name == run] or [n for n in names if n.startswith(run)]
    if len(fitting) != 1:
        listed = ", ".join(fitting[:5] or names[-5:])
        raise BenchError(
            f"{path}: {run!r} fits {len(fitting)} of {len(names)} runs", hint=f"runs: {listed}"
        )
    return fitting[0]


def _lines(stream: BinaryIO, spans: Iterable[tuple[int, int]]) -> Iterator[bytes]:
    for start, end in spans:
        stream.seek(start)
        while stream.tell() < end:
            yield stream.readline()


def _rows(lines: Iterable[bytes], place: str) -> Iterator[Mapping[str, Any]]:
    for line in lines:
        try:
            row = parse_json(line)
        except ValueError:
            continue  # torn by a killed writer
        check_schema(row.get("schema") if isinstance(row, dict) else None, place)
        check_record(row, place)
        try:
            row["dataset"], row["generator"], row["seed"]
        except KeyError as error:
            raise FormatError(f"{place}: not a whole record: no {error}") from None
        yield row


def read_folder(folder: Path, side: Side) -> Measured:
    """Read a run folder: its records, what its metrics mean, its suite's `compare`."""
    from haplobench.marked_yaml import read_marked
    from haplobench.results.run_folder import RunFolder

    run = RunFolder(folder)
    if not run.records_path.is_file():
        raise BenchError(f"{folder}: no records.jsonl", hint="see `bench run`")
    measured = read_run(run.records_path, "", side)
    describe(measured, run.info())
    try:
        tree = read_marked(folder / "suite.yaml", str(folder / "suite.yaml"))
    except SuiteError:
        return measured
    settings = tree.root.get("compare")
    measured.settings = settings if isinstance(settings, dict) else None
    return measured


def describe(measured: Measured, info: Mapping[str, Any]) -> None:
    """Add what a run.json says: definitions of the metrics, what can't repeat, the machine."""
    measured.definitions = define(info.get("metrics") or {})
    generators = info.get("generators") or {}
    for (_, label), cohort in measured.cohorts.items():
        plain = label.removesuffix(f" ({cohort.world_size} ranks)")
        cohort.unrepeatable = str((generators.get(plain) or {}).get("unrepeatable") or "")
    status = info.get("status") or "complete"
    measured.side = replace(measured.side, complete=status == "complete")
    hardware = info.get("hardware") or {}
    if hardware.get("cpu"):
        gpus = "".join(f", {gpu.get('name')}" for gpu in hardware.get("gpus") or ())
        machine = f"{hardware['cpu']}, {hardware.get('cores')} cores{gpus}"
        measured.side = replace(measured.side, machine=measured.side.machine or machine)
