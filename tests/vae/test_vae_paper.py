"""`vae-paper`: conformance, what it learns and what its design loses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from haplobench import BenchError, Panel, SampleRequest
from haplobench.registry import load_registry
from haplobench.testing import check_generator, example_context, example_panel
from haplobench_vae.paper import FittedPaperVAE, PaperVAE
from haplobench_vae.specs import PaperVAEParams

QUICK = {"epochs": 6, "window": 64, "windows_per_group": 3, "warm_up": 2, "latent": 4}
WIDTH = 40


def fit(
    folder: Path, panel: Panel, seed: int = 0, device: str = "cpu", **params: Any
) -> FittedPaperVAE:
    ctx = example_context(folder, panel, seed, device=device)
    return PaperVAE().fit(panel, PaperVAEParams.model_validate(QUICK | params), ctx)


def draw(
    fitted: FittedPaperVAE, folder: Path, panel: Panel, n: int, **changes: Any
) -> NDArray[np.int8]:
    ctx = example_context(folder, panel, **changes)
    return np.concatenate(list(fitted.sample(SampleRequest(n), ctx)))


def ld_agreement(real: NDArray[np.int8], synthetic: NDArray[np.int8], *, crossing: bool) -> float:
    """Correlation over pairs of the two signed r, inside windows or across one border."""
    common = np.abs(real.mean(axis=0) - 0.5) < 0.4
    common &= (synthetic.min(axis=0) < 1) & (synthetic.max(axis=0) > 0)
    sites = np.flatnonzero(common)
    a, b = (np.corrcoef(x[:, sites].T) for x in (real, synthetic))
    i, j = np.triu_indices(sites.size, 1)
    apart = np.abs(sites[i] - sites[j])
    window = sites // WIDTH
    chosen = (apart < 20) & ((window[i] != window[j]) if crossing else (window[i] == window[j]))
    return float(np.corrcoef(a[i, j][chosen], b[i, j][chosen])[0, 1])


def test_conformance() -> None:
    passed = check_generator("vae-paper", params=QUICK, registry=load_registry(["haplobench_vae"]))
    assert {"determinism", "start", "batch size", "load", "light import"} <= set(passed)


@pytest.fixture(scope="module")
def large() -> Panel:
    return example_panel(n_samples=400, n_sites=200, seed=3)


@pytest.fixture(scope="module")
def trained(large: Panel, tmp_path_factory: pytest.TempPathFactory) -> FittedPaperVAE:
    return fit(tmp_path_factory.mktemp("fit"), large, window=WIDTH, epochs=25, latent=8)


def test_ld_is_learnt_inside_windows_and_ends_at_their_borders(
    trained: FittedPaperVAE, large: Panel, tmp_path: Path
) -> None:
    synthetic = draw(trained, tmp_path, large, 2000)
    frequencies = np.corrcoef(large.frequencies, synthetic.mean(axis=0))[0, 1]
    assert frequencies > 0.97
    assert ld_agreement(large.haplotypes, synthetic, crossing=False) > 0.65
    assert abs(ld_agreement(large.haplotypes, synthetic, crossing=True)) < 0.3


def test_thresholded_alleles_are_the_likelier_ones(
    trained: FittedPaperVAE, large: Panel, tmp_path: Path
) -> None:
    drawn = draw(trained, tmp_path, large, 2000)
    params = trained.params.model_copy(update={"output": "threshold"})
    likelier = draw(replace(trained, params=params), tmp_path, large, 2000)
    assert set(np.unique(likelier)) == {0, 1}
    # Drawing adds variance within a latent: thresholded alleles are fewer where rare.
    rare = large.frequencies < 0.1
    assert likelier[:, rare].mean() < drawn[:, rare].mean()


def test_progress_and_history_cover_every_window_and_epoch(tmp_path: Path) -> None:
    panel = example_panel()
    told: list[tuple[float, str]] = []
    ctx = example_context(
        tmp_path, panel, progress=lambda fraction, message: told.append((fraction, message))
    )
    PaperVAE().fit(panel, PaperVAEParams.model_validate(QUICK), ctx)
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    assert len(told) == 12
    assert fractions[-1] == pytest.approx(1.0)
    assert "windows 4-4 of 4, epoch 6 of 6" in told[-1][1]
    history = json.loads((tmp_path / "artifacts" / "training.json").read_text())
    assert len(history["best_epoch"]) == len(history["validation_loss_nats"]) == 4
    assert all(1 <= epoch < 6 for epoch in history["best_epoch"])


def test_validation_people_train_nothing(tmp_path: Path) -> None:
    panel = example_panel()
    held = _held(tmp_path, panel)
    changed = panel.haplotypes.copy()
    changed[held] = 1 - changed[held]
    # One epoch: nothing is chosen on validation, so those people can't leave a trace.
    params = {"epochs": 1, "warm_up": 0}
    one = fit(tmp_path, panel, **params).models[0].state_dict()
    other = fit(tmp_path, replace(panel, haplotypes=changed), **params).models[0].state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def _held(folder: Path, panel: Panel) -> NDArray[np.bool_]:
    from haplobench_vae.training import validation_haplotypes

    ctx = example_context(folder, panel)
    return validation_haplotypes(panel, 0.1, ctx.rng("vae", "validation"))


def test_a_panel_narrower_than_a_window_and_with_missing_alleles(tmp_path: Path) -> None:
    panel = example_panel(n_sites=5)
    haplotypes = panel.haplotypes.copy()
    haplotypes[::7, 1] = -1
    haplotypes[:, 3] = -1
    panel = replace(panel, haplotypes=haplotypes)
    synthetic = draw(fit(tmp_path, panel), tmp_path, panel, 300)
    assert synthetic.shape == (300, 5)
    assert set(np.unique(synthetic)) <= {0, 1}


def test_params_are_checked() -> None:
    for wrong in ({"window": 4}, {"channels": (16, 0)}, {"output": "argmax"}, {"windows": 1}):
        with pytest.raises(ValidationError):
            PaperVAEParams.model_validate(wrong)


def test_what_is_no_model_is_refused_in_one_line(tmp_path: Path) -> None:
    ctx = example_context(tmp_path, example_panel())
    with pytest.raises(BenchError, match="not a saved vae-paper model"):
        PaperVAE().load(tmp_path, ctx)
    (tmp_path / "model.json").write_text('{"format": 99}')
    with pytest.raises(BenchError, match="format 99, expected 2"):
        PaperVAE().load(tmp_path, ctx)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
def test_cuda_is_deterministic_and_close_to_the_cpu(tmp_path: Path) -> None:
    panel = example_panel()
    once, again = (fit(tmp_path, panel, device="cuda:0") for _ in range(2))
    cpu = fit(tmp_path, panel)
    for a, b, c in zip(once.models, again.models, cpu.models, strict=True):
        for name, value in a.state_dict().items():
            assert torch.equal(value, b.state_dict()[name])
            torch.testing.assert_close(value.cpu(), c.state_dict()[name], rtol=0.05, atol=0.05)
    first, second = (draw(f, tmp_path, panel, 300, device="cuda:0") for f in (once, again))
    np.testing.assert_array_equal(first, second)
