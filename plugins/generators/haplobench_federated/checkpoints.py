"""A federation's checkpoint: one safetensors file, replaced whole after every round.

It holds the server's weights, average and strategy, and each client's state: ledger, noise
multiplier, optimiser and clipping norm. Costs are kept beside it, as they differ from run to run.
Where noise isn't to be repeated, so are ledgers, written before anything is released: a round that
was broken off and is done again is charged twice.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from flwr.app import Context, RecordDict
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from flwr.proto.recorddict_pb2 import RecordDict as ProtoRecordDict
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from haplobench_federated.accounting import Ledger
from haplobench_federated.secure_aggregation_messages import RECORD
from haplobench_federated.server_app import Progress

_KEY = "federation"


@dataclass(frozen=True)
class FederationCheckpoint:
    """Where a federation keeps its progress.

    Attributes
    ----------
    folder : Path
        Gets `federation.safetensors` and `costs.json`.
    identity : dict
        What the federation rests on (parameters, seed, people), plain values: a file that says
        something else belongs to another one and is passed over.
    """

    folder: Path
    identity: Mapping[str, Any]

    def ledgers(self) -> Path:
        """A folder of this federation's for what was charged, which goes ahead of the progress."""
        said = json.dumps(self.identity, sort_keys=True).encode()
        folder = self.folder / f"ledgers-{hashlib.sha256(said).hexdigest()[:16]}"
        folder.mkdir(exist_ok=True)
        return folder

    def write(self, progress: Progress, contexts: Mapping[int, Context]) -> None:
        """Replace both files."""
        self._replace("costs.json", json.dumps(progress.costs).encode())
        tensors: dict[str, Tensor] = {}
        tensors |= {f"weights/{name}": value for name, value in progress.weights.items()}
        tensors |= {f"average/{name}": value for name, value in progress.average.items()}
        tensors |= {
            f"strategy/{name}": torch.from_numpy(np.array(value))
            for name, value in progress.strategy.items()
        }
        if progress.frequencies is not None:
            tensors["frequencies"] = torch.from_numpy(progress.frequencies)
        for client, context in contexts.items():
            # Keys of secure aggregation live for a round and are written nowhere.
            kept = RecordDict({k: v for k, v in context.state.items() if k != RECORD})
            wire = recorddict_to_proto(kept).SerializeToString(deterministic=True)
            tensors[f"client/{client}"] = (
                torch.frombuffer(bytearray(wire), dtype=torch.uint8)
                if wire
                else torch.zeros(0, dtype=torch.uint8)
            )
        said = {
            "identity": self.identity,
            "rounds_done": progress.rounds_done,
            "ledger": progress.ledger.to_json(),
            "stopped": progress.stopped,
        }
        scratch = self.folder / f".federation.{os.getpid()}"
        held = {name: value.detach().cpu().clone() for name, value in tensors.items()}
        # Clients' state, and a model that is not released yet: readable by its owner only.
        save_file(held, scratch, metadata={_KEY: json.dumps(said, sort_keys=True)})
        scratch.chmod(0o600)
        _settle(scratch, self.folder / "federation.safetensors")

    def read(self, contexts: Mapping[int, Context]) -> Progress | None:
        """Progress, the clients' state put into `contexts`; None where there is none."""
        path = self.folder / "federation.safetensors"
        try:
            with safe_open(path, framework="pt") as file:
                said = json.loads((file.metadata() or {}).get(_KEY, "{}"))
                if said.get("identity") != json.loads(json.dumps(self.identity)):
                    return None
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            costs = json.loads((self.folder / "costs.json").read_text())
        except (OSError, ValueError, SafetensorError):
            return None
        for client, context in contexts.items():
            wire = tensors[f"client/{client}"].numpy().tobytes()
            context.state = recorddict_from_proto(ProtoRecordDict.FromString(wire))
        frequencies = tensors.get("frequencies")
        return Progress(
            rounds_done=int(said["rounds_done"]),
            weights=_under("weights/", tensors),
            average=_under("average/", tensors),
            strategy={k: v.numpy() for k, v in _under("strategy/", tensors).items()},
            frequencies=None if frequencies is None else frequencies.numpy(),
            ledger=Ledger.from_json(said["ledger"]),
            stopped=said["stopped"],
            costs=costs[: int(said["rounds_done"])],
        )

    def _replace(self, name: str, content: bytes) -> None:
        scratch = self.folder / f".{name}.{os.getpid()}"
        scratch.write_bytes(content)
        _settle(scratch, self.folder / name)


def _settle(scratch: Path, path: Path) -> None:
    with scratch.open("rb") as handle:
        os.fsync(handle.fileno())
    scratch.replace(path)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v.clone() for k, v in tensors.items() if k.startswith(prefix)}
