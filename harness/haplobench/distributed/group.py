"""The process group a plugin is handed: one small interface, whatever carries it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from numpy.typing import NDArray


class ProcessGroup(Protocol):
    """Ranks that fit or sample one cell together."""

    @property
    def rank(self) -> int:
        """This process, 0 to size - 1."""

    @property
    def size(self) -> int:
        """World size: how many processes there are."""

    def barrier(self) -> None:
        """Wait until every rank is here."""

    def all_reduce(self, values: NDArray[Any]) -> NDArray[Any]:
        """The sum over ranks, on every rank; same shape and dtype."""

    def gather(self, value: object) -> list[object]:
        """Every rank's value by rank, on rank 0; an empty list elsewhere."""


class NullGroup:
    """The group of a single process."""

    rank = 0
    size = 1

    def barrier(self) -> None:
        """Return at once."""

    def all_reduce(self, values: NDArray[Any]) -> NDArray[Any]:
        """The values themselves, copied."""
        return values.copy()

    def gather(self, value: object) -> list[object]:
        """A list of the one value."""
        return [value]
