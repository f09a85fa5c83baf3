"""`vae`: conformance, populations, borders, cuts, storage."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from haplobench import BenchError, Panel, PluginError, SampleRequest, SuiteError
from haplobench.registry import load_registry
from haplobench.suite import load_suite
from haplobench.testing import check_generator, example_context, example_panel
from haplobench_vae.specs import VAEParams
from haplobench_vae.vae import VAE, FittedVAE

QUICK = {
    "window": 32,
    "codes": 12,
    "iterations": 6,
    "dimension": 16,
    "heads": 2,
    "reach": 3,
    "residual": 8,
    "epochs": 3,
}
WIDTH = 20


def fit(folder: Path, panel: Panel, seed: int = 0, **params: Any) -> FittedVAE:
    ctx = example_context(folder, panel, seed)
    return VAE().fit(panel, VAEParams.model_validate(QUICK | params), ctx)


def draw(
    fitted: FittedVAE, folder: Path, panel: Panel, request: SampleRequest, **changes: Any
) -> NDArray[np.int8]:
    return np.concatenate(list(fitted.sample(request, example_context(folder, panel, **changes))))


def test_conformance() -> None:
    passed = check_generator("vae", params=QUICK, registry=load_registry(["haplobench_vae"]))
    expected = {"determinism", "start", "batch size", "load", "light import", "populations"}
    assert expected <= set(passed)


@pytest.fixture(scope="module")
def large() -> Panel:
    return example_panel(n_samples=400, n_sites=200, seed=3)


@pytest.fixture(scope="module")
def trained(large: Panel, tmp_path_factory: pytest.TempPathFactory) -> FittedVAE:
    # These people are mosaics of about 30 sites: windows shorter than that.
    params = {"window": WIDTH, "codes": 48, "dimension": 32, "reach": 8, "epochs": 12}
    return fit(tmp_path_factory.mktemp("fit"), large, **params)


def test_ld_is_kept_inside_windows_and_across_their_borders(
    trained: FittedVAE, large: Panel, tmp_path: Path
) -> None:
    synthetic = draw(trained, tmp_path, large, SampleRequest(2000))
    assert np.corrcoef(large.frequencies, synthetic.mean(axis=0))[0, 1] > 0.99
    sites = np.flatnonzero(np.abs(large.frequencies - 0.5) < 0.4)
    i, j = np.triu_indices(sites.size, 1)
    near = np.abs(sites[i] - sites[j]) < 20
    crossing = near & (sites[i] // WIDTH != sites[j] // WIDTH)
    real, found = (np.corrcoef(x[:, sites].T)[i, j] for x in (large.haplotypes, synthetic))
    assert np.corrcoef(real[near & ~crossing], found[near & ~crossing])[0, 1] > 0.95
    assert np.corrcoef(real[crossing], found[crossing])[0, 1] > 0.8


def test_conditioned_on_a_population_it_has_that_populations_frequencies(
    trained: FittedVAE, large: Panel, tmp_path: Path
) -> None:
    labels = large.haplotype_populations
    real = {name: large.haplotypes[labels == name].mean(axis=0) for name in ("YRI", "CEU")}
    other = {"YRI": "CEU", "CEU": "YRI"}
    for name in ("YRI", "CEU"):
        request = SampleRequest(2000, populations=np.full(2000, name))
        found = draw(trained, tmp_path, large, request).mean(axis=0)
        own = np.sqrt(np.mean((found - real[name]) ** 2))
        assert own < 0.05
        assert own < np.sqrt(np.mean((found - real[other[name]]) ** 2)) / 2


def test_a_superpopulation_is_its_populations_by_their_shares(
    trained: FittedVAE, large: Panel, tmp_path: Path
) -> None:
    # Each superpopulation of this panel has one population: the same haplotypes.
    found = [
        draw(trained, tmp_path, large, SampleRequest(64, populations=np.full(64, name)))
        for name in ("CEU", "EUR")
    ]
    np.testing.assert_array_equal(*found)


def test_a_population_nobody_has_is_refused_by_name(
    trained: FittedVAE, large: Panel, tmp_path: Path
) -> None:
    with pytest.raises(PluginError, match="'JPT' is asked for.*CEU, YRI"):
        draw(trained, tmp_path, large, SampleRequest(4, populations=np.full(4, "JPT")))


def test_a_haplotype_depends_on_neither_cut_nor_neighbours(
    trained: FittedVAE, large: Panel, tmp_path: Path
) -> None:
    labels = np.resize(np.repeat(["CEU", "YRI"], 2), 600)
    whole = draw(trained, tmp_path, large, SampleRequest(600, populations=labels))
    for start, n, batch in ((0, 2, 1), (250, 20, 7), (598, 2, 1024)):
        request = SampleRequest(n, start, batch, labels[start : start + n])
        part = draw(trained, tmp_path, large, request)
        np.testing.assert_array_equal(part, whole[start : start + n])
    swapped = labels.copy()
    swapped[4:] = "CEU"
    found = draw(trained, tmp_path, large, SampleRequest(600, populations=swapped))
    np.testing.assert_array_equal(found[:4], whole[:4])


def test_training_improves_and_its_history_is_kept(tmp_path: Path) -> None:
    panel = example_panel(n_samples=200, seed=1)
    told: list[tuple[float, str]] = []
    ctx = example_context(tmp_path, panel, progress=lambda *news: told.append(news))
    VAE().fit(panel, VAEParams.model_validate(QUICK | {"epochs": 6}), ctx)
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1.0)
    assert "epoch 6 of 6" in told[-1][1]
    history = json.loads((tmp_path / "artifacts" / "training.json").read_text())
    codes, alleles = (history[f"validation_{of}_loss_nats"] for of in ("code", "allele"))
    assert len(codes) == len(alleles) == 6
    total = np.add(codes, alleles)
    assert total[-1] < total[0]
    assert history["best_epoch"] == int(total.argmin())


def test_training_stops_when_the_validation_likelihood_no_longer_improves(tmp_path: Path) -> None:
    panel = example_panel(n_samples=20, n_sites=40)
    fit(tmp_path, panel, epochs=400, patience=3, learning_rate=0.05)
    history = json.loads((tmp_path / "artifacts" / "training.json").read_text())
    assert len(history["validation_code_loss_nats"]) == history["best_epoch"] + 4 < 400


def test_people_set_apart_train_nothing(tmp_path: Path) -> None:
    panel = example_panel()
    held = np.array([1, 5, 7])
    changed = panel.haplotypes.copy()
    rows = np.concatenate([2 * held, 2 * held + 1])
    changed[rows] = 1 - changed[rows]
    # One epoch: nothing is chosen on validation, so those people can't leave a trace.
    states = []
    for haplotypes in (panel.haplotypes, changed):
        ctx = example_context(tmp_path, panel, validation=held)
        params = VAEParams.model_validate(QUICK | {"epochs": 1})
        states.append(VAE().fit(replace(panel, haplotypes=haplotypes), params, ctx).model)
    one, other = (model.state_dict() for model in states)
    assert all(one[name].equal(other[name]) for name in one)


def test_a_panel_narrower_than_a_window_and_with_missing_alleles(tmp_path: Path) -> None:
    panel = example_panel(n_sites=5)
    haplotypes = panel.haplotypes.copy()
    haplotypes[::7, 1] = -1
    haplotypes[:, 3] = -1
    panel = replace(panel, haplotypes=haplotypes)
    synthetic = draw(fit(tmp_path, panel), tmp_path, panel, SampleRequest(300))
    assert synthetic.shape == (300, 5)
    assert set(np.unique(synthetic)) <= {0, 1}


def test_params_are_checked() -> None:
    for wrong in ({"window": 1}, {"dimension": 30, "heads": 4}, {"recombined": 2}, {"latent": 3}):
        with pytest.raises(ValidationError):
            VAEParams.model_validate(wrong)


def test_options_of_earlier_versions_are_passed_over_or_refused_by_name(tmp_path: Path) -> None:
    assert VAEParams.model_validate({"accumulate": 1, "hierarchical": False}) == VAEParams()
    suite = tmp_path / "suite.yaml"
    for key, value in (("accumulate", 3), ("hierarchical", True), ("compression", "powersgd")):
        suite.write_text(
            "name: a\ndatasets: [embedded]\nseeds: [1]\nmetrics: [time]\ngenerators:\n"
            f"  - {{name: vae, params: {{{key}: {value}}}}}\n"
        )
        with pytest.raises(SuiteError, match=f"{key}: {value} was removed") as refused:
            load_suite(suite, [], load_registry())
        assert len(refused.value.problems) == 1


def test_a_model_that_ranks_trained_in_an_earlier_version_is_loaded(tmp_path: Path) -> None:
    panel = example_panel(n_samples=20, n_sites=30)
    fitted = fit(tmp_path, panel, epochs=1)
    saved = tmp_path / "old"
    saved.mkdir()
    fitted.save(saved)
    head = json.loads((saved / "model.json").read_text())
    head["params"] |= {"accumulate": 4, "hierarchical": True, "compression": "powersgd"}
    (saved / "model.json").write_text(json.dumps(head))
    loaded = VAE().load(saved, example_context(tmp_path / "ctx", panel))
    request = SampleRequest(40)
    np.testing.assert_array_equal(
        draw(loaded, tmp_path, panel, request), draw(fitted, tmp_path, panel, request)
    )


@given(n=st.integers(1, 20_000), batch_size=st.integers(1, 512))
def test_what_is_left_open_follows_from_the_number_of_haplotypes(n: int, batch_size: int) -> None:
    chosen = VAEParams(batch_size=batch_size).for_haplotypes(n)
    assert chosen.codes is not None
    assert chosen.epochs is not None
    assert chosen.codes == 2 or chosen.codes <= n / 4
    assert chosen.epochs * max(1, n // batch_size) >= 400
    assert chosen.dropout == (0.2 if n < 2000 else 0.1)
    given_ = VAEParams(codes=8, epochs=3, dropout=0.0).for_haplotypes(max(n, 32))
    assert (given_.codes, given_.epochs, given_.dropout) == (8, 3, 0.0)


def test_what_is_no_model_is_refused_in_one_line(tmp_path: Path) -> None:
    ctx = example_context(tmp_path, example_panel())
    with pytest.raises(BenchError, match="not a saved vae model"):
        VAE().load(tmp_path, ctx)
    (tmp_path / "model.json").write_text('{"format": 99}')
    with pytest.raises(BenchError, match="format 99, expected 2"):
        VAE().load(tmp_path, ctx)
