"""Data-parallel training: gradients are means over the global batch, whatever carries them.

    trainer = data_parallel(model, optimizer, ctx.group, device=ctx.device)
    for indices in global_batches:                     # the same on every rank
        rows, share = trainer.part(len(indices))       # a slice of the global batch
        loss = trainer.model(data[indices[rows]])      # mean over the rows
        trainer.backward(loss, share)
        trainer.step()

With one rank this is plain training. With several, torch's DistributedDataParallel (or, where the
model is `sharded`, its FSDP2) or Horovod's DistributedOptimizer lies underneath, by what carries
the group. Draw noise and
augmentation keyed by sample (or for the whole global batch, and take `rows` of it), never by
rank: then parameters agree whatever the world size to about 1e-6 a step in float32 (sums are
taken in another order), and loss curves of some hundred steps to 1e-3, both relative.

torch is imported when a trainer is made, not with this module.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from haplobench.distributed.group import ProcessGroup
from haplobench.distributed.training import Compression, Trainer
from haplobench.errors import BenchError

if TYPE_CHECKING:
    import torch


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
