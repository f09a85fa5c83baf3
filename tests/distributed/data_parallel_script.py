"""Trains one small model with several options, over whatever started it; rank 0 writes JSON.

Usage: data_parallel_script.py OUT.json, under torchrun, horovodrun or alone.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from haplobench.distributed import (
    ProcessGroup,
    data_parallel,
    group_from_environment,
    whole,
)

PLAIN: dict[str, Any] = {}
CASES = {
    "plain": PLAIN,
    "in one piece": {"overlap": False},
    "fp16": {"compression": "fp16"},
    "sharded": {"sharded": True},
}
STEPS = 30
BATCH = 61  # no multiple of any world size


def train(group: ProcessGroup, options: dict[str, Any]) -> dict[str, Any]:
    """Loss of the global batch, step by step, and the parameters at the end."""
    # Rank 0's parameters are to become everyone's; a sharded rank keeps some of its own.
    torch.manual_seed(0 if "sharded" in options else group.rank)
    model = torch.nn.Sequential(torch.nn.Linear(20, 32), torch.nn.Tanh(), torch.nn.Linear(32, 4))
    if "sharded" in options:
        options = {"sharded": [model[0]]}
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    trainer = data_parallel(model, optimizer, group, **options)
    draws = torch.Generator().manual_seed(1)
    inputs = torch.randn(300, 20, generator=draws)
    wanted = torch.sin(inputs[:, :4])
    losses = []
    before = group.counters.facts()
    for _ in range(STEPS):
        batch = torch.randperm(300, generator=draws)[:BATCH]
        rows, share = trainer.part(BATCH)
        at = batch[rows]
        loss = ((trainer.model(inputs[at]) - wanted[at]) ** 2).mean()
        trainer.backward(loss, share)
        trainer.step(clip_norm=1.0)
        losses.append(float(loss.detach()) * share)
    sent = group.counters.facts()
    shared = [p.detach() for p in trainer.module.parameters()]
    kept = sum(getattr(p, "_local_tensor", p).numel() for p in shared)
    parameters = np.concatenate([whole(p).numpy().ravel() for p in shared]).astype(np.float64)
    mean = group.all_reduce(parameters) / group.size
    return {
        "losses": group.all_reduce(np.array(losses)).tolist(),
        "parameters": parameters.tolist(),
        "spread": float(np.abs(parameters - mean).max()),
        "kept": kept / parameters.size,
        "bytes": sent["bytes"] - before["bytes"],
        "steps": trainer.meter.facts(),
    }


def collectives(group: ProcessGroup) -> dict[str, Any]:
    """What every operation gives on this rank."""
    own = group.rank + 1
    group.barrier()
    return {
        "sum": group.all_reduce(np.arange(6).reshape(2, 3) * own).tolist(),
        "dtypes": [
            str(group.all_reduce(np.array(own, dtype)).dtype)
            for dtype in ("int8", "int16", "int32", "int64", "float32", "float64")
        ],
        "broadcast": group.broadcast(
            np.full((2, 2), own, np.float32), root=group.size - 1
        ).tolist(),
        "gather": group.gather({"rank": group.rank, "of": group.size}),
    }


def main(out: Path) -> None:
    """All cases."""
    group = group_from_environment()
    found: dict[str, Any] = {"backend": group.backend, "size": group.size}
    found["collectives"] = collectives(group)
    for name, options in CASES.items():
        if name == "sharded" and group.backend == "horovod":
            continue
        found[name] = train(group, options)
    if group.rank == 0:
        out.write_text(json.dumps(found))
    group.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
