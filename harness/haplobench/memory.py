"""Results kept within a process, which measures several draws against the same real people."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

_T = TypeVar("_T")
_ENTRIES, _BYTES = 64, 1 << 28
_kept: OrderedDict[Hashable, Any] = OrderedDict()


def remember(key: Hashable, compute: Callable[[], _T], *, keep: bool = True) -> _T:
    """What `compute()` gave for `key` in this process.

    Begin `key` with a name of your own, and keep it to what decides the result (digests and
    parameters, never the object). Those used last are kept: 64 of them, and 256 MiB of those
    that say their `nbytes`. With `keep` False a new one is not, as for what belongs to a single
    draw unless it happens to equal the real side's.
    """
    if key in _kept:
        _kept.move_to_end(key)
    elif not keep:
        return compute()
    else:
        _kept[key] = compute()
        while len(_kept) > 1 and (len(_kept) > _ENTRIES or _size() > _BYTES):
            _kept.popitem(last=False)
    value: _T = _kept[key]
    return value


def _size() -> int:
    return sum(getattr(value, "nbytes", 0) for value in _kept.values())
