"""Record: one measurement of one cell, one line of JSON; appended whole, read past a torn end."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any, Final, Literal, get_args

import filelock
import msgspec

from haplobench.errors import FormatError

SCHEMA = 1

Role = Literal["generator", "control", "floor", "subsample"]
FLOOR: Final = "floor"
SUBSAMPLE: Final = "subsample"
Status = Literal["ok", "not-applicable", "failed", "timeout", "memory"]
FAILED: dict[str, str] = {"memory": "out of memory", "timeout": "timed out", "failed": "failed"}
"""Statuses of what should have a value and has none, in words; the gravest first."""
Family = Literal["fidelity", "privacy", "utility", "performance"]
FAMILIES: tuple[Family, ...] = get_args(Family)
"""Families of metrics, in the order of tables."""
Phase = Literal["prepare", "fit", "sample", "join", "measure"]


@dataclass(frozen=True, kw_only=True)
class Record:
    """One measurement, or the failure that stands in its place (with `value` None, never NaN).

    Attributes
    ----------
    schema : int
        Version of these columns.
    run_id, suite, suite_digest : str
    dataset, dataset_digest : str
        Label in the suite; SHA-256 of the prepared panels (train and holdout).
    generator : str
        Label in the suite, or `floor` for real people sampled as if synthetic.
    generator_name, generator_version, generator_distribution : str
    role : str
        `generator`, `control` (added by the harness), `floor`, or `subsample`: a cohort of
        `bench evaluate` some people at a time, which is what is held against the floor.
    params_digest : str
    metric, metric_version, metric_distribution, family, submetric : str
        `metric` is empty in a record that stands for a whole cell (a failed fit, say).
    labels : dict
        Tells apart several values of one submetric, for example by superpopulation.
    seed, replicate, world_size : int
        `replicate` counts the draws from one fitted generator.
    cell_id : str
        What was asked (dataset, generator, params, seed, world size); the same across
        commits and machines.
    run_key : str
        `cell_id` with code, locked versions and hardware: what drives resume.
    git_sha, lock_digest, hardware : str
        Provenance; details in the run's `run.json`.
    git_dirty : bool
    value, standard_error : float or None
    n : int or None
    low, high, p, detectable : float or None
        As a metric's `Measurement` has them.
    unit, direction : str
    status, phase : str
    wall_s : float or None
        Seconds that this metric took (or the failed stage, until it failed).
    error_type, error, note : str
        `error` holds the message and the last lines of the traceback.
    series : str
        Path of the tables for figures, relative to the run folder; empty if none.
    started : str
        ISO 8601, UTC.
    """

    run_id: str
    suite: str
    suite_digest: str
    dataset: str
    dataset_digest: str
    generator: str
    generator_name: str
    generator_version: str
    generator_distribution: str
    role: Role
    params_digest: str
    seed: int
    replicate: int
    world_size: int
    cell_id: str
    run_key: str
    git_sha: str
    git_dirty: bool
    lock_digest: str
    hardware: str
    status: Status
    phase: Phase
    started: str
    metric: str = ""
    metric_version: str = ""
    metric_distribution: str = ""
    family: str = ""
    submetric: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    value: float | None = None
    standard_error: float | None = None
    n: int | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    detectable: float | None = None
    unit: str = ""
    direction: str = "info"
    wall_s: float | None = None
    error_type: str = ""
    error: str = ""
    note: str = ""
    series: str = ""
    schema: int = SCHEMA

    def to_json(self) -> str:
        """One line of JSON without its newline; raises ValueError on NaN or infinity."""
        return json.dumps(asdict(self), allow_nan=False, ensure_ascii=False)


# Numbers of the fidelity metrics whose names had hyphens, by metric: underscores since.
HYPHENATED: Mapping[str, tuple[str, ...]] = {
    "allele-frequency": ("rmse-by-maf", "rmse-by-superpopulation", "sites-lost"),
    "allele-frequency-spectrum": ("site-ratio",),
    "ld-decay": ("rmse-centimorgan",),
    "ld-matrix": ("in-window", "cross-border"),
    "long-range-ld": ("three-point", "three-point-mean"),
    "k-mers": ("variant-jsd", "all-jsd", "variant-distinct-ratio"),
    "haplotype-words": tuple(
        f"{name}-{length}"
        for length in (10, 20)
        for name in ("jsd", "pooled-jsd", "coverage", "novel", "distinct-ratio")
    ),
    "pca": (
        "wasserstein-pc",
        "wasserstein-superpopulation",
        *(
            f"{level}-match{of}"
            for level in ("population", "superpopulation")
            for of in ("", "-holdout", "-difference")
        ),
    ),
    "haplotype-statistics": (
        "diversity-ratio",
        "diversity-ratio-superpopulation",
        "pairwise-differences-wasserstein",
        "heterozygosity-ratio",
        "heterozygosity-wasserstein",
        "tajimas-d-difference",
        "tajimas-d-rmse",
        *(f"{name}-rmse" for name in ("h1", "h12", "h123", "h2-h1", "fst")),
        "run-longest-wasserstein",
        "run-total-wasserstein",
        "fst-real-synthetic",
    ),
}


def current_name(metric: str, submetric: str) -> str:
    """The name of a metric's number today; older records, baselines and rules have others."""
    renamed = submetric in HYPHENATED.get(metric, ())
    return submetric.replace("-", "_") if renamed else submetric


_FIELDS = {item.name for item in fields(Record)}
_BY_ANNOTATION: Mapping[str, tuple[type, ...]] = {
    "int": (int,),
    "bool": (bool,),
    "float | None": (int, float, NoneType),
    "int | None": (int, NoneType),
    "Mapping[str, str]": (dict,),
}
_KINDS = {item.name: _BY_ANNOTATION.get(str(item.type), (str,)) for item in fields(Record)}


def append_records(path: Path, records: Iterable[Record]) -> bytes:
    """Append records to a JSONL file, flushed and fsynced, safe against other writers: what is new.

    A torn last line, left by a killed writer, is first ended so that it spoils nothing else.
    """
    text = "".join(record.to_json() + "\n" for record in records)
    if not text:
        return b""
    path.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(f"{path}.lock"), path.open("ab+") as handle:
        if handle.seek(0, os.SEEK_END):
            handle.seek(-1, os.SEEK_END)
            if handle.read(1) != b"\n":
                text = "\n" + text
        # Half a surrogate pair, which UTF-8 can't hold, becomes JSON's escape of it.
        written = text.encode(errors="backslashreplace")
        handle.write(written)
        handle.flush()
        os.fsync(handle.fileno())
    return written


def read_records(path: Path) -> Iterator[Record]:
    """Read records; torn lines that a killed writer left are passed over.

    Raises FormatError, naming file and line, on a line that is JSON but not a record or
    whose schema is newer than this program's.
    """
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if (record := parse_line(line, path, number)) is not None:
                yield record


def parse_line(line: bytes, path: Path, number: int) -> Record | None:
    """A record of a line of a file, None if the line is torn; FormatError as `read_records`."""
    try:
        record: Record = _decoder().decode(line)
        if 1 <= record.schema <= SCHEMA:
            return _as_today(record)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        pass
    # Torn, no record, a newer program's, or one that only the standard library's parser takes.
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        # A line may be torn inside a character, too.
        return None
    return parse_record(row, f"{path}:{number}")


@cache
def _decoder() -> msgspec.json.Decoder[Record]:
    return msgspec.json.Decoder(Record)


def parse_record(row: dict[str, Any], place: str) -> Record:
    """A record of its JSON object; `place` (file and line) stands in errors.

    Raises FormatError if it is none, or of a newer schema.
    """
    check_schema(row.get("schema") if isinstance(row, dict) else None, place)
    try:
        record = Record(**{key: value for key, value in row.items() if key in _FIELDS})
    except TypeError as error:
        raise FormatError(f"{place}: not a whole record: {error}") from None
    check_record(row, place)
    return _as_today(record)


def _as_today(record: Record) -> Record:
    name = current_name(record.metric, record.submetric)
    if name != record.submetric:
        vars(record)["submetric"] = name  # just read, and nobody else's: a copy would cost more
    return record


def check_record(row: Mapping[str, Any], place: str) -> None:
    """Raise FormatError, naming place and column, where a record's column has another type."""
    for name, value in row.items():
        kinds = _KINDS.get(name, (object,))
        if not isinstance(value, kinds) or (isinstance(value, bool) and kinds == (int,)):
            expected = " or ".join(kind.__name__ for kind in kinds).replace("NoneType", "null")
            raise FormatError(f"{place}: {name} is {value!r:.60}, expected {expected}")
        if isinstance(value, dict) and not all(isinstance(v, str) for v in value.values()):
            raise FormatError(f"{place}: labels are {value!r:.60}, expected texts")
        if isinstance(value, float) and not math.isfinite(value):
            raise FormatError(f"{place}: {name} is {value}, expected a number or null")


def check_schema(schema: object, place: str, newest: int = SCHEMA) -> None:
    """Raise FormatError, naming the place, if a line's schema isn't one that this program knows."""
    if not isinstance(schema, int) or schema < 1:
        raise FormatError(f"{place}: not a haplobench record (no schema)")
    if schema > newest:
        raise FormatError(
            f"{place}: schema {schema} is newer than {newest}", hint="upgrade haplobench"
        )
