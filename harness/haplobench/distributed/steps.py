"""Where the time of a training step goes: data, forward, backward, all-reduce, optimiser."""

from __future__ import annotations

import time
from typing import Any

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
