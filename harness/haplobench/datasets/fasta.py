"""Reference bases of a region, from a FASTA file."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np

from haplobench.datasets.formats.files import require_file, require_whole
from haplobench.datasets.formats.options import same_contig
from haplobench.errors import FormatError
from haplobench.panel import Panel
from haplobench.sequence import ReferenceSequence

# More disagreeing sites than this, and the sequence is another build's or contig's.
_MAX_MISMATCH = 0.01
_UPPER = np.arange(256, dtype=np.uint8)
for _base in b"acgtn":
    _UPPER[_base] = _base - 32
for _code in b"RYSWKMBDHVryswkmbdhv":
    _UPPER[_code] = ord("N")


def read_sequence(path: Path, panel: Panel) -> ReferenceSequence:
    """Bases from the panel's first site to its last.

    By the `.fai` index where there is one beside it, else read through. Lower case is made
    upper, ambiguity codes N.

    Raises FormatError if the contig or the region isn't in the file, or if more than 1 % of
    the panel's reference alleles are other bases there (another build).
    """
    require_file(path)
    start, end = int(panel.positions[0]), int(panel.positions[-1])
    if path.with_name(path.name + ".fai").exists():
        text = _indexed(path, panel.contig, start, end)
    else:
        require_whole(path)
        text = _streamed(path, panel.contig, start, end)
    if len(text) != end - start + 1:
        raise FormatError(
            f"{path}: contig {panel.contig} ends before {panel.contig}:{end}",
            hint="is it of the panel's build?",
        )
    bases = _UPPER[np.frombuffer(text, np.uint8)]
    single = (np.char.str_len(panel.ref) == 1) & (panel.ref != "N")
    known = np.frombuffer("".join(np.char.upper(panel.ref[single])).encode(), np.uint8)
    there = bases[panel.positions[single] - start]
    differ = (known != there) & (there != ord("N"))
    if known.size and differ.mean() > _MAX_MISMATCH:
        raise FormatError(
            f"{path}: {int(differ.sum())} of {known.size} reference alleles of the panel are "
            f"other bases there, the first at {panel.contig}:{panel.positions[single][differ][0]}",
            hint="is it of the panel's build?",
        )
    return ReferenceSequence(bases, start, surrogate=False)


def _indexed(path: Path, contig: str, start: int, end: int) -> bytes:
    import pysam

    try:
        with pysam.FastaFile(str(path)) as fasta:
            name = _name(path, contig, list(fasta.references))
            return str(fasta.fetch(name, start - 1, end)).encode()
    except (OSError, ValueError, KeyError) as error:
        raise FormatError(f"{path}: can't be read by its index: {error}") from None


def _streamed(path: Path, contig: str, start: int, end: int) -> bytes:
    names: list[str] = []
    taken: list[bytes] = []
    position, inside = 0, False
    opener = gzip.open if path.suffix in (".gz", ".bgz") else open
    try:
        with opener(path, "rb") as lines:
            for line in lines:
                if line.startswith(b">"):
                    if inside:
                        break
                    words = line[1:].split(maxsplit=1)
                    names.append(words[0].decode(errors="replace") if words else "")
                    inside = same_contig(names[-1], contig)
                elif not names:
                    raise FormatError(f"{path}:1: expected a FASTA header that starts with >")
                elif inside:
                    bases = line.strip()
                    low, high = start - 1 - position, end - position
                    if high > 0 and low < len(bases):
                        taken.append(bases[max(0, low) : high])
                    position += len(bases)
                    if position >= end:
                        break
    except (OSError, EOFError, zlib.error) as error:
        raise FormatError(f"{path}: can't be read: {error}") from None
    if not inside:
        _name(path, contig, names)
    return b"".join(taken)


def _name(path: Path, contig: str, names: list[str]) -> str:
    for name in names:
        if same_contig(name, contig):
            return name
    raise FormatError(f"{path}: no contig {contig!r}; it holds {', '.join(names[:30]) or 'none'}")
