"""What a machine has to share out among stages side by side: slots and GPUs."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_POLL = 0.2


def visible_gpus(folder: Path = Path("/dev")) -> tuple[str, ...]:
    """Names of the GPUs that a process started here would see, as in CUDA_VISIBLE_DEVICES."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        found = [path for path in folder.glob("nvidia*") if re.fullmatch(r"nvidia\d+", path.name)]
        return tuple(str(i) for i in range(len(found)))
    names: list[str] = []
    for name in named.split(","):
        # CUDA stops at the first that is no device.
        if not name.strip() or name.strip() == "-1":
            break
        names.append(name.strip())
    return tuple(names)


class TooFewError(Exception):
    """More GPUs are asked for than there are."""


@dataclass(frozen=True)
class Lease:
    """What a stage holds: names of its GPUs."""

    gpus: tuple[str, ...]


class Devices:
    """Hands out slots and GPUs in the order in which they are asked for.

    Parameters
    ----------
    slots : int
        How many processes may run side by side; a stage of more ranks than that runs alone.
    gpus : sequence of str
        Each is one stage's only.
    """

    def __init__(self, slots: int, gpus: Sequence[str] = ()) -> None:
        self.slots = slots
        self.gpus = tuple(gpus)
        self._free_slots = slots
        self._free_gpus = list(gpus)
        self._queue: deque[object] = deque()
        self._change = threading.Condition()

    @contextlib.contextmanager
    def lease(self, ranks: int, gpus: int, stop: threading.Event) -> Iterator[Lease]:
        """Hold slots for `ranks` processes, and `gpus` GPUs; wait for them if need be.

        Raises TooFewError if there never will be so many GPUs, InterruptedError when `stop` is
        set while waiting.
        """
        if gpus > len(self.gpus):
            raise TooFewError(
                f"needs {gpus} GPUs, one for each rank; {len(self.gpus)} "
                f"{'is' if len(self.gpus) == 1 else 'are'} visible (CUDA_VISIBLE_DEVICES= runs "
                "it on CPUs)"
            )
        slots = min(ranks, self.slots)
        held = self._wait(slots, gpus, stop)
        try:
            yield Lease(held)
        finally:
            with self._change:
                self._free_slots += slots
                # In their order, so that the first are used first.
                self._free_gpus = [
                    gpu for gpu in self.gpus if gpu in self._free_gpus or gpu in held
                ]
                self._change.notify_all()

    def _wait(self, slots: int, gpus: int, stop: threading.Event) -> tuple[str, ...]:
        turn = object()
        with self._change:
            self._queue.append(turn)
            try:
                while not (
                    self._queue[0] is turn
                    and self._free_slots >= slots
                    and len(self._free_gpus) >= gpus
                ):
                    if stop.is_set():
                        raise InterruptedError
                    self._change.wait(_POLL)
                self._free_slots -= slots
                held = tuple(self._free_gpus[:gpus])
                del self._free_gpus[:gpus]
                return held
            finally:
                self._queue.remove(turn)
                self._change.notify_all()
