"""The folder of a run: records, description, series; and how to find one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haplobench.errors import BenchError, FormatError
from haplobench.files import near_names, parse_json, read_regular
from haplobench.results.description import check_description
from haplobench.results.records import Record, append_records, current_name, read_records

RECORDS = "records.jsonl"
DESCRIPTION = "run.json"
_LARGEST = 64 << 20


@dataclass(frozen=True)
class RunFolder:
    """A run's folder, `results/<suite>/<run_id>/`: records, run.json, suite.yaml, series."""

    path: Path

    @property
    def run_id(self) -> str:
        """The run's id: the folder's name."""
        return self.path.name

    @property
    def records_path(self) -> Path:
        """The run's records."""
        return self.path / RECORDS

    def info(self) -> dict[str, Any]:
        """run.json; empty if the run was killed before it was written.

        Raises FormatError if it isn't JSON, or has other types than readers expect.
        """
        path = self.path / DESCRIPTION
        try:
            value = parse_json(read_regular(path, _LARGEST))
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise FormatError(f"{path}: can't be read: {error.strerror}") from None
        except ValueError as error:
            raise FormatError(f"{path}: not JSON: {error}") from None
        info = check_description(value, path)
        for metric, entry in (info.get("metrics") or {}).items():
            for number in entry.get("submetrics") or ():
                number["name"] = current_name(metric, number.get("name") or "")
        return info

    def records(self) -> list[Record]:
        """All records, in the order in which they were written; torn lines are passed over."""
        if not self.records_path.is_file():
            return []
        return list(read_records(self.records_path))

    def append(self, records: Iterable[Record]) -> bytes:
        """Append records, flushed to disk: the bytes that were written."""
        return append_records(self.records_path, records)

    def series_path(self, cell_id: str, replicate: int, metric: str) -> Path:
        """Where the tables of one metric of one cohort lie."""
        return self.path / "series" / cell_id / str(replicate) / f"{metric}.npz"

    def series(self, record: Record, only: str = "") -> dict[str, dict[str, NDArray[Any]]]:
        """The tables that belong to a record, by table and column; empty if it has none.

        `only`: read no other table than that of this name.
        """
        if not record.series:
            return {}
        tables: dict[str, dict[str, NDArray[Any]]] = {}
        path = self.path / record.series
        try:
            with np.load(path) as stored:
                for key in stored.files:
                    table, _, column = key.partition("/")
                    if only and table != only:
                        continue
                    tables.setdefault(table, {})[column] = stored[key]
        except (OSError, ValueError) as error:
            raise FormatError(f"{path}: can't be read as series: {error}") from None
        return tables


def find_runs(out: Path, suite: str | None = None) -> list[RunFolder]:
    """Runs under a folder of results, oldest first; of one suite, or of all."""
    suites = [out / suite] if suite else (sorted(out.iterdir()) if out.is_dir() else [])
    found = [
        RunFolder(folder)
        for parent in suites
        if parent.is_dir()
        for folder in parent.iterdir()
        if (folder / DESCRIPTION).is_file()
    ]
    return sorted(found, key=lambda run: (run.run_id, run.path))


def resolve_run(text: str | Path, out: Path | str = Path("results")) -> Path:
    """The folder that a user means.

    Parameters
    ----------
    text : str or Path
        A run folder, a run's id (or the beginning of just one), a suite's name for its newest
        run with records, or `SUITE@RUN`: one of the suite's by the beginning of its id, or
        counted from the newest (`smoke@-1`, `smoke@-2`).
    out : Path
        The folder that holds the runs.

    Raises
    ------
    BenchError
        If there is none, with near names; or if the beginning fits several.
    """
    path, out = Path(text), Path(out)
    if (path / RECORDS).is_file() or (path / DESCRIPTION).is_file():
        return path
    name = str(text)
    runs = find_runs(out)
    with_records = [run for run in runs if run.records_path.is_file()]
    suite, at, which = name.rpartition("@")
    of_suite = [run for run in with_records if run.path.parent.name == (suite or name)]
    if of_suite:
        return _of_suite(name, of_suite, (which if at else "") or "-1")
    exact = [run for run in runs if run.run_id == name]
    fitting = exact or [run for run in runs if name and run.run_id.startswith(name)]
    if len(fitting) == 1:
        return fitting[0].path
    if len(fitting) > 1:
        listed = ", ".join(str(run.path) for run in fitting[:5])
        raise BenchError(f"{name!r} fits {len(fitting)} runs: {listed}", hint="name one of them")
    names = [run.run_id for run in runs] + [run.path.parent.name for run in runs]
    if (suite or name) in names:
        raise BenchError(
            f"no run of {suite or name!r} under {out} has records yet",
            hint="`bench run` with the same suite goes on with one that was interrupted",
        )
    raise BenchError(
        f"no run folder, run id or suite with runs is called {name!r} under {out}",
        hint=near_names(name, names, lead="") or "see `bench run`",
    )


def _of_suite(name: str, runs: Sequence[RunFolder], which: str) -> Path:
    """One of a suite's runs (oldest first), see `resolve_run`."""
    if re.fullmatch(r"-[1-9]\d*", which) and int(which[1:]) <= len(runs):
        return runs[int(which)].path
    fitting = [run for run in runs if which and run.run_id.startswith(which)]
    if len(fitting) == 1:
        return fitting[0].path
    raise BenchError(
        f"{name}: {which!r} fits {len(fitting)} of {len(runs)} runs",
        hint=f"runs: {', '.join(run.run_id for run in (fitting or runs)[-5:])}",
    )
