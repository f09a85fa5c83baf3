"""Checkpoints: a training that was broken off goes on to the same model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from haplobench.testing import example_context, example_panel
from haplobench_vae import VAEParams
from haplobench_vae.vae import VAE, FittedVAE

QUICK = {
    "window": 32,
    "codes": 12,
    "iterations": 6,
    "dimension": 16,
    "heads": 2,
    "reach": 3,
    "residual": 8,
    "epochs": 5,
}


class KilledError(Exception):
    """Stands for whatever ends a process."""


def fit(folder: Path, killed_after: int | None = None, **changes: Any) -> FittedVAE:
    panel = example_panel(n_samples=60, n_sites=100)
    (folder / "checkpoint").mkdir(exist_ok=True)

    def progress(fraction: float, message: str) -> None:
        if killed_after is not None and f"epoch {killed_after + 1} of" in message:
            raise KilledError

    seed = changes.pop("seed", 0)
    given = {"checkpoint": folder / "checkpoint", "progress": progress} | changes
    ctx = example_context(folder, panel, seed, **given)
    return VAE().fit(panel, VAEParams.model_validate(QUICK), ctx)


def same(one: FittedVAE, other: FittedVAE) -> bool:
    first, second = one.model.state_dict(), other.model.state_dict()
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("done", [1, 3])
def test_a_resumed_training_gives_the_same_bytes(tmp_path: Path, done: int) -> None:
    (tmp_path / "whole").mkdir()
    whole = fit(tmp_path / "whole", checkpoint=None)
    with pytest.raises(KilledError):
        fit(tmp_path, killed_after=done)
    epochs: list[str] = []
    resumed = fit(tmp_path, progress=lambda _, message: epochs.append(message))
    assert epochs[1].startswith(f"epoch {done + 1} of 5")
    assert same(whole, resumed)
    histories = [
        json.loads((folder / "artifacts" / "training.json").read_text())
        for folder in (tmp_path / "whole", tmp_path)
    ]
    assert histories[0] == histories[1]
    for fitted, name in ((whole, "a"), (resumed, "b")):
        (tmp_path / name).mkdir()
        fitted.save(tmp_path / name)
    for file in ("model.safetensors", "model.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_a_finished_training_is_not_done_again(tmp_path: Path) -> None:
    whole = fit(tmp_path)
    epochs: list[str] = []
    again = fit(tmp_path, progress=lambda _, message: epochs.append(message))
    assert not any(message.startswith("epoch") for message in epochs)
    assert same(whole, again)


def test_what_another_training_left_is_passed_over(tmp_path: Path) -> None:
    with pytest.raises(KilledError):
        fit(tmp_path, killed_after=2)
    epochs: list[str] = []
    fit(tmp_path, seed=1, progress=lambda _, message: epochs.append(message))
    assert epochs[1].startswith("epoch 1 of 5")


def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    whole = fit(tmp_path / "whole", checkpoint=None)
    with pytest.raises(KilledError):
        fit(tmp_path, killed_after=2)
    (file,) = (tmp_path / "checkpoint").iterdir()
    file.write_bytes(file.read_bytes()[:-100])
    assert same(whole, fit(tmp_path))


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_trains_nearly_as_well(tmp_path: Path, precision: str) -> None:
    panel = example_panel(n_samples=60, n_sites=100)
    losses = []
    for chosen in ("float32", precision):
        ctx = example_context(tmp_path, panel)
        VAE().fit(panel, VAEParams.model_validate(QUICK | {"precision": chosen}), ctx)
        history = json.loads((tmp_path / "artifacts" / "training.json").read_text())
        codes, alleles = (history[f"validation_{of}_loss_nats"] for of in ("code", "allele"))
        losses.append(codes[-1] + alleles[-1])
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
