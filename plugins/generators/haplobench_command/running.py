"""Running a program: no shell unless asked, a small environment, errors that quote it."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

from haplobench import BenchError, RunContext
from haplobench_command.params import CommandLines, FitShell, SampleShell
from haplobench_command.placeholders import fill

_TAIL_LINES = 12
_TAIL_BYTES = 4096
_KEPT = ("PATH", "LD_LIBRARY_PATH", "LANG")
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def run(
    stage: str,
    line: list[str] | FitShell | SampleShell,
    values: Mapping[str, object],
    params: CommandLines,
    ctx: RunContext,
    *,
    output: Path | None = None,
) -> None:
    """Run a stage's command until it ends; the harness ends it, with this process, in time.

    Parameters
    ----------
    stage : str
        `fit` or `sample`, for messages.
    line : list of str, FitShell or SampleShell
    values : mapping
        Of the placeholders.
    params : CommandLines
    ctx : RunContext
    output : Path or None
        Takes what the program prints; None: it goes to the log with its complaints.

    Raises
    ------
    BenchError
        If it can't be started or exits other than 0, with the last lines of its stderr.
    """
    if isinstance(line, list):
        arguments = [fill(word, values) for word in line]
    else:
        arguments = ["/bin/sh", "-e", "-u", "-c", fill(line.shell, values, quoted=True)]
    shown = shlex.join(arguments) if isinstance(line, list) else arguments[-1]
    ctx.log.info("%s: %s", stage, shown)
    complaints = ctx.scratch / f"{stage}.stderr"
    try:
        with complaints.open("wb") as errors, (output or Path(os.devnull)).open("wb") as printed:
            done = subprocess.run(
                arguments,
                cwd=params.folder,
                env=_environment(params, ctx),
                stdin=subprocess.DEVNULL,
                stdout=printed if output else errors,
                stderr=errors,
                check=False,
            )
    except OSError as error:
        raise BenchError(
            f"command {stage}: {arguments[0]} can't be started: {error.strerror}"
        ) from None
    tail = _tail(complaints)
    if done.returncode:
        ended = (
            f"was ended by signal {-done.returncode}"
            if done.returncode < 0
            else f"exited with {done.returncode}"
        )
        raise BenchError(f"command {stage}: `{shown}` {ended}; its last words:\n{tail}")
    for text in tail.splitlines():
        ctx.log.info("%s: %s", stage, text)


def _environment(params: CommandLines, ctx: RunContext) -> dict[str, str]:
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    folders = dict.fromkeys(("HOME", "TMPDIR"), str(ctx.scratch))
    threads = dict.fromkeys(_THREADS, str(ctx.threads))
    return kept | folders | threads | dict(params.environment)


def _tail(path: Path) -> str:
    with path.open("rb") as handle:
        handle.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        text = handle.read().decode(errors="replace")
    return "\n".join(text.strip().splitlines()[-_TAIL_LINES:]) or "(it said nothing)"
