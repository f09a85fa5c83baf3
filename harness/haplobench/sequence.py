"""Reference sequence under a panel: from a FASTA file, or a seeded surrogate that says so."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from haplobench.panel import Panel

BASES = np.frombuffer(b"ACGT", np.uint8)
# Human genome, GRCh37: 41 % G+C.
_BASE_FREQUENCIES = np.array([0.295, 0.205, 0.205, 0.295])


@dataclass(frozen=True, eq=False)
class ReferenceSequence:
    """Bases of a stretch of one contig.

    Attributes
    ----------
    bases : (length,) uint8
        ASCII A, C, G, T or N.
    start : int
        Position of the first base, bp, 1-based.
    surrogate : bool
        True where the bases are random, drawn because no FASTA was given.
    """

    bases: NDArray[np.uint8]
    start: int
    surrogate: bool

    def place(self, panel: Panel) -> ReferenceSequence:
        """The same sequence with `panel`'s single-base reference alleles written at its sites."""
        bases = self.bases.copy()
        single = np.char.str_len(panel.ref) == 1
        offsets = panel.positions - self.start
        inside = single & (offsets >= 0) & (offsets < bases.size)
        bases[offsets[inside]] = np.frombuffer("".join(panel.ref[inside]).encode(), np.uint8)
        return ReferenceSequence(bases, self.start, self.surrogate)


def surrogate_sequence(start: int, end: int, rng: np.random.Generator) -> ReferenceSequence:
    """Random bases from `start` to `end` (bp, both included), 41 % of them G or C as in humans."""
    bases = BASES[rng.choice(4, size=end - start + 1, p=_BASE_FREQUENCIES)]
    return ReferenceSequence(bases, start, surrogate=True)
