"""Text files that users hand in, as editors, spreadsheets and other programs write them."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import unicodedata
import zlib
from collections.abc import Iterator
from pathlib import Path

from haplobench.errors import FormatError
from haplobench.files import require_file
from haplobench.units import format_size

# For readers that stream: a byte order mark at the start is no part of the text.
ENCODING = "utf-8-sig"
# UTF-32's little-endian mark starts with UTF-16's, so it is looked for first.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


LIMIT = 1 << 30
"""Bytes that a compressed table may unpack to; a score's ten million variants are half of it."""


def read_text(path: Path) -> str:
    """A file's text: UTF-8, or UTF-16 or UTF-32 with its byte order mark; `.gz` is unpacked.

    Raises FormatError if there is no such file, it isn't text, or unpacks to more than `LIMIT`.
    """
    require_file(path)
    try:
        return decode(_unpacked(path) if path.suffix == ".gz" else path.read_bytes())
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise FormatError(f"{path}: can't be read: {error}") from None


def _unpacked(path: Path) -> bytearray:
    data = bytearray()
    with gzip.open(path) as stream:
        while block := stream.read(1 << 20):
            data += block
            if len(data) > LIMIT:
                raise ValueError(f"expected a table, but it unpacks to over {format_size(LIMIT)}")
    return data


def decode(data: bytes | bytearray) -> str:
    """Text of bytes as for `read_text`; ValueError if it isn't any."""
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), ENCODING)
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"line {line} isn't {encoding.removesuffix('-sig').upper()} text (byte "
            f"{data[error.start]:#04x}); save the file as UTF-8"
        ) from None
    if "\0" in text:
        raise ValueError("not text: it holds zero bytes")
    return text


def numbered_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield (line number, line) whatever ends the lines: LF, CR LF or CR alone.

    Blanks of any kind but tabs become spaces, and what has no width (a byte order mark in
    the middle, joiners) is taken out.
    """
    for number, line in enumerate(io.StringIO(text, newline=None), 1):
        line = line.rstrip("\n")
        yield number, line if line.isascii() else "".join(map(_plain, line))


def _plain(mark: str) -> str:
    if mark.isspace():
        return mark if mark == "\t" else " "
    return "" if unicodedata.category(mark) == "Cf" else mark


def cells(line: str, separator: str) -> list[str]:
    """The cells of a line, quotes and outer blanks taken off; ` ` stands for any blanks."""
    if separator == " ":
        line = line.replace("\t", " ").strip()
    row = next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
    return [cell.strip().strip("\"'“”‘’").strip() for cell in row]
