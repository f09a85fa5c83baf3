"""Tally of the records that a reader left out: how many for each reason, and where they are."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Tally:
    """Records left out, by reason.

    Attributes
    ----------
    counts : dict
        Records by reason.
    first : dict
        Position (bp) of the first record left out for that reason.
    rivals : set
        Positions (bp) of those whose carriers have another base there than the reference's.
    """

    counts: dict[str, int] = field(default_factory=dict)
    first: dict[str, int] = field(default_factory=dict)
    rivals: set[int] = field(default_factory=set)

    def add(self, reason: str, position: int, n: int = 1) -> None:
        """Count `n` records of which the first lies at `position`."""
        if n:
            self.counts[reason] = self.counts.get(reason, 0) + n
            self.first[reason] = min(position, self.first.get(reason, position))

    def merge(self, other: Tally) -> None:
        """Take over another tally's records."""
        for reason, n in other.counts.items():
            self.add(reason, other.first[reason], n)
        self.rivals |= other.rivals

    def __str__(self) -> str:
        """`2 multi-allelic (first at 1005)`, the reasons in alphabetical order."""
        return ", ".join(
            f"{n} {reason} (first at {self.first[reason]})"
            for reason, n in sorted(self.counts.items())
        )
