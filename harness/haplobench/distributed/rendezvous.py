"""Open the process group of a rank: of one the harness started, or of torchrun or horovodrun."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Literal

from haplobench.distributed.group import NullGroup, ProcessGroup
from haplobench.errors import BenchError
from haplobench.files import write_json

Backend = Literal["torch", "horovod"]
_POLL = 0.05
_LOOPBACK = "lo"


def open_group(
    backend: Backend,
    rank: int,
    size: int,
    *,
    local_rank: int,
    local_size: int,
    meeting: Path,
    device: str = "cpu",
    timeout: float = 1800.0,
) -> ProcessGroup:
    """Join the ranks of a cell.

    Rank 0 picks a free port of its machine and writes where it listens into the file
    `meeting`, which all ranks see: no port is guessed, so that cells side by side never meet.

    `backend`: `torch` (gloo on CPUs, NCCL on GPUs) or `horovod` (gloo).
    `rank`, `size`, `local_rank`, `local_size`: as torchrun has them: place and number in all, and
    on this machine.
    `meeting`: a file that isn't there yet, in a folder that all machines share.
    `timeout`: seconds to wait for the others, and that a collective may last.

    Raises BenchError if the back end isn't installed or rank 0 doesn't come.
    """
    if size == 1:
        return NullGroup()
    alone = local_size == size
    if alone and sys.platform.startswith("linux"):
        # One machine: no need of its name, nor of an address to the outside.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", _LOOPBACK)
        os.environ.setdefault("HOROVOD_GLOO_IFACE", _LOOPBACK)
    try:
        if backend == "horovod":
            from haplobench.distributed.horovod_backend import HorovodGroup, serve
        else:
            from haplobench.distributed.torch_backend import TorchGroup, listen
    except ImportError as error:
        raise BenchError(
            f"more than one rank needs {backend}: {error}",
            hint="make horovod" if backend == "horovod" else "pip install 'haplobench[vae]'",
        ) from None
    store = None
    if rank == 0:
        if backend == "horovod":
            port = serve(size, local_size)
        else:
            store, port = listen(size, timeout)
        host = "127.0.0.1" if alone else socket.gethostname()
        write_json(meeting, {"host": host, "port": port})
    host, port = _address(meeting, timeout)
    if backend == "torch":
        return TorchGroup.open(
            rank,
            size,
            local_size=local_size,
            host=host,
            port=port,
            device=device,
            timeout=timeout,
            store=store,
        )
    if not alone:
        os.environ.setdefault("HOROVOD_GLOO_IFACE", _interface_towards(host))
    return HorovodGroup.open(
        rank,
        size,
        local_rank=local_rank,
        local_size=local_size,
        host=host,
        port=port,
        device=device,
    )


def group_from_environment(device: str = "cpu") -> ProcessGroup:
    """The group of a script that `torchrun`, `horovodrun` or nothing of the kind started."""
    if "HOROVOD_RANK" in os.environ:
        from haplobench.distributed.horovod_backend import HorovodGroup

        return HorovodGroup()
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return NullGroup()
    from haplobench.distributed.torch_backend import TorchGroup

    return TorchGroup.from_environment(device)


def _address(meeting: Path, timeout: float) -> tuple[str, int]:
    """Where rank 0 says that it listens."""
    end = time.monotonic() + timeout
    while True:
        try:
            address = json.loads(meeting.read_text())
            return str(address["host"]), int(address["port"])
        except FileNotFoundError:
            if time.monotonic() > end:
                raise BenchError(f"{meeting}: rank 0 did not say where it listens") from None
            time.sleep(_POLL)


def _interface_towards(host: str) -> str:
    """The network interface by which a machine is reached."""
    import psutil

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, 9))
        source = probe.getsockname()[0]
    for name, addresses in psutil.net_if_addrs().items():
        if any(address.address == source for address in addresses):
            return name
    return _LOOPBACK
