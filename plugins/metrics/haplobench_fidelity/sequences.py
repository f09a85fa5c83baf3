"""A cohort laid over reference bases: what its haplotypes would read like as sequence."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from haplobench import Panel, ReferenceSequence, RunContext

UNKNOWN = 4
_LEFT_OUT = 5
_CODES = np.full(256, UNKNOWN, np.int8)
for _code, _letters in enumerate(("Aa", "Cc", "Gg", "Tt")):
    for _letter in _letters:
        _CODES[ord(_letter)] = _code


@dataclass(frozen=True, eq=False)
class PlacedCohort:
    """A panel's haplotypes over the bases of its region.

    Attributes
    ----------
    panel : Panel
    bases : (length,) int8
        A, C, G, T as 0 to 3, `UNKNOWN` for N; reference alleles stand at the sites.
    columns : (n_used,) int64
        Columns of the panel that are placed.
    offsets : (n_used,) int64
        Their indices in `bases`, increasing.
    alternates : (n_used,) int8
        Their alternate bases, 0 to 3.
    note : str
        What was made up or left out; empty if nothing.
    """

    panel: Panel
    bases: NDArray[np.int8]
    columns: NDArray[np.int64]
    offsets: NDArray[np.int64]
    alternates: NDArray[np.int8]
    note: str

    def masked(self) -> NDArray[np.int8]:
        """The bases with `UNKNOWN` at every placed site: what all haplotypes share."""
        masked = self.bases.copy()
        masked[self.offsets] = UNKNOWN
        return masked


def place(background: ReferenceSequence, panel: Panel, under: Panel | None = None) -> PlacedCohort:
    """Lay `panel` over `background`.

    `under` is a panel whose reference alleles are written first: those of the real panel under
    a synthetic cohort with sites of its own, so that both share what neither varies. Unknown
    alleles (`N`) become the background's base and a base derived from the position alone,
    the same for every cohort; alleles of several bases are left out, as are sites outside
    `background`.
    """
    bases = _CODES[background.bases]
    if under is not None:
        _write_reference(bases, background.start, under)
    offsets = panel.positions - background.start
    inside = (offsets >= 0) & (offsets < bases.size)
    reference, alternate = _allele_codes(panel.ref), _allele_codes(panel.alt)
    used = inside & (reference != _LEFT_OUT) & (alternate != _LEFT_OUT)
    columns = np.flatnonzero(used)
    offsets, reference, alternate = offsets[columns], reference[columns], alternate[columns]
    made_up = (reference == UNKNOWN) | (alternate == UNKNOWN)
    draw = _position_hash(panel.positions[columns])
    reference = np.where(reference == UNKNOWN, bases[offsets], reference)
    reference = np.where(reference == UNKNOWN, (draw >> np.uint64(8)) % np.uint64(4), reference)
    other = (reference + 1 + (draw % np.uint64(3)).astype(np.int8)) % 4
    alternate = np.where(alternate == UNKNOWN, other, alternate)
    bases[offsets] = reference
    notes = ["surrogate reference"] if background.surrogate else []
    for count, what in (
        (int(made_up.sum()), "sites with surrogate alleles"),
        (int((inside & ~used).sum()), "sites with alleles of several bases left out"),
        (int((~inside).sum()), "sites outside the reference left out"),
    ):
        if count:
            notes.append(f"{count} {what}")
    return PlacedCohort(
        panel,
        bases,
        columns,
        offsets,
        alternate.astype(np.int8),
        "; ".join(notes),
    )


def place_real(panel: Panel, ctx: RunContext) -> PlacedCohort | None:
    """A real panel over the dataset's reference; None if the dataset has none."""
    return None if ctx.sequence is None else place(ctx.sequence, panel)


def place_synthetic(panel: Panel, real: Panel, ctx: RunContext) -> PlacedCohort:
    """A synthetic cohort over the bases that its generator laid, else over the dataset's."""
    if ctx.synthetic_sequence is not None:
        return place(ctx.synthetic_sequence, panel)
    if ctx.sequence is None:
        raise ValueError("no reference sequence")
    return place(ctx.sequence, panel, under=real)


def digest(*arrays: NDArray[np.generic]) -> str:
    """BLAKE2b (hex) of some arrays' bytes, to remember results by."""
    state = hashlib.blake2b(digest_size=16)
    for array in arrays:
        state.update(np.ascontiguousarray(array).view(np.uint8).data)
        state.update(b"|")
    return state.hexdigest()


def _allele_codes(alleles: NDArray[np.str_]) -> NDArray[np.int8]:
    """0 to 3, `UNKNOWN` for one letter that is no base, `_LEFT_OUT` for several letters."""
    first = alleles.astype("U1").view(np.uint32)
    codes = np.where(first < 256, _CODES[first & 255], UNKNOWN).astype(np.int8)
    codes[np.char.str_len(alleles) != 1] = _LEFT_OUT
    return codes


def _write_reference(bases: NDArray[np.int8], start: int, panel: Panel) -> None:
    codes = _allele_codes(panel.ref)
    offsets = panel.positions - start
    known = (codes < UNKNOWN) & (offsets >= 0) & (offsets < bases.size)
    bases[offsets[known]] = codes[known]


def _position_hash(positions: NDArray[np.int64]) -> NDArray[np.uint64]:
    """SplitMix64 of each position: a fixed draw per site, whatever other sites there are."""
    z = positions.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
