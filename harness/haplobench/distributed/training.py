"""A trainer of one rank, to which the back ends add communication, and where a step's time goes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal

from haplobench.distributed.group import ProcessGroup, batch_part

if TYPE_CHECKING:
    import torch

Compression = Literal["none", "fp16"]
PARTS = ("data", "forward", "backward", "all_reduce", "optimiser")
_PENDING = 512


class StepMeter:
    """Sums seconds by part of a step: each `lap` takes what has passed since the last mark.

    On a CUDA device marks are events of the current stream, so that the device's time is
    measured without waiting for it. `all_reduce` is the communication that was waited for:
    what overlaps the backward pass costs nothing and isn't in it. Who trains may count
    `epochs`.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.steps = 0
        self.epochs = 0
        self._cuda = device.startswith("cuda")
        self._device = device
        self._seconds = dict.fromkeys(PARTS, 0.0)
        self._pending: list[tuple[str, Any, Any]] = []
        self._last: Any = None

    def mark(self) -> Any:
        """A point in time."""
        if not self._cuda:
            return time.perf_counter()
        import torch

        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self._device))
        return event

    def restart(self) -> None:
        """Don't count what has passed since the last lap (a validation, a checkpoint)."""
        self._last = self.mark()

    def lap(self, part: str, at: Any = None) -> None:
        """Give a part what has passed since the last lap, up to the mark `at` (None: now)."""
        now = self.mark() if at is None else at
        if self._last is not None:
            self._pending.append((part, self._last, now))
        self._last = now
        if len(self._pending) >= _PENDING:
            self._settle()

    def _settle(self) -> None:
        if self._cuda and self._pending:
            self._pending[-1][2].synchronize()
        for part, start, end in self._pending:
            self._seconds[part] += start.elapsed_time(end) / 1e3 if self._cuda else end - start
        self._pending.clear()

    def facts(self) -> dict[str, float]:
        """`steps` and `epochs` (how many) and seconds of each part."""
        self._settle()
        return {"steps": float(self.steps), "epochs": float(self.epochs), **self._seconds}


class Trainer:
    """A model and its optimizer, trained by all ranks together: see `data_parallel`.

    `model`: to be called in the forward pass (its `forward`, not other methods: with several ranks
    it is a wrapper).
    `module`: the model itself: for its state, evaluation and sampling. Parameters are the same on
    all ranks after `step`; buffers are left alone: reduce statistics over `group.all_reduce`.
    `optimizer`: to hang a learning-rate schedule on.
    `meter`: call `meter.restart()` after a validation or checkpoint, so that it isn't counted.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        group: ProcessGroup,
        *,
        device: str,
        compression: Compression,
        overlap: bool,
        scaler: torch.amp.GradScaler | None,
    ) -> None:
        self.module = self.model = model
        self.optimizer = optimizer
        self.group = group
        self.meter = StepMeter(device)
        self._half = compression == "fp16"
        self._overlap = overlap
        self._scaler = scaler
        self._in_part = False
        # When the last gradient to be sent was there: from then on communication is waited for.
        self._sent: Any = None
        group.counters.follow(self.meter.facts)
        self._wrap()
        self.model.register_forward_pre_hook(self._forward_begins)
        self.optimizer.zero_grad()

    def _wrap(self) -> None:
        """Put communication around `model` and `optimizer`."""

    def _synchronize(self) -> None:
        """Wait until all gradients are the sum over ranks."""

    def _forward_begins(self, module: torch.nn.Module, inputs: object) -> None:
        if self._in_part:
            self.meter.lap("data")

    def part(self, n: int) -> tuple[slice, float]:
        """This rank's rows of a global batch of `n`, and their share: see `batch_part`."""
        self._in_part = True
        return batch_part(n, self.group.rank, self.group.size)

    def backward(self, loss: torch.Tensor, share: float) -> None:
        """Add the gradient of share x loss; `loss` is the mean over this rank's rows."""
        self.meter.lap("forward")
        self._in_part = False
        loss = loss * share
        if self._scaler is not None:
            loss = self._scaler.scale(loss)
        loss.backward()  # type: ignore[no-untyped-call]
        if self._sent is None:
            self.meter.lap("backward")
        else:
            self.meter.lap("backward", at=self._sent)
            self.meter.lap("all_reduce")
            self._sent = None

    def step(self, clip_norm: float | None = None) -> None:
        """Let the optimizer step by the mean gradient of the global batch, and forget it.

        `clip_norm`: the gradient's norm is clipped to it first.
        """
        import torch

        self._synchronize()
        if clip_norm is not None:
            if self._scaler is not None:
                self._scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.module.parameters(), clip_norm)
        self._update()
        self.optimizer.zero_grad()
        self.meter.lap("optimiser")
        self.meter.steps += 1

    def _update(self) -> None:
        if self._scaler is not None:
            self._scaler.step(self.optimizer)
            self._scaler.update()
        else:
            self.optimizer.step()


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """All of a tensor that ranks may share, on every rank: all ranks call it together."""
    gather = getattr(tensor, "full_tensor", None)
    return tensor if gather is None else gather()


def shared_like(tensor: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """A whole value as `tensor` is: shared out over the ranks, where that is so."""
    mesh = getattr(tensor, "device_mesh", None)
    if mesh is None or value.shape != tensor.shape:
        return value
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(tensor, DTensor)
    return distribute_tensor(value.to(tensor.device), mesh, tensor.placements)
