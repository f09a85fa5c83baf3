"""Files in safetensors, never pickle: fitted models, and checkpoints of a training in progress."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from haplobench import BenchError
from haplobench.distributed import shared_like
from haplobench.files import write_whole

_FORMAT = 2
_KEY = "training"


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


@dataclass(frozen=True)
class CheckpointFile:
    """Where a training keeps its progress.

    `identity`: what the training rests on (parameters, seed, data), plain values: a file that says
    something else belongs to another training and is passed over.
    """

    path: Path
    identity: Mapping[str, Any]

    def write(self, tensors: Mapping[str, Tensor], progress: Mapping[str, Any]) -> None:
        """Replace the file; `progress` is plain values."""
        header = json.dumps({"identity": self.identity, "progress": progress}, sort_keys=True)
        # Copies: safetensors refuses tensors that share memory.
        copies = {name: value.detach().cpu().clone() for name, value in tensors.items()}
        # Not by `save_file`, whose files are for their owner only: a colleague may resume the run.
        write_whole(self.path, save(copies, metadata={_KEY: header}))

    def read(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Tensors (on the CPU) and progress; None where there is no file of this training."""
        if not self.path.is_file():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                header = json.loads((file.metadata() or {}).get(_KEY, "{}"))
                if header.get("identity") != json.loads(json.dumps(self.identity)):
                    return None
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, ValueError, SafetensorError):
            return None
        return tensors, header["progress"]


def nested(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names with `prefix/` before them."""
    return {f"{prefix}/{name}": value for name, value in tensors.items()}


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Undo `nested`: what lies under a prefix."""
    start = f"{prefix}/"
    return {
        name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)
    }


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimiser's state by parameter and name: `3/exp_avg`."""
    return {
        f"{index}/{name}": value
        for index, state in optimiser.state_dict()["state"].items()
        for name, value in state.items()
    }


def load_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Undo `optimiser_tensors`; of values that ranks share each takes its part."""
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    states: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, _, name = key.partition("/")
        states.setdefault(int(index), {})[name] = shared_like(parameters[int(index)], value)
    optimiser.load_state_dict({**optimiser.state_dict(), "state": states})
