"""The process group a plugin is handed, whatever carries it, and who of it does what.

A shard depends on rank and world size, the union never does. So with the global batch fixed
and randomness keyed by sample, the result is the same whatever the world size, up to the
order in which floating-point sums are taken.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PENDING = 1024


class ProcessGroup(Protocol):
    """Ranks that fit or sample one cell together. Every rank calls the same in the same order.

    Attributes
    ----------
    rank : int
        This process, 0 to size - 1.
    size : int
        World size: how many processes there are.
    local_size : int
        Ranks on this machine; they are consecutive.
    backend : str
        What carries it: `null`, `torch` or `horovod`.
    counters : Counters
        What has been communicated so far.
    """

    rank: int
    size: int
    local_size: int
    backend: str
    counters: Counters

    def barrier(self) -> None:
        """Wait until every rank is here."""

    def all_reduce(self, values: NDArray[Any]) -> NDArray[Any]:
        """The sum over ranks, on every rank; same shape and dtype (integers or floats)."""

    def broadcast(self, values: NDArray[Any], root: int = 0) -> NDArray[Any]:
        """The root's values, on every rank; each hands over an array of that shape and dtype."""

    def gather(self, value: object) -> list[object]:
        """Every rank's value by rank, on rank 0; an empty list elsewhere."""

    def close(self) -> None:
        """Leave the group, all ranks together; the harness does it."""


class NullGroup:
    """The group of a single process."""

    rank = 0
    size = 1
    local_size = 1
    backend = "null"

    def __init__(self) -> None:
        self.counters = Counters()

    def barrier(self) -> None:
        """Return at once."""

    def all_reduce(self, values: NDArray[Any]) -> NDArray[Any]:
        """The values themselves, copied."""
        return values.copy()

    def broadcast(self, values: NDArray[Any], root: int = 0) -> NDArray[Any]:
        """The values themselves, copied."""
        return values.copy()

    def gather(self, value: object) -> list[object]:
        """A list of the one value."""
        return [value]

    def close(self) -> None:
        """Do nothing."""


@dataclass
class Counters:
    """What a rank has communicated, and what its training steps spent their time on.

    `operations` holds, by operation (`all_reduce`, `broadcast`, `gather`, `barrier`), calls,
    bytes this rank handed over (after compression; the wire's own traffic depends on the
    algorithm) and seconds from the call to its end. Communication that overlaps computing
    counts in full here; what was waited for is the part `all_reduce` of the steps.
    """

    operations: dict[str, dict[str, float]] = field(default_factory=dict)
    _steps: list[Callable[[], Mapping[str, float]]] = field(default_factory=list)
    _later: list[tuple[str, int, Callable[[], float]]] = field(default_factory=list)

    def add(self, operation: str, n_bytes: int, seconds: float) -> None:
        """Count one call."""
        entry = self.operations.setdefault(operation, {"calls": 0, "bytes": 0, "seconds": 0.0})
        entry["calls"] += 1
        entry["bytes"] += n_bytes
        entry["seconds"] += seconds

    @contextlib.contextmanager
    def timed(self, operation: str, n_bytes: int = 0) -> Iterator[None]:
        """Count one call that lasts as long as the block."""
        start = time.perf_counter()
        yield
        self.add(operation, n_bytes, time.perf_counter() - start)

    def add_later(self, operation: str, n_bytes: int, seconds: Callable[[], float]) -> None:
        """Count one call of a device, whose seconds are known once it's done."""
        self._later.append((operation, n_bytes, seconds))
        if len(self._later) >= _PENDING:
            self._settle()

    def _settle(self) -> None:
        later, self._later = self._later, []
        for operation, n_bytes, seconds in later:
            self.add(operation, n_bytes, seconds())

    def follow(self, steps: Callable[[], Mapping[str, float]]) -> None:
        """Have the sums of a step meter in `facts`; see `haplobench.distributed.StepMeter`."""
        self._steps.append(steps)

    def facts(self) -> dict[str, Any]:
        """Plain values: `calls`, `bytes`, `seconds`, `operations`; `steps` (seconds by part)."""
        self._settle()
        steps: dict[str, float] = {}
        for meter in self._steps:
            for name, value in meter().items():
                steps[name] = steps.get(name, 0.0) + value
        totals = {
            key: sum(entry[key] for entry in self.operations.values())
            for key in ("calls", "bytes", "seconds")
        }
        operations = {name: dict(entry) for name, entry in self.operations.items()}
        return {**totals, "operations": operations, "steps": steps}


def shard(n: int, rank: int, size: int, *, align: int = 1) -> slice:
    """A rank's contiguous part of `n` things; parts differ by at most `align`.

    Parts begin at multiples of `align` (of a block of randomness, or of the ploidy), which the
    last block may not fill. A part is empty where there are fewer blocks than ranks.

    >>> [shard(10, rank, 3) for rank in range(3)]
    [slice(0, 4, None), slice(4, 7, None), slice(7, 10, None)]
    """
    if not 0 <= rank < size:
        raise ValueError(f"rank is {rank}, expected 0 to {size - 1}")
    blocks = -(-n // align)
    each, more = divmod(blocks, size)
    first = rank * each + min(rank, more)
    last = first + each + (rank < more)
    return slice(min(n, first * align), min(n, last * align))


def batch_part(n: int, rank: int, size: int) -> tuple[slice, float]:
    """A rank's rows of a global batch of `n`: a slice of it, and its share.

    Shares (rows over `n`) sum to 1 over all ranks, so that the sum of share x mean loss is the
    mean over the global batch, however unequal the parts. All ranks must take part in
    communication: where there are fewer rows than ranks, some get a row with share 0.
    """
    if n < 1:
        raise ValueError(f"a batch has {n} rows, expected at least one")
    rows = shard(n, rank, size)
    share = (rows.stop - rows.start) / n
    if share == 0.0:
        first = min(rows.start, n - 1)
        rows = slice(first, first + 1)
    return rows, share
