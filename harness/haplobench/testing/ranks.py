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
    from haplobench.plugin import GeneratorSpec, Params

_LIMIT = 600.0  # seconds
_SIZE = 2


def can_fit_in_ranks() -> bool:
    """Whether torch, which carries the ranks' group, is installed."""
    return importlib.util.find_spec("torch") is not None


def fit_in_ranks(spec: GeneratorSpec, params: Params, seed: int, model: Path) -> None:
    """Fit with two ranks on the panel `train` beside `model`, a folder that is made.

    Raises PluginError with the last words of the rank that failed first.
    """
    model.mkdir()
    job = {
        "target": spec.target,
        "model": f"{type(params).__module__}:{type(params).__qualname__}",
        "params": params.model_dump(mode="json", round_trip=True),
        "seed": seed,
    }
    model.with_name("ranks.json").write_text(json.dumps(job))
    paths = os.pathsep.join(entry for entry in sys.path if entry)
    ranks = [
        subprocess.Popen(
            [sys.executable, "-P", "-m", __name__, str(model), str(rank)],
            env={**os.environ, "PYTHONPATH": paths},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(_SIZE)
    ]
    try:
        for rank, process in enumerate(ranks):
            _, stderr = process.communicate(timeout=_LIMIT)
            if process.returncode:
                last = (stderr.strip().splitlines() or ["no message"])[-1]
                raise PluginError(
                    f"rank {rank} of {_SIZE} exited with {process.returncode}: {last}"
                )
    except subprocess.TimeoutExpired:
        raise PluginError(f"{_SIZE} ranks weren't done after {_LIMIT:.0f} s") from None
    finally:
        for process in ranks:
            process.kill()
            process.wait()


def _fit(model: Path, rank: int) -> None:
    """What one rank does."""
    from haplobench.data.panel import Panel
    from haplobench.distributed.rendezvous import open_group
    from haplobench.registry import resolve
    from haplobench.testing.panels import example_context

    job = json.loads(model.with_name("ranks.json").read_text())
    params = resolve(job["model"]).model_validate(job["params"])
    meeting = model.with_name("meeting.json")
    group = open_group(
        "torch", rank, _SIZE, local_rank=rank, local_size=_SIZE, meeting=meeting, timeout=_LIMIT
    )
    train = Panel.load(model.with_name("train"))
    ctx = example_context(model.with_name(f"rank{rank}"), train, job["seed"], group=group)
    fitted = resolve(job["target"])().fit(train, params, ctx)
    if rank == 0:
        fitted.save(model)
    group.close()


if __name__ == "__main__":
    _fit(Path(sys.argv[1]), int(sys.argv[2]))
