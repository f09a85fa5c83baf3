"""What a stage tells while it runs (heartbeat), what it cost (meter), and where its time went."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from haplobench.distributed.group import ProcessGroup
from haplobench.errors import FormatError
from haplobench.files import read_as
from haplobench.runner.worker.job import FitFacts, RankWork, Work

_PERCENT = 100.0
_MILLI = 1e-3


class GPUWatch:
    """Watches a CUDA device: `with GPUWatch(ctx.device) as gpu: …`, then `gpu.facts()`.

    NVML is asked every 0.2 s in a thread. On another device, and where NVML or the Python
    module `pynvml` (nvidia-ml-py) is missing, nothing is watched and the facts say why.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._note = ""
        self._shares: list[float] = []
        self._energy: float | None = None
        self._nvml: Any = None
        self._handle: Any = None
        self._stop = threading.Event()

    def __enter__(self) -> GPUWatch:
        if not self._device.startswith("cuda"):
            self._note = "no GPU"
            return self
        try:
            import pynvml
            import torch

            pynvml.nvmlInit()
            # NVML knows nothing of CUDA_VISIBLE_DEVICES: found by its own name.
            uuid = torch.cuda.get_device_properties(self._device).uuid
            self._handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
        except Exception as error:  # whatever a driver or its absence raises: a number less
            self._note = f"NVML: {error or type(error).__name__}"
            return self
        self._nvml = pynvml
        self._begin = self._joules()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        if self._nvml is None:
            return
        self._stop.set()
        self._thread.join()
        end = self._joules()
        if self._begin is not None and end is not None:
            self._energy = end - self._begin
        self._nvml.nvmlShutdown()

    def _watch(self) -> None:
        while True:
            try:
                rates = self._nvml.nvmlDeviceGetUtilizationRates(self._handle)
            except self._nvml.NVMLError as error:
                self._note = f"NVML: {error}"
                return
            self._shares.append(rates.gpu / _PERCENT)
            if self._stop.wait(_EVERY):
                return

    def _joules(self) -> float | None:
        """Since the driver was loaded; None where the GPU doesn't count."""
        try:
            return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)) * _MILLI
        except self._nvml.NVMLError:
            return None

    def facts(self) -> dict[str, Any]:
        """`gpu_utilisation` (0-1, mean), `gpu_energy` (J), None if unknown; `gpu_note`: why."""
        shares = self._shares
        return {
            "gpu_utilisation": sum(shares) / len(shares) if shares else None,
            "gpu_energy": self._energy,
            "gpu_note": self._note,
        }


def gather_work(group: ProcessGroup, work: RankWork) -> FitFacts | None:
    """The work of all ranks, who all call it, on rank 0; None on others.

    `wall` and `peak_gpu_memory` are of the rank that had most, `cpu`, `base_rss` and `peak_rss`
    of all together.
    """
    ranks = cast("list[RankWork]", group.gather(work))
    if not ranks:
        return None
    return FitFacts(
        wall=max(rank.wall for rank in ranks),
        cpu=sum(rank.cpu for rank in ranks),
        base_rss=sum(rank.base_rss for rank in ranks),
        peak_rss=sum(rank.peak_rss for rank in ranks),
        peak_gpu_memory=most_gpu_memory(ranks),
        ranks=tuple(ranks),
    )


def most_gpu_memory(works: Iterable[Work]) -> int | None:
    """The largest of some peaks, bytes; None where none used a GPU."""
    peaks = [work.peak_gpu_memory for work in works if work.peak_gpu_memory is not None]
    return max(peaks, default=None)


_EVERY = 0.2


@dataclass(frozen=True)
class Beat:
    """How far a stage is.

    `item` is what it is at (a metric of a draw; empty where a stage is one piece), `since`
    the `time.monotonic()` at which that began, `fraction` 0-1, `message` the plugin's words.
    """

    item: str = ""
    since: float | None = None
    fraction: float = 0.0
    message: str = ""

    @classmethod
    def read(cls, path: Path) -> Beat:
        """The last beat written; an empty one if there is none."""
        try:
            beat = read_as(cls, path)
            return replace(beat, message=beat.message[:200])
        except (FileNotFoundError, FormatError):
            return cls()


@dataclass
class Heartbeat:
    """Writes beats to a file, often enough to watch and rarely enough to cost nothing."""

    path: Path
    _beat: Beat = field(default_factory=Beat)
    _written: float = float("-inf")

    def begin(self, item: str, fraction: float) -> None:
        """Say which item begins: always written, since time limits count from here."""
        self._beat = Beat(item, time.monotonic(), fraction, item)
        self._write()

    def progress(self, fraction: float, message: str) -> None:
        """What `RunContext.progress` calls."""
        self._beat = Beat(self._beat.item, self._beat.since, float(fraction), str(message)[:200])
        if time.monotonic() - self._written >= _EVERY:
            self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        scratch = self.path.with_suffix(".new")
        try:
            scratch.write_text(json.dumps(asdict(self._beat)))
            os.replace(scratch, self.path)
        except OSError:
            # Nobody dies for want of a progress bar.
            pass


class Meter:
    """Measures a piece of work: `with Meter() as meter: …`, then `meter.work()`.

    Wall and CPU time (seconds; CPU with child processes that ended), resident memory before
    (bytes), and the peak of this process or of its largest child.
    """

    def __enter__(self) -> Meter:
        self._base = _status("VmRSS")
        self._children = _children_peak()
        _reset_peak()
        self._cpu = _cpu()
        self._wall = time.perf_counter()
        return self

    def __exit__(self, *raised: object) -> None:
        self.wall = time.perf_counter() - self._wall
        self.cpu = _cpu() - self._cpu
        children = _children_peak()
        # The kernel keeps the largest of all children so far: an old one's doesn't count.
        grown = children if children > self._children else 0
        self.peak = max(_status("VmHWM"), grown, self._base)

    def work(self) -> Work:
        """What it cost."""
        return Work(
            wall=self.wall,
            cpu=self.cpu,
            base_rss=self._base,
            peak_rss=self.peak,
            peak_gpu_memory=_gpu_peak(),
        )


def _cpu() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _children_peak() -> int:
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


def _status(key: str) -> int:
    """A memory line of /proc/self/status, in bytes; 0 where there is no such file."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(key + ":"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    if key == "VmHWM":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return 0


def _reset_peak() -> None:
    """Let the kernel count this process's peak memory from here on."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _gpu_peak() -> int | None:
    """Bytes that torch held at most on its GPU; None where it used none."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    return int(torch.cuda.max_memory_allocated())


_WAIT, _WARM, _ACTIVE = 3, 2, 10
# --- profile ----------------------------------------------------------------------------------

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
