"""torch.distributed: gloo for arrays, NCCL for gradients on GPUs, DistributedDataParallel."""

import contextlib
import os
import time
import warnings
from datetime import timedelta
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch._C._distributed_c10d import GradBucket as Bucket
from torch._C._distributed_c10d import Store, TCPStore
from torch.futures import Future
from torch.nn.parallel import DistributedDataParallel

from haplobench.distributed.group import Counters
from haplobench.distributed.training import Trainer

# No `from __future__ import annotations`: DDP looks at the annotations of its hooks.


_MIB = 1 << 20


class TorchGroup:
    """The ranks of torch.distributed's default group; see `ProcessGroup`."""

    backend = "torch"

    def __init__(self, local_size: int) -> None:
        self.rank = dist.get_rank()
        self.size = dist.get_world_size()
        self.local_size = local_size
        self.counters = Counters()

    @classmethod
    def open(
        cls,
        rank: int,
        size: int,
        *,
        local_size: int,
        host: str,
        port: int,
        device: str = "cpu",
        timeout: float = 1800.0,
        store: Store | None = None,
    ) -> "TorchGroup":
        """Join the group whose rank 0 listens at `host:port` (or holds `store`).

        On a CUDA device gradients go over NCCL, arrays over gloo; else all over gloo.
        `timeout`: seconds that a collective may last before it raises.
        """
        limit = timedelta(seconds=timeout)
        if store is None:
            store = TCPStore(host, port, size, is_master=False, timeout=limit)
        backend = _backend(device)
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=limit)
        return cls(local_size)

    @classmethod
    def from_environment(cls, device: str = "cpu") -> "TorchGroup":
        """Join the group that torchrun's environment variables describe."""
        dist.init_process_group(_backend(device), init_method="env://")
        return cls(int(os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"])))

    def barrier(self) -> None:
        """See `ProcessGroup.barrier`."""
        with self.counters.timed("barrier"):
            # An all-reduce of the host's: dist.barrier would pick NCCL and a device of its own.
            dist.all_reduce(torch.zeros(1))

    def all_reduce(self, values: NDArray[Any]) -> NDArray[Any]:
        """See `ProcessGroup.all_reduce`."""
        tensor = summable(values)
        with self.counters.timed("all_reduce", tensor.nbytes):
            dist.all_reduce(tensor)
        return tensor.numpy().astype(values.dtype, copy=False)

    def broadcast(self, values: NDArray[Any], root: int = 0) -> NDArray[Any]:
        """See `ProcessGroup.broadcast`."""
        tensor = as_tensor(values)
        with self.counters.timed("broadcast", tensor.nbytes):
            dist.broadcast(tensor, src=root)
        return tensor.numpy()

    def gather(self, value: object) -> list[object]:
        """See `ProcessGroup.gather`."""
        values: list[object] | None = [None] * self.size if self.rank == 0 else None
        with self.counters.timed("gather"):
            dist.gather_object(value, values)
        return values or []

    def close(self) -> None:
        """See `ProcessGroup.close`."""
        # Without it one rank's end can abort another that is still talking.
        with contextlib.suppress(RuntimeError):
            self.barrier()
        dist.destroy_process_group()


def listen(size: int, timeout: float) -> tuple[Store, int]:
    """What rank 0 holds for all ranks to meet at, and the free port it listens at."""
    store = TCPStore(
        "127.0.0.1",
        0,
        size,
        is_master=True,
        wait_for_workers=False,
        timeout=timedelta(seconds=timeout),
    )
    return store, int(store.port)


def _backend(device: str) -> str:
    if not device.startswith("cuda"):
        return "gloo"
    torch.cuda.set_device(device)
    return "cpu:gloo,cuda:nccl"


def as_tensor(values: NDArray[Any]) -> torch.Tensor:
    """A copy as a tensor of the same shape; TypeError for what can't be summed."""
    array = np.array(values, order="C")
    if array.dtype.kind not in "iuf":
        raise TypeError(f"found an array of {array.dtype}, expected integers or floats")
    return torch.from_numpy(array)


def summable(values: NDArray[Any]) -> torch.Tensor:
    """As `as_tensor`, in a type that gloo and Horovod sum: small integers in 32 bits."""
    tensor = as_tensor(values)
    small = not tensor.is_floating_point() and tensor.element_size() < torch.int32.itemsize
    return tensor.int() if small else tensor


class TorchTrainer(Trainer):
    """A trainer over DistributedDataParallel, whose hook of ours sums gradients."""

    def _wrap(self) -> None:
        size = sum(
            p.numel() * p.element_size() for p in self.module.parameters() if p.requires_grad
        )
        with warnings.catch_warnings():
            # torch 2.13 has another name for `broadcast_buffers`, which 2.11 doesn't know.
            warnings.simplefilter("ignore", FutureWarning)
            wrapped = DistributedDataParallel(
                self.module,
                broadcast_buffers=False,
                bucket_cap_mb=None if self._overlap else size // _MIB + 1,
                gradient_as_bucket_view=True,
            )
        wrapped.register_comm_hook(None, self._send)
        self.model = wrapped

    def _send(self, state: None, bucket: Bucket) -> Future[torch.Tensor]:
        """Sum a bucket of gradients over ranks, in half precision if asked for."""
        buffer = bucket.buffer()
        half = self._half and buffer.dtype == torch.float32
        payload = buffer.to(torch.float16) if half else buffer
        self._sent = self.meter.mark()
        counted = count_cuda if buffer.is_cuda else _count
        done = partial(counted, self.group.counters, self._sent, payload.nbytes)

        def finish(future: Future[Any]) -> torch.Tensor:
            done()
            summed: torch.Tensor = future.value()[0]
            return buffer.copy_(summed) if half else summed

        work = dist.all_reduce(payload, async_op=True)
        return work.get_future().then(finish)  # type: ignore[no-any-return]


def _count(counters: Counters, start: float, n_bytes: int) -> None:
    counters.add("all_reduce", n_bytes, time.perf_counter() - start)


def event() -> torch.cuda.Event:
    """The current stream's now."""
    now = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    now.record(torch.cuda.current_stream())
    return now


def count_cuda(
    counters: Counters, start: torch.cuda.Event, n_bytes: int, operation: str = "all_reduce"
) -> None:
    """Count a call that is over where the current stream is at its present end."""
    # Callbacks of a CUDA future run on a stream that waits for the communication.
    end = event()

    def seconds() -> float:
        end.synchronize()
        return float(start.elapsed_time(end)) / 1e3

    counters.add_later(operation, n_bytes, seconds)
