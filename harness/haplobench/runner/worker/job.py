"""A job: everything that a stage's process is told, as one JSON file, and the facts it hands back.

Facts are dataclasses, written as JSON by the process and read again by `haplobench.files.read_as`;
the prepare stage's are `haplobench.data.prepared.PrepareFacts`.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import tempfile
import time
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from haplobench.errors import BenchError, FormatError, PluginError, shortened
from haplobench.files import printable, read_as, write_json

STAGE_FILE = "stage.json"
"""In a stage's output: its facts, with the stage, the store's generation and its threads."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a piece of work cost.

    `wall` and `cpu` seconds; `base_rss`, `peak_rss` bytes resident before it and at most;
    `peak_gpu_memory` bytes, None where no GPU was used.
    """

    wall: float
    cpu: float
    base_rss: int
    peak_rss: int
    peak_gpu_memory: int | None


@dataclass(frozen=True, kw_only=True)
class RankWork(Work):
    """One rank's work; `gpu_*` as `GPUWatch.facts`, `communication` as `Counters.facts`."""

    rank: int
    gpu_utilisation: float | None
    gpu_energy: float | None
    gpu_note: str
    communication: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class FitFacts(Work):
    """All ranks' work together, and each one's; `profile` as `Profile.facts`, None if unasked."""

    ranks: tuple[RankWork, ...]
    profile: Mapping[str, Any] | None = None

    def plain(self) -> dict[str, Any]:
        """As plain values; without a profile where none was asked for."""
        values = asdict(self)
        if self.profile is None:
            del values["profile"]
        return values


@dataclass(frozen=True, kw_only=True)
class DrawFacts(FitFacts):
    """What drawing a cohort cost, and the cohort: `span` in bp, `digest` of its panel."""

    n_haplotypes: int
    n_sites: int
    span: int
    phased: bool
    digest: str


@dataclass(frozen=True)
class SampleFacts:
    """The cohorts that were drawn; none of them in a shadow."""

    draws: tuple[DrawFacts, ...]


@dataclass(frozen=True)
class JoinFacts:
    """The digests of joined cohorts, by their names: `draw0`, … and `train`."""

    digests: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class MeasurementFacts:
    """One number as it goes into a record; `problem` says why its value isn't one."""

    submetric: str
    value: float | None
    n: int | None
    standard_error: float | None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    detectable: float | None = None
    labels: Mapping[str, str]
    note: str
    problem: str


@dataclass(frozen=True, kw_only=True)
class MeasureFacts:
    """One metric of one cohort: `started` ISO 8601, `wall` seconds, `series` whether there are any.

    `generation`: of the store, see `StageStore`.
    """

    generation: int = 0
    metric: str
    started: str
    wall: float
    series: bool
    measurements: tuple[MeasurementFacts, ...]


@dataclass(frozen=True)
class MetricError:
    """Why a metric of one cohort gave nothing, after `wall` seconds."""

    error_type: str
    error: str
    wall: float


Stage = Literal["prepare", "fit", "sample", "join", "measure"]

# Exit codes of a stage's process, beside 0 for done.
EXIT_FAILED = 1
EXIT_NO_SPACE = 74


@dataclass(frozen=True, kw_only=True)
class Job:
    """One stage, to be done by one process or, together, by `world_size` of them.

    Attributes
    ----------
    stage : str
    plugins : tuple of str
        Modules of the plugins that the stage needs, and no others.
    name : str
        Of the dataset or generator; empty in the measure and join stages.
    params : dict
        Validated, complete.
    seed : int
    output : str
        Existing empty folder to write into.
    scratch, artifacts : str
        Existing folders, see `RunContext`.
    status : str
        File in which the process tells how far it is, see `Heartbeat`.
    error : str
        File in which it explains a failure, see `StageError`.
    time_limit : float
        Seconds.
    threads, world_size : int
    rank, local_rank, local_size : int
        Of the process that reads it, see `as_rank`.
    backend : str
        What carries the ranks' group: `torch` or `horovod`.
    meeting : str
        File through which the ranks find each other, see `haplobench.distributed.backends`.
    checkpoint : str
        Folder kept until the stage is done, see `RunContext`; empty: none.
    generation : int
        Of the store, see `StageStore`: what the stage leaves is of it.
    torch, gpu : bool
        Whether the plugin imports torch; whether each rank is to have a GPU where there are any.
    sandboxed : bool
        Whether the process is in a sandbox.
    paths : tuple of str
        Where Python looks for modules.
    settings : dict
        What the stage alone needs, see its module.
    """

    stage: Stage
    plugins: tuple[str, ...]
    output: str
    scratch: str
    artifacts: str
    status: str
    error: str
    time_limit: float
    name: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    threads: int = 1
    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_size: int = 1
    backend: Literal["torch", "horovod"] = "torch"
    meeting: str = ""
    checkpoint: str = ""
    generation: int = 0
    torch: bool = False
    gpu: bool = False
    sandboxed: bool = False
    paths: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write as JSON."""
        path.write_text(json.dumps(asdict(self)) + "\n")

    @classmethod
    def read(cls, path: Path) -> Job:
        """Read what `write` wrote."""
        values = json.loads(path.read_text())
        values["plugins"] = tuple(values["plugins"])
        values["paths"] = tuple(values["paths"])
        return cls(**values)

    def as_rank(self) -> Job:
        """The job for this process, by torchrun's environment variables; files of its own."""
        if self.world_size == 1:
            return self
        rank = int(os.environ["RANK"])
        return replace(
            self,
            rank=rank,
            local_rank=int(os.environ["LOCAL_RANK"]),
            local_size=int(os.environ["LOCAL_WORLD_SIZE"]),
            status=str(_of_rank(Path(self.status), rank)),
            error=str(_of_rank(Path(self.error), rank)),
        )

    def failure(self, first: int | None = None) -> StageError | None:
        """What the rank that failed first says of it; None if it says nothing.

        `first`: the rank whose process ended first, if known: where it left without a word,
        what others say of it is no explanation.
        """
        ranks = range(self.world_size)
        errors = {rank: StageError.read(_of_rank(Path(self.error), rank)) for rank in ranks}
        if first is not None and errors[first] is None:
            return None
        return min(filter(None, errors.values()), key=lambda error: error.at, default=None)


def _of_rank(path: Path, rank: int) -> Path:
    return path.with_name(f"{path.stem}.rank{rank}{path.suffix}") if rank else path


@dataclass(frozen=True)
class StageError:
    """Why a stage failed.

    `error` is the message with the last lines of the traceback; `user` marks a mistake that
    the user can mend (a BenchError). `rank` is whose it is, `at` when (`time.time()`).
    """

    error_type: str
    error: str
    user: bool = False
    rank: int = 0
    at: float = field(default_factory=time.time)

    def write(self, path: Path) -> None:
        """Write as JSON, in the place of whatever is there."""
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> StageError | None:
        """Read what `write` wrote; None if there is nothing whole."""
        try:
            return read_as(cls, path)
        except (FileNotFoundError, FormatError):
            return None


_LINES = 12
# Characters of a message, and of a line that a stage printed.
_MESSAGE = 2_000
# Bytes of a log from which on it is cut, and of its beginning and of its end that then stay.
_LARGE_LOG = 8 << 20
_KEPT = 1 << 20
# Bytes: a model or a cohort needs more.
_PROBE = 1 << 16
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


def describe_error(error: BaseException) -> StageError:
    """A failure as it goes into a record.

    A mistake of the user's is its one line; anything else its message, followed by the last
    lines of the traceback. Long messages are cut, and control characters shown as escapes.
    """
    name = printable(type(error).__name__)[:_MESSAGE]
    user = isinstance(error, BenchError) and not isinstance(error, PluginError)
    text = _message(error) or name
    if isinstance(error, SystemExit):
        text = f"the plugin called exit({error.code})"
    if isinstance(error, OSError) and error.filename and not isinstance(error, BenchError):
        text = shortened(f"{error.filename}: {error.strerror}", _MESSAGE)
    if not isinstance(error, BenchError):
        lines = "".join(traceback.format_exception(error)).rstrip().splitlines()
        text = "\n".join([text, *(shortened(line, _MESSAGE) for line in lines[-_LINES:])])
    return StageError(name, printable(text), user)


def one_line(error: BaseException) -> str:
    """Type and message of an error, in one line."""
    return shortened(printable(f"{type(error).__name__}: {' '.join(_message(error).split())}"), 300)


def _message(error: BaseException) -> str:
    """What an error says, in bounds: a plugin's may be a whole array, or raise another error."""
    try:
        return shortened(str(error), _MESSAGE)
    except Exception as trouble:
        return f"(its message can't be had: {type(trouble).__name__})"


def is_no_space(error: BaseException) -> bool:
    """Whether an error says that files can't be written at all: disk full or read-only."""
    return isinstance(error, OSError) and error.errno in _NO_SPACE


def is_full(folder: Path) -> bool:
    """Whether a folder can take nothing more: disk full, quota used up, or read-only.

    A process on a full disk may die in ways that don't say so: numpy's message has no error
    number, a mapped page kills by SIGBUS, and the report of the failure can't be written.
    """
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(_PROBE))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        return is_no_space(error)
    return False


def shorten_log(log: Path) -> None:
    """Leave out the middle of a log that has grown large, and say so in its place.

    The processes that print into it go on at its end, wherever that is.
    """
    with contextlib.suppress(OSError):
        size = log.stat().st_size
        if size <= _LARGE_LOG:
            return
        with log.open("r+b") as handle:
            handle.seek(size - _KEPT)
            tail = handle.read(_KEPT)
            gap = size - _KEPT - len(tail)
            handle.seek(_KEPT)
            handle.write(f"\n[haplobench: {gap:,} bytes left out here]\n".encode() + tail)
            handle.truncate()


def last_lines(log: Path, n: int = _LINES) -> str:
    """The last lines that a stage printed; empty if it printed nothing."""
    try:
        with log.open("rb") as handle:
            handle.seek(0, 2)
            handle.seek(max(0, handle.tell() - 16_384))
            text = handle.read().decode(errors="replace")
    except OSError:
        return ""
    lines = printable(text).rstrip().splitlines()[-n:]
    return "\n".join(shortened(line, _MESSAGE) for line in lines)
