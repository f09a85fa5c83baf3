"""Failures of a stage in words: type, message, and the last lines of the traceback."""

from __future__ import annotations

import errno
import os
import tempfile
import traceback
from pathlib import Path

from haplobench.errors import BenchError, PluginError
from haplobench.runner.jobs import StageError

_LINES = 12
# Bytes: a model or a cohort needs more.
_PROBE = 1 << 16
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


def describe_error(error: BaseException) -> StageError:
    """A failure as it goes into a record.

    A mistake of the user's is its one line; anything else its message, followed by the last
    lines of the traceback.
    """
    name = type(error).__name__
    user = isinstance(error, BenchError) and not isinstance(error, PluginError)
    text = str(error) or name
    if isinstance(error, SystemExit):
        text = f"the plugin called exit({error.code})"
    if isinstance(error, OSError) and error.filename and not isinstance(error, BenchError):
        text = f"{error.filename}: {error.strerror}"
    if not isinstance(error, BenchError):
        lines = "".join(traceback.format_exception(error)).rstrip().splitlines()
        text = "\n".join([text, *lines[-_LINES:]])
    return StageError(name, text, user)


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


def last_lines(log: Path, n: int = _LINES) -> str:
    """The last lines that a stage printed; empty if it printed nothing."""
    try:
        with log.open("rb") as handle:
            handle.seek(0, 2)
            handle.seek(max(0, handle.tell() - 16_384))
            text = handle.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.rstrip().splitlines()[-n:])
