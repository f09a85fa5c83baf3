"""A seeded fuzzer: valid files, changed in small ways, and what their reader makes of them.

A reader may read a changed file, or refuse it with a `BenchError` of bounded text. Anything else
that it raises, more than `SECONDS`, or more than `MEMORY`, is a fault. Input `i` depends on the
seed and `i` alone, so that a fault can be had again.
"""

from __future__ import annotations

import faulthandler
import json
import os
import random
import resource
import signal
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from haplobench import BenchError
from haplobench.data.formats import apart
from haplobench.files import printable

INPUTS = int(os.environ.get("FUZZ_INPUTS", "200"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
SECONDS = 20
MEMORY = 2 << 30

TOKENS = (
    *("", " ", "-1", "0", "1e999", "-0.0", ".inf", ".nan", "nan", "inf", "null", "~", "true"),
    *("[]", "{}", "[[[[", "}}", '"', "'", ":", "- ", "#", "&a", "*a", "!!binary x", "\\", "%"),
    *("9" * 400, "1_000", "0x10", "1:2:3", "2001-99-99", "é", "\x00", "\x1b[31m", "\u202e"),
    *("../" * 8, "/dev/zero", "${HOME}", "${", "=", "\t", "\r\n", "\ufeff", "a" * 300),
)
VALUES = (
    *(None, True, False, -1, 0, 1, 10**400, -(10**20), 0.5, 1e308, float("nan"), float("inf")),
    *("", "x", "inf", "\x1b]0;title\x07", "\ud800", "é" * 300, "../../../etc/passwd", "/dev/zero"),
    *([], [None], [[1]], {}, {"": None}, {"name": 3}, ["a", 1]),
)


def mutate_bytes(content: bytes, rng: random.Random) -> bytes:
    """A content with one to four small changes."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) + 1)
        end = min(len(data), at + rng.choice((1, 1, 2, 8, 64, 512)))
        match rng.randrange(7):
            case 0 if data:
                data[at % len(data)] ^= 1 << rng.randrange(8)
            case 1:
                del data[at:end]
            case 2:
                data[at:at] = data[at:end] * rng.choice((1, 2, 50))
            case 3:
                data[at:end] = rng.choice(TOKENS).encode()
            case 4:
                data[at:at] = rng.choice(TOKENS).encode()
            case 5:
                del data[at:]
            case _:
                lines = data.splitlines(keepends=True)
                rng.shuffle(lines)
                data = bytearray(b"".join(lines))
    return bytes(data)


def mutate_value(value: Any, rng: random.Random) -> Any:
    """A plain value in which one place holds something else, is gone, or is nested deep."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        if rng.random() < 0.1:
            return {name: item for name, item in value.items() if name != key}
        return {**value, key: mutate_value(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.9:
        at = rng.randrange(len(value))
        return [*value[:at], mutate_value(value[at], rng), *value[at + 1 :]]
    if rng.random() < 0.03:
        deep: Any = value
        for _ in range(rng.choice((60, 400))):
            deep = [deep]
        return deep
    return rng.choice(VALUES)


def mutate_json(content: bytes, rng: random.Random) -> bytes:
    """JSON, or lines of it, changed by `mutate_value`; now and then byte by byte."""
    if rng.random() < 0.25:
        return mutate_bytes(content, rng)
    try:
        return json.dumps(mutate_value(json.loads(content), rng), indent=1).encode()
    except ValueError:
        lines = content.splitlines()
        for _ in range(rng.choice((1, 1, len(lines)))):
            at = rng.randrange(len(lines))
            lines[at] = json.dumps(mutate_value(json.loads(lines[at]), rng)).encode()
        return b"\n".join(lines) + b"\n"


@contextmanager
def _in_time() -> Iterator[None]:
    def late(*_: object) -> None:
        raise TimeoutError(f"more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def fuzz(
    name: str,
    files: Mapping[Path, bytes],
    readers: Mapping[str, Callable[[], object]],
    mutate: Callable[[bytes, random.Random], bytes] = mutate_bytes,
    *,
    together: int = 1,
) -> None:
    """Change one of some files at a time and have one of the readers read.

    Every fault is told, with the input's number and the changed file left for looking at.

    Where each reading would fork a child, so many inputs are read `together` by one child of ours:
    the first as ever, the others without a child of their own, but for one at which ours ends.

    Raises AssertionError if there is any fault, or if no input was read or none refused: such a
    fuzzer would find nothing.
    """
    ways = list(readers.items())

    def attempt(number: int) -> tuple[str, str]:
        """An input's outcome: `fine`, `refused` or `fault`, and what the fault is."""
        rng = random.Random(f"{SEED} {name} {number}")
        path = rng.choice(list(files))
        path.chmod(0o644)
        path.write_bytes(mutate(files[path], rng))
        reader, read = ways[number % len(ways)]
        outcome, fault = "fine", ""
        try:
            with _in_time():
                read()
        except BenchError as error:
            outcome, text = "refused", str(error)
            longest = max(map(len, text.split("\n")))
            if longest > 4_000 or not printable(text).encode():
                fault = f"says {text[:300]!r}"
        except Exception as error:
            fault = "".join(traceback.format_exception(error)[-3:])
        path.write_bytes(files[path])
        # Children, too: formats are read in processes of their own.
        whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        peak = 1024 * max(resource.getrusage(who).ru_maxrss for who in whose)
        if peak > MEMORY:
            fault = f"{peak:,} bytes of memory"
        return (
            ("fault", f"input {number} ({path.name}, {reader}): {fault}")
            if fault
            else (
                outcome,
                "",
            )
        )

    outcomes = [
        outcome
        for start in range(0, INPUTS, together)
        for outcome in _by_one_child(attempt, list(range(start, min(INPUTS, start + together))))
    ]
    faults = [text for outcome, text in outcomes if outcome == "fault"]
    shown = "\n".join(faults[:8])
    assert not faults, f"{len(faults)} faults in {INPUTS} inputs (seed {SEED}):\n{shown}"
    seen = {outcome for outcome, _ in outcomes}
    assert "fine" in seen, "no input was read: the mutations are too rough"
    assert "refused" in seen, "no input was refused: the mutations are too tame"


def _by_one_child(
    attempt: Callable[[int], tuple[str, str]], numbers: Sequence[int]
) -> list[tuple[str, str]]:
    """The outcomes of some inputs, the first here, the others in one forked child."""
    done = [attempt(numbers[0])]
    if len(numbers) == 1:
        return done
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            faulthandler.disable()
            apart.read_apart = lambda read, path, scratch: read()
            for number in numbers[1:]:
                os.write(writing, json.dumps(attempt(number)).encode() + b"\n")
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as told:
        done += [tuple(json.loads(line)) for line in told]
    os.waitpid(child, 0)
    left = numbers[len(done) :]
    return done + (_by_one_child(attempt, left) if left else [])
