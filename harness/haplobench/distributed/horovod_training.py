"""Data-parallel training over Horovod's DistributedOptimizer."""

from __future__ import annotations

import time
from typing import Any

import horovod.torch as hvd

from haplobench.distributed.training import LocalTrainer
from haplobench.errors import BenchError


class HorovodTrainer(LocalTrainer):
    """See `haplobench.distributed.data_parallel`."""

    def _wrap(self) -> None:
        options = self.options
        if options.compression == "powersgd":
            raise BenchError("Horovod has no PowerSGD; use compression none or fp16, or torch")
        if options.hierarchical:
            raise BenchError(
                "hierarchical all-reduce over Horovod needs its MPI or NCCL build and "
                "HOROVOD_HIERARCHICAL_ALLREDUCE=1; use the torch back end"
            )
        hvd.broadcast_parameters(self.module.state_dict(), root_rank=0)
        named = [(name, p) for name, p in self.module.named_parameters() if p.requires_grad]
        whole = None if options.overlap else [[p for _, p in named]]
        half = options.compression == "fp16"
        self.optimizer: Any = hvd.DistributedOptimizer(
            self.optimizer,
            named_parameters=named,
            compression=hvd.Compression.fp16 if half else hvd.Compression.none,
            backward_passes_per_step=options.accumulate,
            op=hvd.Sum,
            groups=whole,
        )
        self._bytes = sum(p.numel() * (2 if half else p.element_size()) for _, p in named)

    def _synchronize(self) -> None:
        start = time.perf_counter()
        self.optimizer.synchronize()
        self.meter.lap("all_reduce")
        self.group.counters.add("all_reduce", self._bytes, time.perf_counter() - start)

    def _update(self) -> None:
        with self.optimizer.skip_synchronize():
            super()._update()
