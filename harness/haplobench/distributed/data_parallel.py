"""Data-parallel training: gradients are means over the global batch, whatever carries them.

    trainer = data_parallel(model, optimizer, ctx.group, device=ctx.device)
    for indices in global_batches:                       # the same on every rank
        for rows, share in trainer.parts(len(indices)):  # slices of the global batch
            loss = trainer.model(data[indices[rows]])    # mean over the rows
            trainer.backward(loss, share)
        trainer.step()

With one rank this is plain training. With several, torch's DistributedDataParallel or
Horovod's DistributedOptimizer lies underneath, by what carries the group. Draw noise and
augmentation keyed by sample (or for the whole global batch, and take `rows` of it), never by
rank: then parameters agree whatever the world size to about 1e-6 a step in float32 (sums are
taken in another order), and loss curves of some hundred steps to 1e-3, both relative.

torch is imported when a trainer is made, not with this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from haplobench.distributed.group import ProcessGroup
from haplobench.distributed.training import Compression, LocalTrainer, Options, StepMeter

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch


class Trainer(Protocol):
    """A model and its optimizer, trained by all ranks together.

    Attributes
    ----------
    model : torch.nn.Module
        To be called in the forward pass (its `forward`, not other methods: with several ranks
        it is a wrapper).
    module : torch.nn.Module
        The model itself: for its state, evaluation and sampling. Parameters are the same on
        all ranks after `step`; buffers are left alone: reduce statistics over
        `group.all_reduce`.
    optimizer : torch.optim.Optimizer
        To hang a learning-rate schedule on.
    meter : StepMeter
        Call `meter.restart()` after a validation or checkpoint, so that it isn't counted.
    """

    model: torch.nn.Module
    module: torch.nn.Module
    optimizer: torch.optim.Optimizer
    meter: StepMeter

    def parts(self, n: int) -> Iterator[tuple[slice, float]]:
        """This rank's micro-batches of a global batch of `n` rows: slices of it, with shares.

        As many as `accumulate` says; ranks communicate in the last one's backward pass. The
        forward and backward pass belong into the loop's body. See `batch_parts`.
        """

    def backward(self, loss: torch.Tensor, share: float) -> None:
        """Add the gradient of share x loss; `loss` is the mean over the micro-batch's rows."""

    def step(self, clip_norm: float | None = None) -> None:
        """Let the optimizer step by the mean gradient of the global batch, and forget it.

        `clip_norm`: the gradient's norm is clipped to it first.
        """


def data_parallel(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    group: ProcessGroup,
    *,
    device: str = "cpu",
    compression: Compression = "none",
    accumulate: int = 1,
    overlap: bool = True,
    hierarchical: bool = False,
    unused_parameters: bool = False,
    scaler: torch.amp.GradScaler | None = None,
) -> Trainer:
    """A trainer of a model over the ranks of a group.

    Parameters
    ----------
    model : torch.nn.Module
        On its device already; rank 0's parameters become everyone's.
    optimizer : torch.optim.Optimizer
        Of the model's parameters.
    group : ProcessGroup
        `ctx.group`.
    device : str
        `ctx.device`.
    compression : str
        Of the gradients on their way: `none`; `fp16` (half the bytes, relative error about
        5e-4); `powersgd` (rank-2 approximation with error feedback after ten exact steps,
        Vogels et al. 2019, torch only).
    accumulate : int
        Micro-batches of a step: their memory, one communication.
    overlap : bool
        Send buckets of gradients while others are still being computed; else all at the end
        in one piece, which is quicker for small models.
    hierarchical : bool
        Sum within each machine, then over machines, then hand out (torch only): for several
        machines with a slow network between them.
    unused_parameters : bool
        Whether some parameters may get no gradient in a step.
    scaler : torch.amp.GradScaler or None
        For float16 autocast.

    Raises
    ------
    BenchError
        For an option that the group's back end doesn't have.
    """
    if accumulate < 1:
        raise ValueError(f"accumulate is {accumulate}, expected 1 or more")
    options = Options(compression, accumulate, overlap, hierarchical, unused_parameters)
    if group.backend == "torch":
        from haplobench.distributed.torch_backend import TorchTrainer

        return TorchTrainer(model, optimizer, group, device, options, scaler)
    if group.backend == "horovod":
        from haplobench.distributed.horovod_backend import HorovodTrainer

        return HorovodTrainer(model, optimizer, group, device, options, scaler)
    return LocalTrainer(model, optimizer, group, device, options, scaler)
