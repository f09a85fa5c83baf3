"""Saved models: `model.json` (what it is) and `model.safetensors` (its weights); no pickle."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save
from torch import Tensor

from haplobench import BenchError

_FORMAT = 2


def write_model(directory: Path, head: Mapping[str, Any], state: Mapping[str, Tensor]) -> None:
    """Write a model into an existing folder; `head` is plain values."""
    weights = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    # Not by `save_file`, whose files are for their owner only, whatever the umask.
    (directory / "model.safetensors").write_bytes(save(weights))
    text = json.dumps({"format": _FORMAT, **head}, indent=1)
    (directory / "model.json").write_text(text + "\n")


@contextmanager
def reading_model(directory: Path, name: str) -> Iterator[tuple[dict[str, Any], dict[str, Tensor]]]:
    """Yield what `write_model` wrote: head and weights (on the CPU).

    Raises BenchError if the folder holds no model of this format, also where the body finds
    that head and weights don't fit: `name` is the generator whose model was expected.
    """
    path = directory / "model.json"
    try:
        head: dict[str, Any] = json.loads(path.read_text())
        if head["format"] != _FORMAT:
            raise BenchError(
                f"{path}: format {head['format']}, expected {_FORMAT}",
                hint="fit the model again, with this version",
            )
        yield head, load_file(directory / "model.safetensors")
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise BenchError(f"{directory}: not a saved {name} model: {error}") from None
