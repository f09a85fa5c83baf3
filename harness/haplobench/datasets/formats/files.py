"""Files as such: present, whole, and written whole or not at all."""

from __future__ import annotations

import gzip
import os
import shutil
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from haplobench.errors import FormatError
from haplobench.files import new_folder

# The empty block that ends every BGZF file (SAM/BAM specification, section 4.1.2).
BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


def require_file(path: Path, *, folder: bool = False) -> None:
    """Raise FormatError unless `path` is a readable file (or, with `folder`, a folder)."""
    if not path.exists():
        raise FormatError(f"{path}: no such {'folder' if folder else 'file'}")
    if path.is_dir() != folder:
        found, expected = ("a file", "a folder") if folder else ("a folder", "a file")
        raise FormatError(f"{path}: found {found}, expected {expected}")
    if not os.access(path, os.R_OK):
        raise FormatError(f"{path}: no permission to read it")


def require_whole(path: Path) -> None:
    """Raise FormatError if a compressed file was cut short or damaged.

    BGZF: its end marker (its blocks' checksums are verified as they are read). Plain
    gzip: read through once, since readers stop silently at its truncated end.
    """
    with path.open("rb") as handle:
        head = handle.read(18)
        if head[:2] != b"\x1f\x8b":
            return
        if len(head) > 14 and head[3] & 4 and head[12:14] == b"BC":
            handle.seek(0, os.SEEK_END)
            handle.seek(max(0, handle.tell() - len(BGZF_END)))
            if handle.read() != BGZF_END:
                raise FormatError(
                    f"{path}: cut short: the BGZF end marker is missing", hint="fetch it again"
                )
            return
    read = 0
    try:
        with gzip.open(path) as stream:
            while block := stream.read(1 << 20):
                read += len(block)
    except (EOFError, OSError, zlib.error) as error:
        raise FormatError(
            f"{path}: damaged or cut short after {read} bytes of text: {error}",
            hint="fetch it again",
        ) from None


@contextmanager
def staged(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; what is written there is moved into place at the end.

    Nothing appears under its final name if the body fails.
    """
    scratch = new_folder(path.parent, f".{path.name}.")
    try:
        yield scratch
        for made in sorted(scratch.iterdir()):
            target = path.parent / made.name
            if target.is_dir():
                shutil.rmtree(target)
            made.replace(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def check_names(path: Path, names: Iterable[str]) -> None:
    """Raise FormatError if a name can't stand in a text table: with blanks, or `#` at its start."""
    for name in names:
        if name.startswith("#") or any(mark.isspace() for mark in name):
            raise FormatError(
                f"{path}: can't hold the name {name!r}: it has blanks or starts with #"
            )
