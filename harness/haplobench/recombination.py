"""Recombination map: genetic against physical position of one contig."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from haplobench.errors import FormatError


@dataclass(frozen=True, eq=False)
class RecombinationMap:
    """Cumulative genetic position at physical positions of one contig.

    Attributes
    ----------
    positions : (n,) int64
        bp, 1-based, strictly increasing.
    centimorgans : (n,) float64
        cM, not decreasing.
    contig : str
    """

    positions: NDArray[np.int64]
    centimorgans: NDArray[np.float64]
    contig: str = ""

    def __post_init__(self) -> None:
        if self.positions.shape != self.centimorgans.shape or self.positions.size < 2:
            raise FormatError("recombination map: expected two or more pairs of bp and cM")
        if (np.diff(self.positions) <= 0).any() or (np.diff(self.centimorgans) < 0).any():
            raise FormatError("recombination map: bp must increase and cM must not decrease")

    def at(self, positions: ArrayLike) -> NDArray[np.float64]:
        """cM at physical positions (bp), interpolated; beyond the ends at the map's mean rate."""
        bp = np.asarray(positions, np.float64)
        first, last = float(self.positions[0]), float(self.positions[-1])
        rate = (self.centimorgans[-1] - self.centimorgans[0]) / (last - first)
        inside = np.interp(bp, self.positions, self.centimorgans)
        return np.asarray(inside + rate * (np.minimum(bp - first, 0) + np.maximum(bp - last, 0)))

    def region(self, start: int, end: int) -> RecombinationMap:
        """The map from `start` to `end` (bp, both included), its cM kept."""
        inner = self.positions[(self.positions > start) & (self.positions < end)]
        bp = np.concatenate([[start], inner, [end]]).astype(np.int64)
        return RecombinationMap(bp, self.at(bp), self.contig)

    @classmethod
    def uniform(
        cls, start: int, end: int, cm_per_mb: float = 1.0, contig: str = ""
    ) -> RecombinationMap:
        """A map of one rate (cM/Mb; the human mean is about 1)."""
        bp = np.array([start, max(end, start + 1)], np.int64)
        centimorgans = (bp - start).astype(np.float64) * (cm_per_mb / 1e6)
        return cls(bp, centimorgans, contig)

    @classmethod
    def read(cls, path: Path | str, contig: str = "") -> RecombinationMap:
        """Read a map file, plain or gzipped.

        SHAPEIT (`pos chr cM`), HapMap (`chr pos rate cM`) or PLINK (`chr id cM pos`).
        Where the file holds several contigs, `contig` chooses.
        Raises FormatError that names the line.
        """
        path = Path(path)
        opener = gzip.open if path.suffix == ".gz" else open
        positions: list[int] = []
        centimorgans: list[float] = []
        columns = (0, 1, 2)  # of position, contig and cM
        try:
            with opener(path, "rt") as lines:
                for number, line in enumerate(lines, 1):
                    fields = line.split()
                    if not fields:
                        continue
                    if number == 1:
                        known = _columns(fields)
                        if known is None:
                            raise FormatError(
                                f"{path}:1: found {line.strip()[:60]!r}, expected a "
                                "recombination map (columns pos chr cM, or Chromosome Position "
                                "Rate Map, or PLINK's four)"
                            )
                        columns = known
                        if not fields[columns[0]].isdigit():
                            continue
                    bp, name, cm = (fields[column] for column in columns)
                    if contig and name.removeprefix("chr") != contig.removeprefix("chr"):
                        continue
                    if positions and int(bp) == positions[-1]:
                        continue
                    positions.append(int(bp))
                    centimorgans.append(float(cm))
        except OSError as error:
            raise FormatError(f"{path}: can't be read: {error}") from None
        except (ValueError, IndexError, EOFError):
            raise FormatError(
                f"{path}:{number}: expected bp, contig and cM, found {line.strip()[:60]!r}"
            ) from None
        if len(positions) < 2:
            raise FormatError(f"{path}: no positions for contig {contig!r}")
        return cls(np.array(positions, np.int64), np.array(centimorgans), contig)


def _columns(fields: list[str]) -> tuple[int, int, int] | None:
    """Columns of position, contig and cM, from a header or from a first line of numbers."""
    lowered = [field.lower() for field in fields]
    if lowered[:3] == ["pos", "chr", "cm"]:
        return 0, 1, 2
    if lowered[0].startswith("chrom") and len(fields) >= 4:
        return 1, 0, 3
    if len(fields) == 4 and fields[3].isdigit():
        return 3, 0, 2
    if len(fields) == 3 and fields[0].isdigit():
        return 0, 1, 2
    return None
