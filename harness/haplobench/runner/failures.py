"""Failures of a stage in words: type, message, and the last lines of the traceback."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
import traceback
from pathlib import Path

from haplobench.errors import BenchError, PluginError
from haplobench.files import printable, shortened
from haplobench.runner.jobs import StageError

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
