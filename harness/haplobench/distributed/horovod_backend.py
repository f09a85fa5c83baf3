"""Horovod over gloo, the second back end: its process group and its DistributedOptimizer."""

from __future__ import annotations

import os
import time
from typing import Any

import horovod.torch as hvd
import numpy as np
from numpy.typing import NDArray

from haplobench.distributed.group import Counters
from haplobench.distributed.torch_backend import as_tensor, summable
from haplobench.distributed.training import Trainer

_CYCLE_MS = "10"


class HorovodGroup:
    """The ranks that Horovod started with; see `ProcessGroup`."""

    backend = "horovod"

    def __init__(self) -> None:
        hvd.init()
        self.rank = int(hvd.rank())
        self.size = int(hvd.size())
        self.local_size = int(hvd.local_size())
        self.counters = Counters()

    @classmethod
    def open(
        cls,
        rank: int,
        size: int,
        *,
        local_rank: int,
        local_size: int,
        host: str,
        port: int,
        device: str,
    ) -> HorovodGroup:
        """Join the ranks whose rendezvous server listens at `host:port`."""
        if device == "cpu":
            # Horovod's thread wakes every millisecond by default and takes a fifth of a core
            # from sampling, which needs no communication at all.
            os.environ.setdefault("HOROVOD_CYCLE_TIME", _CYCLE_MS)
        node, nodes = rank // local_size, size // local_size
        os.environ |= {
            "HOROVOD_HOSTNAME": f"node{node}",
            "HOROVOD_RANK": str(rank),
            "HOROVOD_SIZE": str(size),
            "HOROVOD_LOCAL_RANK": str(local_rank),
            "HOROVOD_LOCAL_SIZE": str(local_size),
            "HOROVOD_CROSS_RANK": str(node),
            "HOROVOD_CROSS_SIZE": str(nodes),
            "HOROVOD_GLOO_RENDEZVOUS_ADDR": host,
            "HOROVOD_GLOO_RENDEZVOUS_PORT": str(port),
            "HOROVOD_CONTROLLER": "gloo",
            "HOROVOD_CPU_OPERATIONS": "gloo",
        }
        return cls()

    def barrier(self) -> None:
        """See `ProcessGroup.barrier`."""
        with self.counters.timed("barrier"):
            hvd.allreduce(as_tensor(np.zeros(1)), op=hvd.Sum, name="barrier")

    def all_reduce(self, values: NDArray[Any]) -> NDArray[Any]:
        """See `ProcessGroup.all_reduce`."""
        tensor = summable(values)
        with self.counters.timed("all_reduce", tensor.nbytes):
            # Horovod takes no array without dimensions.
            summed = hvd.allreduce(tensor.reshape(-1), op=hvd.Sum, name="all_reduce")
        return np.asarray(summed.numpy()).astype(values.dtype).reshape(np.shape(values))

    def broadcast(self, values: NDArray[Any], root: int = 0) -> NDArray[Any]:
        """See `ProcessGroup.broadcast`."""
        tensor = as_tensor(values)
        with self.counters.timed("broadcast", tensor.nbytes):
            received = hvd.broadcast(tensor.reshape(-1), root_rank=root, name="broadcast")
        return np.asarray(received.numpy()).reshape(np.shape(values))

    def gather(self, value: object) -> list[object]:
        """See `ProcessGroup.gather`."""
        with self.counters.timed("gather"):
            values: list[object] = hvd.allgather_object(value, name="gather")
        return values if self.rank == 0 else []

    def close(self) -> None:
        """See `ProcessGroup.close`."""
        self.barrier()
        hvd.shutdown()


def serve(size: int, local_size: int) -> int:
    """Start the rendezvous server of `size` ranks in a thread of this process; its port."""
    from horovod.runner.common.util.hosts import get_host_assignments, parse_hosts
    from horovod.runner.http.http_server import RendezvousServer

    hosts = ",".join(f"node{i}:{local_size}" for i in range(size // local_size))
    server = RendezvousServer()
    port = int(server.start())
    server.init(get_host_assignments(parse_hosts(hosts), size))
    return port


class HorovodTrainer(Trainer):
    """A trainer over Horovod's DistributedOptimizer."""

    def _wrap(self) -> None:
        hvd.broadcast_parameters(self.module.state_dict(), root_rank=0)
        named = [(name, p) for name, p in self.module.named_parameters() if p.requires_grad]
        self.optimizer: Any = hvd.DistributedOptimizer(
            self.optimizer,
            named_parameters=named,
            compression=hvd.Compression.fp16 if self._half else hvd.Compression.none,
            op=hvd.Sum,
            groups=None if self._overlap else [[p for _, p in named]],
        )
        self._bytes = sum(p.numel() * (2 if self._half else p.element_size()) for _, p in named)

    def _synchronize(self) -> None:
        start = time.perf_counter()
        self.optimizer.synchronize()
        self.meter.lap("all_reduce")
        self.group.counters.add("all_reduce", self._bytes, time.perf_counter() - start)

    def _update(self) -> None:
        with self.optimizer.skip_synchronize():
            super()._update()
