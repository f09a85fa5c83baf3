"""What several metrics share: refusals, equal numbers, and notes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from haplobench import Measurement, Panel, PanelError

_BLOCK_BYTES = 1 << 25


def require_complete(metric: str, **panels: Panel) -> None:
    """Raise PanelError that names the first of `panels` with missing alleles, if any has."""
    for side, panel in panels.items():
        if panel.has_missing:
            raise PanelError(
                f"{metric}: the {side} panel has missing alleles, expected 0 or 1 everywhere",
                hint="leave out sites with missing alleles when the dataset is loaded",
            )


def equal_rows(n_first: int, n_second: int, rng: np.random.Generator) -> tuple[Any, Any]:
    """Rows that leave two cohorts of `n_first` and `n_second` haplotypes equally many.

    Each is `slice(None)`, or (min(n_first, n_second),) int64, increasing, drawn without
    replacement from the larger side.
    """
    n = min(n_first, n_second)

    def rows(total: int) -> Any:
        return slice(None) if total == n else np.sort(rng.choice(total, n, replace=False))

    return rows(n_first), rows(n_second)


def rows_key(rows: Any) -> bytes:
    """What tells rows of `equal_rows` apart, for `remember`."""
    return b"" if isinstance(rows, slice) else hashlib.sha256(rows.tobytes()).digest()


def site_blocks(n_rows: int, n_sites: int) -> Iterator[slice]:
    """Cut sites into blocks of at most 32 Mi alleles; the last takes what remains."""
    step = max(1, _BLOCK_BYTES // max(1, n_rows))
    for start in range(0, n_sites, step):
        yield slice(start, min(start + step, n_sites))


def basis(n_synthetic: int, n_real: int, *details: str) -> str:
    """A note: haplotypes on each side, then further details."""
    sides = f"{n_synthetic:,} synthetic against {n_real:,} held-out haplotypes"
    return "; ".join([sides, *(detail for detail in details if detail)])


def measured(
    value: float | None, n: int, note: str, why_not: str, labels: Mapping[str, str] | None = None
) -> Measurement:
    """A measurement, or one that is not applicable for the reason `why_not`."""
    return Measurement(
        None if value is None else float(value),
        n,
        labels=labels or {},
        note=why_not if value is None else note,
    )
