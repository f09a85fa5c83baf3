"""A job: everything that a stage's process is told, as one JSON file."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from haplobench.files import parse_json, read_regular, write_json

Stage = Literal["prepare", "fit", "sample", "measure"]

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
        Of the dataset or generator; empty in the measure stage.
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
        File through which the ranks find each other, see `haplobench.distributed.rendezvous`.
    checkpoint : str
        Folder kept until the stage is done, see `RunContext`; empty: none.
    generation : int
        Of the store, see `StageStore`: what the stage leaves is of it.
    torch, gpu : bool
        Whether the plugin imports torch; whether each rank is to have a GPU where there are any.
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
        found = {rank: StageError.read(_of_rank(Path(self.error), rank)) for rank in ranks}
        if first is not None and found[first] is None:
            return None
        told = [error for error in found.values() if error]
        return min(told, key=lambda error: error.at, default=None)


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
            return cls(**parse_json(read_regular(path)))
        except (OSError, ValueError, TypeError):
            return None
