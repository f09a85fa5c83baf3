"""A job: everything that a stage's process is told, as one JSON file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

Stage = Literal["prepare", "fit", "sample", "measure"]

# Exit codes of a stage's process, beside 0 for done.
EXIT_FAILED = 1
EXIT_NO_SPACE = 74


@dataclass(frozen=True, kw_only=True)
class Job:
    """One stage, to be done by one process (later: by `world_size` of them).

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
    threads, rank, world_size : int
    torch : bool
        Whether the plugin imports torch, so that a GPU is worth looking for.
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
    torch: bool = False
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


@dataclass(frozen=True)
class StageError:
    """Why a stage failed.

    `error` is the message with the last lines of the traceback; `user` marks a mistake that
    the user can mend (a BenchError).
    """

    error_type: str
    error: str
    user: bool = False

    def write(self, path: Path) -> None:
        """Write as JSON."""
        path.write_text(json.dumps(asdict(self)) + "\n")

    @classmethod
    def read(cls, path: Path) -> StageError | None:
        """Read what `write` wrote; None if there is nothing whole."""
        try:
            return cls(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError):
            return None
