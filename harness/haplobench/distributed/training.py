"""A trainer of one rank, which the back ends add communication to, and where its time goes."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from haplobench.distributed.group import ProcessGroup, batch_parts

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch


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


Compression = Literal["none", "fp16", "powersgd"]


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
