"""Checkpoints of a training in progress: one safetensors file, replaced whole."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

_KEY = "training"


@dataclass(frozen=True)
class CheckpointFile:
    """Where a training keeps its progress.

    Attributes
    ----------
    path : Path
    identity : dict
        What the training rests on (parameters, seed, data), plain values: a file that says
        something else belongs to another training and is passed over.
    """

    path: Path
    identity: Mapping[str, Any]

    def write(self, tensors: Mapping[str, Tensor], progress: Mapping[str, Any]) -> None:
        """Replace the file; `progress` is plain values."""
        said = json.dumps({"identity": self.identity, "progress": progress}, sort_keys=True)
        scratch = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        # Copies: safetensors refuses tensors that share memory.
        held = {name: value.detach().cpu().clone() for name, value in tensors.items()}
        # Not by `save_file`, whose files are for their owner only: a colleague may resume the run.
        scratch.write_bytes(save(held, metadata={_KEY: said}))
        with scratch.open("rb") as handle:
            os.fsync(handle.fileno())
        scratch.replace(self.path)

    def read(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Tensors (on the CPU) and progress; None where there is no file of this training."""
        if not self.path.is_file():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                said = json.loads((file.metadata() or {}).get(_KEY, "{}"))
                if said.get("identity") != json.loads(json.dumps(self.identity)):
                    return None
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, ValueError, SafetensorError):
            return None
        return tensors, said["progress"]


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
    """Undo `optimiser_tensors`."""
    states: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, _, name = key.partition("/")
        states.setdefault(int(index), {})[name] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": states})
