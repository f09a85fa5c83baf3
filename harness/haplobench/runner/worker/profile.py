"""Profiling of a stage with torch.profiler: where time goes, by operator and by model part."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

_WAIT, _WARM, _ACTIVE = 3, 2, 10
_MOST = 40
_MICRO = 1e-6
_PART = "part:"
_STEP = "ProfilerStep"


class Profile:
    """Profiles ten steps of a stage: `with Profile(...) as profile: …`, then `profile.facts()`.

    A step is a step of any torch optimizer, after the first five; or, in sampling, whatever
    `step` is called for. Calls of torch modules are model parts, named by their place in the
    outermost module called (`blocks.0.qkv`); so are ranges that a plugin marks with
    `torch.profiler.record_function("part:NAME")`.

    Parameters
    ----------
    wanted : bool
        False: nothing is done.
    trace : Path
        Where Chrome's trace is written, `….json.gz`.
    device : str
    sampling : bool
        Steps are short of warm-up: all but the first are profiled.
    owner : object
        Torch modules among its attributes are known by their place in it, also where only
        parts of them are called.
    """

    def __init__(
        self,
        wanted: bool,
        trace: Path,
        device: str,
        *,
        sampling: bool = False,
        owner: object = None,
    ) -> None:
        self._wanted = wanted
        self._owned = {
            id(module): f"{attribute}.{name}".rstrip(".")
            for attribute, value in getattr(owner, "__dict__", {}).items()
            if wanted and hasattr(value, "named_modules")
            for name, module in value.named_modules()
        }
        self._trace = trace
        self._device = device
        self._sampling = sampling
        self._profiler: Any = None
        self._undo: list[Callable[[], None]] = []
        self._rows: dict[str, Any] | None = None

    def __enter__(self) -> Profile:
        if not self._wanted or "torch" not in sys.modules:
            return self
        from torch import profiler

        kinds = [profiler.ProfilerActivity.CPU]
        if self._device.startswith("cuda"):
            kinds.append(profiler.ProfilerActivity.CUDA)
        wait, warm = (0, 1) if self._sampling else (_WAIT, _WARM)
        self._profiler = profiler.profile(
            activities=kinds,
            schedule=profiler.schedule(wait=wait, warmup=warm, active=_ACTIVE, repeat=1),
            on_trace_ready=self._ready,
            acc_events=True,
        )
        self._profiler.__enter__()
        self._mark_parts()
        if not self._sampling:
            from torch.optim.optimizer import register_optimizer_step_post_hook

            handle = register_optimizer_step_post_hook(lambda *_: self.step())
            self._undo.append(handle.remove)
        return self

    def __exit__(self, *raised: object) -> None:
        for undo in self._undo:
            undo()
        if self._profiler is not None:
            self._profiler.__exit__(*raised)

    def step(self) -> None:
        """One step is done."""
        if self._profiler is not None:
            self._profiler.step()

    def facts(self) -> dict[str, Any] | None:
        """`operators` and `parts`, rows of name, calls, seconds, device_seconds.

        Operators' seconds are their own, parts' with all that they call; the most costly first.
        `wall`: seconds of the profiled steps. None where nothing was profiled.
        """
        return self._rows

    def _mark_parts(self) -> None:
        from torch.nn.modules import module as modules
        from torch.profiler import record_function

        stack: list[tuple[Any, Any, str]] = []

        def before(module: Any, inputs: object) -> None:
            outermost = stack[0][0] if stack else module
            name = self._owned.get(id(module)) or _name(module, outermost)
            marked = record_function(f"{_PART}{name}")
            marked.__enter__()  # type: ignore[no-untyped-call]
            stack.append((module, marked, name))

        def after(module: Any, inputs: object, output: object) -> None:
            if stack and stack[-1][0] is module:
                stack.pop()[1].__exit__(None, None, None)

        self._undo += [
            modules.register_module_forward_pre_hook(before).remove,
            modules.register_module_forward_hook(after, always_call=True).remove,
        ]

    def _ready(self, profiler: Any) -> None:
        from torch._C._autograd import DeviceType

        # On a GPU kernels and marked ranges have rows of their own: they are in the operators'
        # and the parts' device time already.
        averages = [e for e in profiler.key_averages() if e.device_type == DeviceType.CPU]
        steps = [event for event in averages if event.key.startswith(_STEP)]
        parts = [event for event in averages if event.key.startswith(_PART)]
        operators = [
            event
            for event in averages
            if not event.key.startswith((_PART, _STEP, "Optimizer.", "DistributedData"))
        ]
        self._rows = {
            "operators": _rows(operators, "self_cpu_time_total", "self_device_time_total"),
            "parts": _rows(parts, "cpu_time_total", "device_time_total"),
            "wall": sum(float(event.cpu_time_total) for event in steps) * _MICRO,
        }
        profiler.export_chrome_trace(str(self._trace))


def _rows(events: Iterable[Any], seconds: str, device: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {
            "name": str(event.key).removeprefix(_PART),
            "calls": int(event.count),
            "seconds": float(getattr(event, seconds)) * _MICRO,
            "device_seconds": float(getattr(event, device, 0.0)) * _MICRO,
        }
        for event in events
    ]
    rows.sort(key=lambda row: -max(row["seconds"], row["device_seconds"]))
    return rows[:_MOST]


def _name(module: Any, root: Any) -> str:
    """The module's place in the outermost one; its class where it's none of that one's."""
    for name, part in root.named_modules():
        if part is module:
            return name or type(root).__name__
    return type(module).__name__
