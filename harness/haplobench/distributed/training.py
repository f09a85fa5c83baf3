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

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from haplobench.distributed.group import ProcessGroup
from haplobench.distributed.sharding import batch_parts
from haplobench.distributed.steps import StepMeter

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

Compression = Literal["none", "fp16", "powersgd"]


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
        from haplobench.distributed.torch_training import TorchTrainer

        return TorchTrainer(model, optimizer, group, device, options, scaler)
    if group.backend == "horovod":
        from haplobench.distributed.horovod_training import HorovodTrainer

        return HorovodTrainer(model, optimizer, group, device, options, scaler)
    return LocalTrainer(model, optimizer, group, device, options, scaler)


@dataclass(frozen=True)
class Options:
    """The options of `data_parallel`."""

    compression: Compression
    accumulate: int
    overlap: bool
    hierarchical: bool
    unused_parameters: bool


class LocalTrainer:
    """Training by one rank; the others' trainers add communication to it."""

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        group: ProcessGroup,
        device: str,
        options: Options,
        scaler: torch.amp.GradScaler | None,
    ) -> None:
        self.module = model
        self.model = model
        self.optimizer = optimizer
        self.group = group
        self.options = options
        self.scaler = scaler
        self.meter = StepMeter(device)
        self._in_part = False
        # When the last gradient to be sent was there: from then on communication is waited for.
        self._sent: Any = None
        group.counters.follow(self.meter.facts)
        self._wrap()
        self.model.register_forward_pre_hook(self._forward_begins)
        self.optimizer.zero_grad()

    def _wrap(self) -> None:
        """Put communication around `model` and `optimizer`."""

    def _silent(self) -> contextlib.AbstractContextManager[None]:
        """In it, backward passes don't communicate."""
        return contextlib.nullcontext()

    def _synchronize(self) -> None:
        """Wait until all gradients are the sum over ranks."""

    def _weight(self, share: float) -> float:
        """What a loss is multiplied by, so that the gradient comes out as a mean."""
        return share

    def _forward_begins(self, module: torch.nn.Module, inputs: object) -> None:
        if self._in_part:
            self.meter.lap("data")

    def parts(self, n: int) -> Iterator[tuple[slice, float]]:
        """See `Trainer.parts`."""
        parts = batch_parts(n, self.group.rank, self.group.size, self.options.accumulate)
        for i, part in enumerate(parts):
            with self._silent() if i < len(parts) - 1 else contextlib.nullcontext():
                self._in_part = True
                yield part
                self._in_part = False

    def backward(self, loss: torch.Tensor, share: float) -> None:
        """See `Trainer.backward`."""
        self.meter.lap("forward")
        self._in_part = False
        loss = loss * self._weight(share)
        if self.scaler is not None:
            loss = self.scaler.scale(loss)
        loss.backward()  # type: ignore[no-untyped-call]
        if self._sent is None:
            self.meter.lap("backward")
        else:
            self.meter.lap("backward", at=self._sent)
            self.meter.lap("all_reduce")
            self._sent = None

    def step(self, clip_norm: float | None = None) -> None:
        """See `Trainer.step`."""
        import torch

        self._synchronize()
        if clip_norm is not None:
            if self.scaler is not None:
                self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.module.parameters(), clip_norm)
        self._update()
        self.optimizer.zero_grad()
        self.meter.lap("optimiser")
        self.meter.steps += 1

    def _update(self) -> None:
        if self.scaler is not None:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            self.optimizer.step()
