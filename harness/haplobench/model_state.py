"""Saved state of fitted generators: arrays and facts in a folder. For plugins."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haplobench.errors import PluginError

_HEAD = "generator.json"


def save_state(
    directory: Path, name: str, arrays: Mapping[str, NDArray[Any]], **facts: Any
) -> None:
    """Write `arrays` and JSON-able `facts` of the generator `name` into an existing folder."""
    for key, values in arrays.items():
        np.save(directory / f"{key}.npy", values, allow_pickle=False)
    head = {"generator": name, "arrays": sorted(arrays), "facts": facts}
    (directory / _HEAD).write_text(json.dumps(head, indent=1) + "\n")


def load_state(directory: Path, name: str) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Arrays, mapped into memory read-only, and facts that `save_state` wrote.

    Raises PluginError if the folder doesn't hold a whole fitted generator of that name.
    """
    try:
        head = json.loads((directory / _HEAD).read_text())
        if head["generator"] != name:
            raise ValueError(f"it holds {head['generator']!r}")
        arrays = {
            key: np.load(directory / f"{key}.npy", mmap_mode="r", allow_pickle=False)
            for key in head["arrays"]
        }
        return arrays, dict(head["facts"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PluginError(f"{directory}: not a fitted {name!r}: {error}") from None
