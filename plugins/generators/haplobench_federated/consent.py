"""People who withdrew: they are taken out before anything else is done."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from haplobench import BenchError, FormatError, Panel


def withdrawn_names(listed: tuple[str, ...] | str) -> frozenset[str]:
    """Names from a list, or from a file with one a line.

    Raises FormatError if the file can't be read.
    """
    if not isinstance(listed, str):
        return frozenset(listed)
    try:
        lines = Path(listed).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"withdrawn: {listed}: can't be read: {error}") from None
    return frozenset(line.strip() for line in lines if line.strip())


def without_withdrawn(
    panel: Panel, names: frozenset[str], validation: NDArray[np.int64] | None = None
) -> tuple[Panel, NDArray[np.int64] | None]:
    """The panel without them, and the indices of `validation` in it.

    Names that are not in the panel are passed over: they may be held out, or of another panel.

    Raises BenchError if nobody is left.
    """
    stays = ~np.isin(panel.samples, sorted(names))
    if stays.all():
        return panel, validation
    if not stays.any():
        raise BenchError("withdrawn: everybody in the training panel withdrew")
    if validation is not None:
        validation = (np.cumsum(stays) - 1)[validation[stays[validation]]]
    return panel.select_samples(stays), validation
