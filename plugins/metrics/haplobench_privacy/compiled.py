"""Compilation of the kernels: kept on disk between processes where that is possible."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numba

F = TypeVar("F", bound=Callable[..., object])


def compiled(function: F) -> F:
    """Compile with numba on the first call; without its disk cache if no folder is writable."""
    try:
        kernel: F = numba.njit(function, cache=True, nogil=True)
    except RuntimeError:  # numba: no locator available
        kernel = numba.njit(function, nogil=True)
    return kernel
