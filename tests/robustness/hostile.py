"""Generators that do what no plugin should: each in its own way, in `fit` or in `sample`."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from haplobench import GeneratorSpec, Params, hookimpl

MIB = 1 << 20


class HostileParams(Params):
    how: str = ""
    where: str = "fit"


def output(ctx: Any) -> Path:
    return Path(ctx.artifacts).parent


def fifo(ctx: Any) -> None:
    os.mkfifo(ctx.artifacts / "pipe")


def socket_left(ctx: Any) -> None:
    os.chdir(ctx.artifacts)  # a socket's path is short
    socket.socket(socket.AF_UNIX).bind("socket")


def fifo_for_facts(ctx: Any) -> None:
    os.mkfifo(output(ctx) / "stage.json")
    os._exit(76)


def fifo_for_status(ctx: Any) -> None:
    status = output(ctx).parent / "status.json"
    status.unlink(missing_ok=True)
    os.mkfifo(status)
    os.mkfifo(output(ctx).parent / "error.json")
    raise ZeroDivisionError("after a FIFO in the place of its status")


def link_to_zero(ctx: Any) -> None:
    (ctx.artifacts / "endless").symlink_to("/dev/zero")


def artifacts_elsewhere(ctx: Any) -> None:
    shutil.rmtree(ctx.artifacts)
    ctx.artifacts.symlink_to("/")


def no_artifacts(ctx: Any) -> None:
    shutil.rmtree(ctx.artifacts)


def artifacts_a_file(ctx: Any) -> None:
    shutil.rmtree(ctx.artifacts)
    ctx.artifacts.write_text("a file")


def no_output(ctx: Any) -> None:
    shutil.rmtree(output(ctx).parent)


def no_checkpoint(ctx: Any) -> None:
    shutil.rmtree(ctx.checkpoint)
    raise ZeroDivisionError("without a checkpoint")


def long_name(ctx: Any) -> None:
    (ctx.artifacts / ("x" * 255)).write_text("a name as long as a name can be")


def odd_name(ctx: Any) -> None:
    Path(os.fsdecode(os.fsencode(ctx.artifacts) + b"/\xff\x1b[31m")).write_text("odd")


def long_message(ctx: Any) -> None:
    raise ValueError("x" * 50_000_000)


def no_message(ctx: Any) -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("nothing to say")

    raise MuteError


def odd_message(ctx: Any) -> None:
    raise ValueError("red \x1b[31m, half \ud800, torn\x00")


def long_log(ctx: Any) -> None:
    for _ in range(60):
        print("y" * MIB)
    print("the last line")
    sys.stdout.flush()
    os._exit(3)


def daemon(ctx: Any) -> None:
    detached()
    raise ZeroDivisionError("left a daemon")


def daemon_and_no_guardian(ctx: Any) -> None:
    detached()
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(30)


def detached() -> None:
    """Start `sleep 977` by two forks and in a session of its own."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execlp("sleep", "sleep", "977")
        os._exit(0)
    os.wait()


def not_facts(ctx: Any) -> None:
    (output(ctx) / "stage.json").write_text('{"draws": 3, "wall": "long"}')
    os._exit(76)


def deep_folders(ctx: Any) -> None:
    os.chdir(ctx.artifacts)
    for _ in range(1500):
        os.mkdir("d" * 8)
        os.chdir("d" * 8)


def forks(ctx: Any, *, write: bool) -> None:
    """300 MiB, and ten forks that hold it too; they share its pages unless they write."""
    hoard = np.ones(300 * MIB, np.int8)
    children = []
    for _ in range(10):
        child = os.fork()
        if not child:
            if write:
                hoard[:] = 2
            ctypes.CDLL(None).prctl(1, int(signal.SIGKILL))
            time.sleep(1.5)
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)


WAYS: dict[str, Callable[[Any], None]] = {
    "exit-0": lambda ctx: os._exit(0),
    "exit-done": lambda ctx: os._exit(76),
    "interrupt": lambda ctx: os.kill(os.getpid(), signal.SIGINT),
    "stop-guardian": lambda ctx: (os.kill(os.getppid(), signal.SIGSTOP), os._exit(1)),
    "fifo": fifo,
    "socket": socket_left,
    "fifo-for-facts": fifo_for_facts,
    "fifo-for-status": fifo_for_status,
    "link-to-zero": link_to_zero,
    "artifacts-elsewhere": artifacts_elsewhere,
    "no-artifacts": no_artifacts,
    "artifacts-a-file": artifacts_a_file,
    "no-output": no_output,
    "no-checkpoint": no_checkpoint,
    "long-name": long_name,
    "odd-name": odd_name,
    "long-message": long_message,
    "no-message": no_message,
    "odd-message": odd_message,
    "long-log": long_log,
    "daemon": daemon,
    "daemon-and-no-guardian": daemon_and_no_guardian,
    "not-facts": not_facts,
    "deep-folders": deep_folders,
    "forks-that-share": lambda ctx: forks(ctx, write=False),
    "forks-that-write": lambda ctx: forks(ctx, write=True),
    "grandchild": lambda ctx: subprocess.run(["sh", "-c", "sleep 978 & exit 7"], check=True),
}


class Fitted:
    def __init__(self, n_sites: int, params: HostileParams) -> None:
        self.n_sites, self.params = n_sites, params

    def save(self, directory: Path) -> None:
        (directory / "model.json").write_text(self.params.model_dump_json())
        np.save(directory / "n_sites.npy", np.array(self.n_sites))

    def sample(self, request: Any, ctx: Any) -> Any:
        if self.params.where == "sample" and self.params.how:
            WAYS[self.params.how](ctx)
        yield np.zeros((request.n_haplotypes, self.n_sites), np.int8)


class Hostile:
    def fit(self, train: Any, params: HostileParams, ctx: Any) -> Fitted:
        if params.where == "fit" and params.how:
            WAYS[params.how](ctx)
        return Fitted(train.n_sites, params)

    def load(self, directory: Path, ctx: Any) -> Fitted:
        params = HostileParams.model_validate_json((directory / "model.json").read_text())
        return Fitted(int(np.load(directory / "n_sites.npy")), params)


@hookimpl
def haplobench_generators() -> list[GeneratorSpec]:
    target, params = "hostile:Hostile", HostileParams
    return [
        GeneratorSpec(name="hostile", version="1", target=target, summary="Bad.", params=params)
    ]
