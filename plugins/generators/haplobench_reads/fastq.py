"""FASTQ files: records formatted as one array, gzipped, written whole or not at all."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from haplobench_reads.illumina import Fragments, Reads

_PHRED_OFFSET = 33
_LEVEL = 4
_DIGITS = 10
_POWERS = 10 ** np.arange(_DIGITS - 1, -1, -1, dtype=np.int64)


@contextmanager
def gzipped(paths: Sequence[Path]) -> Iterator[list[gzip.GzipFile]]:
    """Open files to be written gzipped; they appear under their names when all are whole.

    The bytes depend on the content alone (no time and no name in the header).
    """
    partial = [path.with_name(f".{path.name}.partial") for path in paths]
    try:
        with ExitStack() as stack:
            files: list[gzip.GzipFile] = []
            for path in partial:
                raw = stack.enter_context(path.open("wb"))
                packed = gzip.GzipFile("", "wb", _LEVEL, fileobj=raw, mtime=0)
                files.append(stack.enter_context(packed))
            yield files
        for path, target in zip(partial, paths, strict=True):
            path.rename(target)
    finally:
        for path in partial:
            path.unlink(missing_ok=True)


def records(
    prefix: str, start: int, first_number: int, fragments: Fragments, reads: Reads, suffix: str
) -> bytes:
    """FASTQ records of one mate.

    Names encode the origin, in fields of fixed width so that all records are one array:
    `{prefix}_{first bp}_{last bp}_{strand of the first read}_{number}{suffix}`; bp are
    1-based on the reference, `start` being the position of offset 0.
    """
    n = reads.bases.shape[0]
    strand = np.where(fragments.reverse, np.uint8(ord("-")), np.uint8(ord("+")))
    columns = [
        _text(f"@{prefix}_", n),
        _decimal(fragments.start + start),
        _text("_", n),
        _decimal(fragments.end + start - 1),
        _text("_", n),
        strand[:, None],
        _text("_", n),
        _decimal(np.arange(first_number, first_number + n)),
        _text(f"{suffix}\n", n),
        reads.bases,
        _text("\n+\n", n),
        reads.qualities + np.uint8(_PHRED_OFFSET),
        _text("\n", n),
    ]
    return np.concatenate(columns, axis=1).tobytes()


def _text(text: str, n: int) -> NDArray[np.uint8]:
    """The same text in every row: (n, len(text)) uint8."""
    return np.broadcast_to(np.frombuffer(text.encode(), np.uint8), (n, len(text)))


def _decimal(values: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Zero-padded decimal digits: (n, 10) uint8."""
    return (values[:, None] // _POWERS % 10 + ord("0")).astype(np.uint8)
