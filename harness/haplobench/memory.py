"""Results kept within a process, which measures many cohorts against the same real people."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import is_dataclass
from typing import Any, TypeVar

_T = TypeVar("_T")
_ENTRIES, _BYTES = 256, 1 << 29
_kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()


def remember(key: Hashable, compute: Callable[[], _T], *, keep: bool = True) -> _T:
    """What `compute()` gave for `key` in this process.

    Begin `key` with a name of your own, and keep it to what decides the result (digests,
    parameters and the seed, never the object): the process measures cohorts of several generators
    and seeds of a dataset. Those used last are kept: 256 of them, and 512 MiB of arrays in them.
    With `keep` False a new one is not, as for what belongs to a single draw unless it happens to
    equal the real side's.
    """
    if key in _kept:
        _kept.move_to_end(key)
    elif not keep:
        return compute()
    else:
        value = compute()
        _kept[key] = value, _size(value)
        while len(_kept) > 1 and (
            len(_kept) > _ENTRIES or sum(size for _, size in _kept.values()) > _BYTES
        ):
            _kept.popitem(last=False)
    kept: _T = _kept[key][0]
    return kept


def forget() -> None:
    """Keep nothing of what was kept so far."""
    _kept.clear()


def _size(value: Any) -> int:
    """Bytes of the arrays in a value: its own, or those of its members and fields."""
    if (own := getattr(value, "nbytes", None)) is not None:
        return int(own)
    if isinstance(value, Mapping):
        return sum(map(_size, value.values()))
    if isinstance(value, list | tuple):
        return sum(map(_size, value))
    return sum(map(_size, vars(value).values())) if is_dataclass(value) else 0
