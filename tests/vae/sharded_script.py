"""Fits one `vae` whose ranks keep all of it, or a part each; also broken off and gone on with.

Usage: sharded_script.py FOLDER, under torchrun. Rank 0 writes each model and its `training.json`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from haplobench import RunContext
from haplobench.distributed import ProcessGroup, group_from_environment
from haplobench.testing import example_context, example_panel
from haplobench_vae import VAEParams
from haplobench_vae.vae import VAE

EPOCHS = 4


class BrokenOffError(Exception):
    """Two epochs are enough."""


def fit(out: Path, group: ProcessGroup, sharded: bool, **changes: object) -> None:
    """Fit, and save on rank 0."""
    panel = example_panel(n_samples=60, n_sites=150, seed=3)
    params = VAEParams(
        window=20, codes=12, dimension=16, reach=4, epochs=EPOCHS, temperature=0.8, sharded=sharded
    )
    ctx: RunContext = example_context(out / f"rank{group.rank}", panel, seed=1, group=group)
    fitted = VAE().fit(panel, params, replace(ctx, **changes))  # type: ignore[arg-type]
    if group.rank == 0:
        fitted.save(out)
        (out / "training.json").write_text((ctx.artifacts / "training.json").read_text())


def stop_after(epoch: int) -> Callable[[float, str], None]:
    """Break off when an epoch's end is reported, before its checkpoint."""

    def report(fraction: float, message: str) -> None:
        if message.startswith(f"epoch {epoch} "):
            raise BrokenOffError

    return report


def main(folder: Path) -> None:
    """All fits."""
    group = group_from_environment()
    for sharded in (False, True):
        fit(folder / ("sharded" if sharded else "whole"), group, sharded)
    checkpoint = folder / "checkpoint"
    try:
        fit(folder / "resumed", group, True, checkpoint=checkpoint, progress=stop_after(3))
    except BrokenOffError:
        group.barrier()
        assert list(checkpoint.iterdir()), "broken off before a checkpoint was written"
        fit(folder / "resumed", group, True, checkpoint=checkpoint)
    group.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
