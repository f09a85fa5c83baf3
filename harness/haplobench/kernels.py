"""Compilation of numeric kernels: kept on disk between processes where that can be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F, **flags: Any) -> F:
    """Compile with numba on the first call, without Python's lock; `flags` are numba's.

    The code is kept on disk; where no folder is writable (a read-only installation, no home) it
    is compiled anew by each process.
    """
    import numba

    flags = {"nogil": True, **flags}
    try:
        kernel: F = numba.njit(function, cache=True, **flags)
    except RuntimeError:  # numba: no locator available
        kernel = numba.njit(function, **flags)
    return kernel
