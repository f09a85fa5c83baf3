"""Files: read where nobody vouches for them, written whole or not at all; texts safe to show."""

from __future__ import annotations

import codecs
import contextlib
import csv
import errno
import gzip
import hashlib
import io
import json
import math
import os
import re
import secrets
import shutil
import stat
import unicodedata
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from haplobench.errors import FormatError
from haplobench.units import format_size

T = TypeVar("T")

SMALL = 1 << 20
"""Bytes that a small file (a status, an error, a description) has at most."""
_MOST_JSON = 64 * SMALL
# Where this project's real data lie, from the current folder, unless the variable is set.
_DEFAULTS = {"HAPLOBENCH_DATA": "../shared/data"}
_VARIABLE = re.compile(
    r"\$(?:(?P<dollar>\$)|(?P<bare>[A-Za-z_]\w*)|\{(?P<name>[A-Za-z_]\w*)(?::-(?P<default>[^}]*))?\}"
    r"|(?P<wrong>\{[^}]*\}?))"
)
_SCRATCH = ".new."
_LONGEST = 180
_CONTROLS = "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_CONTROL = re.compile(f"[{_CONTROLS}]")
# In JSON controls may be raw or escaped; most lines have neither, and are passed over.
_CONTROL_IN_JSON = re.compile(
    rf"[{_CONTROLS}]|\\u(00[0189]|007f|061c|20[026]|d[89a-f])|\\[bfr]", re.IGNORECASE
)


# --- texts ----------------------------------------------------------------------------------


def csv_text(names: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as CSV under a head of column names; what a row lacks is left empty."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def printable(text: str) -> str:
    r"""A text that can't command a terminal: its control characters as `\x1b`, `\u202e`.

    Line breaks and tabs stay. Half a surrogate pair, which no file can hold, goes the same way.
    """
    return _CONTROL.sub(lambda match: ascii(match[0])[1:-1], text)


def printable_values(value: Any) -> Any:
    """Plain values with every text in them, keys too, made `printable`."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {printable(str(key)): printable_values(item) for key, item in value.items()}
    if isinstance(value, list):
        return [printable_values(item) for item in value]
    return value


def has_controls(line: bytes) -> bool:
    """Whether a line of JSON has control characters in its texts, raw or escaped."""
    return bool(_CONTROL_IN_JSON.search(line.decode(errors="surrogateescape")))


def file_name(text: str) -> str:
    """A file name for a cell's name; a long one is cut, with a digest that keeps it apart.

    Room is left for endings: at most 180 bytes.
    """
    name = text.replace("/", ".")
    raw = name.encode()
    if len(raw) <= _LONGEST:
        return name
    digest = hashlib.sha256(raw).hexdigest()[:8]
    return f"{raw[: _LONGEST - 9].decode(errors='ignore')}~{digest}"


def near_names(name: str, names: Iterable[str], lead: str = "; ") -> str:
    """`did you mean …?` after some `lead`, or nothing where no name is near."""
    import difflib

    near = difflib.get_close_matches(name, list(dict.fromkeys(names)), n=3, cutoff=0.6)
    return f"{lead}did you mean {', '.join(near)}?" if near else ""


def expand_variables(text: str) -> str:
    """A text with `${NAME}`, `$NAME` and `${NAME:-default}` replaced by the environment's values.

    An empty variable is one that isn't set; `$$` is a dollar sign. Raises FormatError for a
    variable that isn't set and has no default, and for braces with anything else in them.
    """

    def value(match: re.Match[str]) -> str:
        if match["dollar"]:
            return "$"
        if match["wrong"]:
            raise FormatError(
                f"{text}: expected ${{NAME}} or ${{NAME:-default}}, found {match[0]} ($$ is a "
                "dollar sign)"
            )
        name = match["name"] or match["bare"]
        known = os.environ.get(name) or match["default"]
        known = _DEFAULTS.get(name) if known is None else known
        if known is None:
            raise FormatError(f"{text}: the environment variable {name} is not set")
        return known

    return _VARIABLE.sub(value, text)


def expand_path(text: str) -> Path:
    """A path with environment variables (see `expand_variables`) and `~` expanded."""
    return Path(expand_variables(text)).expanduser()


def cache_folder() -> Path:
    """`HAPLOBENCH_CACHE`, or `haplobench` in the user's cache folder (XDG)."""
    if own := os.environ.get("HAPLOBENCH_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "haplobench"


def digest_of(value: object) -> str:
    """SHA-256 (hex) of a value's canonical JSON; what JSON can't hold (a date) as its text."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 (hex) of a file's content."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def jsonable(value: Any) -> Any:
    """Plain values as JSON can hold them: infinite numbers and NaN as texts, `inf` and `nan`."""
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


# --- reading --------------------------------------------------------------------------------


def require_file(path: Path, *, folder: bool = False) -> None:
    """Raise FormatError unless `path` is a readable file (or, with `folder`, a folder)."""
    if not path.exists():
        raise FormatError(f"{path}: no such {'folder' if folder else 'file'}")
    if path.is_dir() != folder:
        found, expected = ("a file", "a folder") if folder else ("a folder", "a file")
        raise FormatError(f"{path}: found {found}, expected {expected}")
    if not folder and not path.is_file():
        # It may never end, and is read more than once.
        raise FormatError(
            f"{path}: found a pipe or a device, expected a file", hint="save its content to one"
        )
    if not os.access(path, os.R_OK):
        raise FormatError(f"{path}: no permission to read it")


def read_regular(path: Path, limit: int = SMALL) -> bytes:
    """The content of a regular file, of `limit` bytes at most.

    Raises OSError for anything else: a FIFO or a device would never end.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(handle, "rb") as stream:
        kind = os.fstat(handle)
        if not stat.S_ISREG(kind.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        if kind.st_size > limit:
            raise OSError(errno.EFBIG, f"larger than {limit:,} bytes", str(path))
        return stream.read(limit + 1)


def read_json(path: Path) -> dict[str, Any] | None:
    """An object of JSON, its texts printable; None if there is none or it isn't an object."""
    try:
        value = parse_json(read_regular(path, _MOST_JSON))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def read_as(kind: type[T], path: Path) -> T:
    """A file of JSON as a dataclass, its fields checked; what the dataclass has not is left out.

    Raises FileNotFoundError, and FormatError for whatever is not such a file.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_python(parse_json(read_regular(path, _MOST_JSON)))
    except FileNotFoundError:
        raise
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "it"
        raise FormatError(f"{path}: not {kind.__name__}: {key}: {first['msg']}") from None
    except (OSError, ValueError) as error:
        raise FormatError(f"{path}: not {kind.__name__}: {error}") from None


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text, its texts printable: results may be somebody else's.

    Raises ValueError, also for what nests too deep.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8")
    try:
        value = json.loads(text)
        return printable_values(value) if _CONTROL_IN_JSON.search(text) else value
    except RecursionError:
        raise ValueError("nests too deep") from None


# --- writing --------------------------------------------------------------------------------


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A scratch file to write, which then takes the place of `path`: flushed first, then renamed.

    After an error it is removed, and `path` is as it was; what a killed process leaves is
    known by its name, see `is_abandoned`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f"{_SCRATCH}{owner()}.{secrets.token_hex(4)}")
    try:
        yield scratch
        sync(scratch)
        scratch.replace(path)
    finally:
        with contextlib.suppress(OSError):
            scratch.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes, mode: int = 0o666) -> None:
    """Write a file whole or not at all; text as UTF-8; `mode` as for `os.open`."""
    with replacing(path) as scratch:
        handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with open(handle, "wb") as stream:
            stream.write(content.encode() if isinstance(content, str) else content)


def link_or_copy(source: Path, target: Path) -> None:
    """Have a file in a second place, whole or not at all, without doubling it where that can be."""
    if target.exists():
        return
    with replacing(target) as scratch:
        try:
            os.link(source, scratch)
        except OSError:
            shutil.copyfile(source, scratch)


def new_folder(parent: Path, prefix: str) -> Path:
    """Make a folder of a name that nothing else has.

    Unlike `tempfile.mkdtemp`'s, it is for whom the umask says: others share results folders.
    """
    folder = parent / f"{prefix}{secrets.token_hex(8)}"
    folder.mkdir(parents=True)
    return folder


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON whole or not at all; infinite numbers become texts, see `jsonable`."""
    plain = printable_values(jsonable(value))
    text = json.dumps(plain, indent=1, allow_nan=False, ensure_ascii=False)
    write_whole(path, text + "\n")


def sync(path: Path) -> None:
    """Flush a file or folder to disk; OSError for what is neither."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_tree(folder: Path) -> None:
    """Remove a folder with all that is in it, as far as that can be."""
    try:
        shutil.rmtree(folder, ignore_errors=True)
    except RecursionError:
        import subprocess

        # Folders nested deeper than Python's recursion, or a path's length, goes.
        subprocess.run(["rm", "-rf", "--", str(folder)], check=False, capture_output=True)


def owner() -> str:
    """This process, for names of scratch files: host and pid."""
    return f"{os.uname().nodename}.{os.getpid()}"


def is_gone(owned_by: str) -> bool:
    """Whether a process called so by `owner` ran on this machine and has ended."""
    import psutil

    host, _, pid = owned_by.rpartition(".")
    return host == os.uname().nodename and pid.isdigit() and not psutil.pid_exists(int(pid))


def is_abandoned(path: Path) -> bool:
    """Whether a file is the scratch file of a process that has ended."""
    name = path.name
    return name.startswith(_SCRATCH) and is_gone(name[len(_SCRATCH) :].rpartition(".")[0])


# --- text that users hand in ------------------------------------------------------------------

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
