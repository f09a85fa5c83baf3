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
from torch.distributed.algorithms.ddp_comm_hooks import powerSGD_hook as powersgd
from torch.futures import Future
from torch.nn.parallel import DistributedDataParallel

from haplobench.distributed.group import Counters
from haplobench.distributed.training import LocalTrainer

# No `from __future__ import annotations`: DDP looks at the annotations of its hooks.


_MIB = 1 << 20
_POWERSGD_RANK = 2
_POWERSGD_START = 10


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
        found: list[object] | None = [None] * self.size if self.rank == 0 else None
        with self.counters.timed("gather"):
            dist.gather_object(value, found)
        return found or []

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


class TorchTrainer(LocalTrainer):
    """See `haplobench.distributed.data_parallel`."""

    def _wrap(self) -> None:
        options = self.options
        parameters = [p for p in self.module.parameters() if p.requires_grad]
        size = sum(p.numel() * p.element_size() for p in parameters)
        # PowerSGD's hook waits for ever on gloo where there are several buckets.
        whole = not options.overlap or options.compression == "powersgd"
        with warnings.catch_warnings():
            # torch 2.13 has another name for `broadcast_buffers`, which 2.11 doesn't know.
            warnings.simplefilter("ignore", FutureWarning)
            wrapped = DistributedDataParallel(
                self.module,
                broadcast_buffers=False,
                bucket_cap_mb=size // _MIB + 1 if whole else None,
                find_unused_parameters=options.unused_parameters,
                gradient_as_bucket_view=True,
            )
        self._levels = _Levels(self.group.size, self.group.local_size) if self._tiered else None
        if options.compression == "powersgd":
            state = powersgd.PowerSGDState(
                process_group=None,
                matrix_approximation_rank=_POWERSGD_RANK,
                start_powerSGD_iter=_POWERSGD_START,
            )
            wrapped.register_comm_hook(state, self._power)
        else:
            wrapped.register_comm_hook(None, self._send)
        self.model = wrapped

    @property
    def _tiered(self) -> bool:
        return self.options.hierarchical and 1 < self.group.local_size < self.group.size

    def _silent(self) -> contextlib.AbstractContextManager[None]:
        return self.model.no_sync()  # type: ignore[no-any-return, operator]

    def _weight(self, share: float) -> float:
        # PowerSGD's hook divides by the world size.
        return share * self.group.size if self.options.compression == "powersgd" else share

    def _send(self, state: None, bucket: Bucket) -> Future[torch.Tensor]:
        """Sum a bucket of gradients over ranks, in half precision if asked for."""
        buffer = bucket.buffer()
        half = self.options.compression == "fp16" and buffer.dtype == torch.float32
        payload = buffer.to(torch.float16) if half else buffer
        count = self._begin(bucket)
        if self._levels is not None:
            self._levels.all_reduce(payload)
            count(payload.nbytes)
            done: Future[torch.Tensor] = Future(devices=[buffer.device] if buffer.is_cuda else None)
            done.set_result(buffer.copy_(payload) if half else payload)
            return done

        def finish(future: Future[Any]) -> torch.Tensor:
            count(payload.nbytes)
            summed: torch.Tensor = future.value()[0]
            return buffer.copy_(summed) if half else summed

        work = dist.all_reduce(payload, async_op=True)
        return work.get_future().then(finish)  # type: ignore[no-any-return]

    def _power(self, state: powersgd.PowerSGDState, bucket: Bucket) -> Future[torch.Tensor]:
        count = self._begin(bucket)
        before, exact = state.total_numel_after_compression, state.iter < state.start_powerSGD_iter
        buffer = bucket.buffer()
        future = powersgd.powerSGD_hook(state, bucket)
        sent = buffer.numel() if exact else state.total_numel_after_compression - before

        def finish(done: Future[torch.Tensor]) -> torch.Tensor:
            count(sent * buffer.element_size())
            return done.value()

        return future.then(finish)

    def _begin(self, bucket: Bucket) -> partial[None]:
        """Note when a bucket was there; what it gives is to be called, with bytes, at the end."""
        self._sent = self.meter.mark()
        if bucket.buffer().is_cuda:
            return partial(_count_cuda, self.group.counters, self._sent)
        return partial(_count, self.group.counters, time.perf_counter())


def _count(counters: Any, start: float, n_bytes: int) -> None:
    counters.add("all_reduce", n_bytes, time.perf_counter() - start)


def _count_cuda(counters: Any, start: torch.cuda.Event, n_bytes: int) -> None:
    end = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    # Callbacks of a CUDA future run on a stream that waits for the communication.
    end.record(torch.cuda.current_stream())

    def seconds() -> float:
        end.synchronize()
        return float(start.elapsed_time(end)) / 1e3

    counters.add_later("all_reduce", n_bytes, seconds)


class _Levels:
    """Sums in three steps: within each machine, over machines, within each machine again."""

    def __init__(self, size: int, local_size: int) -> None:
        rank = dist.get_rank()
        firsts = list(range(0, size, local_size))
        # Every rank makes every group, in the same order.
        locals_ = [dist.new_group(list(range(at, min(at + local_size, size)))) for at in firsts]
        self.between = dist.new_group(firsts)
        self.within = locals_[rank // local_size]
        self.first = firsts[rank // local_size]
        self.leads = rank == self.first

    def all_reduce(self, values: torch.Tensor) -> None:
        """Sum over all ranks, in place."""
        dist.reduce(values, dst=self.first, group=self.within)
        if self.leads:
            dist.all_reduce(values, group=self.between)
        dist.broadcast(values, src=self.first, group=self.within)
