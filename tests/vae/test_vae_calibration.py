"""`vae`: the temperature that gives samples the LD of real haplotypes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haplobench import SampleRequest
from haplobench.testing import example_context, example_panel
from haplobench_vae.specs import VAEParams
from haplobench_vae.vae import VAE, calibrated, r2_by_lag


@given(n=st.integers(3, 40), sites=st.integers(2, 30), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_r2_by_lag_is_numpys(n: int, sites: int, seed: int) -> None:
    haplotypes = np.random.default_rng(seed).integers(0, 2, (n, sites)).astype(np.int8)
    haplotypes[:2] = [[0], [1]]  # every site varies
    r2 = np.corrcoef(haplotypes.T) ** 2
    expected = [np.diagonal(r2, k).mean() for k in 2 ** np.arange(9) if k < sites]
    assert r2_by_lag(haplotypes) == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_fixed_and_missing_alleles_give_no_ld() -> None:
    rng = np.random.default_rng(0)
    haplotypes = np.repeat(rng.integers(0, 2, (50, 1)), 3, axis=1).astype(np.int8)
    assert r2_by_lag(haplotypes) == pytest.approx([1, 1])
    haplotypes[:, 1] = 0
    assert r2_by_lag(haplotypes) == pytest.approx([0, 1])
    haplotypes[:, 1] = -1
    assert r2_by_lag(haplotypes) == pytest.approx([0, 1])


def test_the_temperature_of_a_models_own_samples_is_found_again(tmp_path: Path) -> None:
    panel = example_panel(n_samples=250, n_sites=200, seed=3)
    ctx = example_context(tmp_path, panel)
    params = {"window": 20, "codes": 48, "dimension": 32, "reach": 8, "epochs": 6}
    fitted = VAE().fit(panel, VAEParams.model_validate(params), ctx)
    chosen = fitted.params.temperature
    assert chosen is not None
    assert json.loads((ctx.artifacts / "training.json").read_text())["temperature"] == chosen
    fitted.save(tmp_path)
    assert VAE().load(tmp_path, ctx).params.temperature == chosen
    found = []
    for wanted in (0.5, 0.9):
        own = replace(fitted, params=fitted.params.model_copy(update={"temperature": wanted}))
        labels = np.repeat(np.sort(panel.population), 2)
        made = np.concatenate(list(own.sample(SampleRequest(500, populations=labels), ctx)))
        again = calibrated(fitted, made, fitted.populations.index(labels), ctx)
        found.append(again.params.temperature)
    assert found == pytest.approx([0.5, 0.9], abs=0.15)


def test_a_temperature_that_is_given_is_kept(tmp_path: Path) -> None:
    panel = example_panel(n_samples=30, n_sites=40)
    params = VAEParams.model_validate({"epochs": 1, "codes": 8, "temperature": 0.8})
    fitted = VAE().fit(panel, params, example_context(tmp_path, panel))
    assert fitted.params.temperature == 0.8
