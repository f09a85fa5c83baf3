"""Fits `vae` and `vae-paper` with several options, over whatever started it; rank 0 writes.

Usage: vae_ranks_script.py FOLDER, under torchrun, horovodrun or alone.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from haplobench import RunContext, SampleRequest
from haplobench.distributed import ProcessGroup, group_from_environment
from haplobench.testing import example_context, example_panel
from haplobench_vae import PaperVAEParams, VAEParams
from haplobench_vae.paper import PaperVAE
from haplobench_vae.vae import VAE

QUICK = {
    "window": 16,
    "codes": 12,
    "iterations": 6,
    "dimension": 16,
    "heads": 2,
    "reach": 3,
    "residual": 8,
    "epochs": 5,
    "batch_size": 21,  # no multiple of a world size
}
CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "in one piece": {"overlap": False},
    "fp16": {"compression": "fp16"},
}
PAPER = {"window": 16, "windows_per_group": 2, "epochs": 3, "warm_up": 1}


class StoppedError(Exception):
    """Stands for whatever ends all ranks at once."""


def context(folder: Path, group: ProcessGroup, **more: Any) -> RunContext:
    return example_context(folder / f"rank{group.rank}", panel, 0, group=group, **more)


def digest(state: dict[str, Any]) -> str:
    whole = b"".join(state[name].numpy().tobytes() for name in sorted(state))
    return hashlib.sha256(whole).hexdigest()


def fit(folder: Path, group: ProcessGroup, params: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Validation losses, codes, sampled haplotypes, and whether all ranks have the same model."""
    group.counters.operations.clear()
    ctx = context(folder, group, **more)
    fitted = VAE().fit(panel, VAEParams.model_validate(QUICK | params), ctx)
    digests = group.gather(digest(fitted.model.state_dict()))
    if group.rank:
        return {}
    history = json.loads((ctx.artifacts / "training.json").read_text())
    alone = context(folder, type(group)() if group.size == 1 else group)
    sampled = np.concatenate(list(fitted.sample(SampleRequest(120), alone)))
    np.savez(folder / "found.npz", sampled=sampled, codes=fitted.encode(panel, alone))
    return {
        "code": history["validation_code_loss_nats"],
        "allele": history["validation_allele_loss_nats"],
        "same": len(set(map(str, digests))) == 1,
        "bytes": group.counters.operations.get("all_reduce", {}).get("bytes", 0),
        "steps": group.counters.facts()["steps"],
    }


def resumed(folder: Path, group: ProcessGroup) -> dict[str, Any]:
    """The same after a stop in the third epoch."""
    checkpoint = folder / "checkpoint"
    checkpoint.mkdir(exist_ok=True)

    def stop(fraction: float, message: str) -> None:
        if "epoch 3 of" in message:
            raise StoppedError

    try:
        fit(folder, group, {}, checkpoint=checkpoint, progress=stop)
    except StoppedError:
        group.barrier()
    return fit(folder, group, {}, checkpoint=checkpoint)


def paper(folder: Path, group: ProcessGroup) -> dict[str, Any]:
    """Digest of the published design's weights on every rank."""
    fitted = PaperVAE().fit(panel, PaperVAEParams.model_validate(PAPER), context(folder, group))
    states = {
        f"{i} {name}": value
        for i, model in enumerate(fitted.models)
        for name, value in model.state_dict().items()
    }
    return {"digests": group.gather(digest(states))}


def main(folder: Path) -> None:
    """Write `FOLDER/<case>.json`, and the plain case's arrays."""
    group = group_from_environment()
    found: dict[str, Any] = {"size": group.size, "backend": group.backend}
    for case, params in CASES.items():
        at = folder / case
        at.mkdir(exist_ok=True)
        found[case] = fit(at, group, params)
    (folder / "resumed").mkdir(exist_ok=True)
    found["resumed"] = resumed(folder / "resumed", group)
    found["paper"] = paper(folder, group)
    if group.rank == 0:
        (folder / "found.json").write_text(json.dumps(found))
    group.close()


panel = example_panel(n_samples=60, n_sites=100)

if __name__ == "__main__":
    main(Path(sys.argv[1]))
