"""Back ends: the group of ranks that torch or Horovod carries, and training over it.

    trainer = data_parallel(model, optimizer, ctx.group, device=ctx.device)
    for indices in global_batches:                     # the same on every rank
        rows, share = trainer.part(len(indices))       # a slice of the global batch
        loss = trainer.model(data[indices[rows]])      # mean over the rows
        trainer.backward(loss, share)
        trainer.step()

Gradients are means over the global batch. With one rank this is plain training. With several,
torch's DistributedDataParallel (or, where the model is `sharded`, its FSDP2) or Horovod's
DistributedOptimizer lies underneath, by what carries the group. Draw noise and augmentation keyed
by sample (or for the whole global batch, and take `rows` of it), never by rank: then parameters
agree whatever the world size to about 1e-6 a step in float32 (sums are taken in another order), and
loss curves of some hundred steps to 1e-3, both relative.

torch is imported when a trainer is made, not with this module.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from haplobench.distributed.group import NullGroup, ProcessGroup
from haplobench.distributed.training import Compression, Trainer
from haplobench.errors import BenchError
from haplobench.files import write_json

if TYPE_CHECKING:
    import torch

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


def data_parallel(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    group: ProcessGroup,
    *,
    device: str = "cpu",
    compression: Compression = "none",
    overlap: bool = True,
    scaler: torch.amp.GradScaler | None = None,
    sharded: Sequence[torch.nn.Module] | None = None,
) -> Trainer:
    """A trainer of a model over the ranks of a group.

    `model`: on its device already; rank 0's parameters become everyone's.
    `optimizer`: of the model's parameters.
    `group`: `ctx.group`.
    `device`: `ctx.device`.
    `compression`: of the gradients on their way: `none`, or `fp16` (half the bytes, relative error
    about 5e-4).
    `overlap`: send buckets of gradients while others are still being computed; else all at the end
    in one piece, which is quicker for small models.
    `scaler`: for float16 autocast.
    `sharded`: layers of the model whose parameters are gathered and let go one after the other
    (torch's FSDP2), the others' together. Each rank then keeps, of parameters, gradients and the
    optimizer's state, its share alone, as DTensors, and `module`'s parameters are such after the
    call: `haplobench.distributed.whole` gathers one. Every rank must call the model
    equally often. Raises BenchError where no torch group carries several ranks' gradients, or with
    `compression`. None, or a single rank: every rank keeps all.
    """
    trainer = Trainer
    if sharded is not None and group.size > 1:
        if group.backend != "torch" or compression != "none":
            raise BenchError(
                f"sharded training: found back end {group.backend} and compression {compression}; "
                "expected torch and none"
            )
        from haplobench.distributed.sharded import ShardedTrainer, shard_parameters

        shard_parameters(model, optimizer, sharded, group, device)
        trainer = ShardedTrainer
    elif group.backend == "torch":
        from haplobench.distributed.torch_backend import TorchTrainer as trainer  # noqa: N813
    elif group.backend == "horovod":
        from haplobench.distributed.horovod_backend import HorovodTrainer as trainer  # noqa: N813
    return trainer(
        model,
        optimizer,
        group,
        device=device,
        compression=compression,
        overlap=overlap,
        scaler=scaler,
    )
