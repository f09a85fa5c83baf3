"""A fit by several ranks, each a process of its own, over torch.distributed on this machine."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from haplobench.errors import PluginError

if TYPE_CHECKING:
    from haplobench.data.panel import Panel
    from haplobench.plugin import GeneratorSpec, Params

_LIMIT = 600.0


def can_fit_in_ranks() -> bool:
    """Whether torch, which carries the ranks' group, is installed."""
    return importlib.util.find_spec("torch") is not None


def fit_in_ranks(
    spec: GeneratorSpec,
    params: Params,
    panel: Panel,
    seed: int,
    model: Path,
    *,
    size: int = 2,
    limit: float = _LIMIT,
) -> None:
    """Fit with `size` ranks; rank 0 saves into `model`, which is made.

    The panel lies in `train` beside `model`. `limit`: seconds.

    Raises PluginError with the last words of the rank that failed first.
    """
    model.mkdir()
    job = model.with_name("ranks.json")
    job.write_text(
        json.dumps(
            {
                "target": spec.target,
                "model": f"{type(params).__module__}:{type(params).__qualname__}",
                "params": params.model_dump(mode="json", round_trip=True),
                "train": str(model.with_name("train")),
                "saved": str(model),
                "store": str(model.with_name("ranks.store")),
                "seed": seed,
                "size": size,
            }
        )
    )
    paths = os.pathsep.join(entry for entry in sys.path if entry)
    ranks = [
        subprocess.Popen(
            [sys.executable, "-P", "-m", __name__, str(job), str(rank)],
            env={**os.environ, "PYTHONPATH": paths, "GLOO_SOCKET_IFNAME": "lo"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]
    try:
        for rank, process in enumerate(ranks):
            _, stderr = process.communicate(timeout=limit)
            if process.returncode:
                last = (stderr.strip().splitlines() or ["no message"])[-1]
                raise PluginError(f"rank {rank} of {size} exited with {process.returncode}: {last}")
    except subprocess.TimeoutExpired:
        raise PluginError(f"{size} ranks weren't done after {limit:.0f} s") from None
    finally:
        for process in ranks:
            process.kill()
            process.wait()


def _fit(job: Path, rank: int) -> None:
    """What one rank does."""
    from torch._C._distributed_c10d import FileStore

    from haplobench.data.panel import Panel
    from haplobench.distributed.torch_backend import TorchGroup
    from haplobench.registry import resolve
    from haplobench.testing.panels import example_context

    facts = json.loads(job.read_text())
    module, _, name = facts["model"].partition(":")
    params = resolve(f"{module}:{name}").model_validate(facts["params"])
    store = FileStore(facts["store"], facts["size"])
    group = TorchGroup.open(
        rank,
        facts["size"],
        local_size=facts["size"],
        host="127.0.0.1",
        port=0,
        timeout=_LIMIT,
        store=store,
    )
    train = Panel.load(facts["train"])
    folder = job.parent / f"rank{rank}"
    ctx = example_context(folder, train, facts["seed"], group=group)
    fitted = resolve(facts["target"])().fit(train, params, ctx)
    if rank == 0:
        fitted.save(Path(facts["saved"]))
    group.close()


if __name__ == "__main__":
    _fit(Path(sys.argv[1]), int(sys.argv[2]))
