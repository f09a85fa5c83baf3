"""`vae`: conformance, what it learns, the temperature of samples, its latent space."""

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
from sklearn.decomposition import PCA

from haplobench import (
    BenchError,
    Explorable,
    Panel,
    PluginError,
    RunContext,
    SampleRequest,
    SuiteError,
)
from haplobench.registry import load_registry
from haplobench.suite.load import load_suite
from haplobench.testing import check_generator, example_context, example_panel
from haplobench_vae import VAEParams
from haplobench_vae.vae import VAE, FittedVAE, calibrated

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
PARAMS = {"window": 20, "codes": 48, "dimension": 32, "reach": 8, "epochs": 8}


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


def test_the_temperature_of_a_models_own_samples_is_found_again(tmp_path: Path) -> None:
    panel = example_panel(n_samples=250, n_sites=200, seed=3)
    ctx = example_context(tmp_path, panel)
    params = {"window": 20, "codes": 48, "dimension": 32, "reach": 8, "epochs": 6}
    fitted = VAE().fit(panel, VAEParams.model_validate(params), ctx)
    chosen = fitted.params.temperature
    assert chosen is not None
    told = json.loads((ctx.artifacts / "training.json").read_text())
    assert told["temperature"] == chosen
    assert abs(told["ld_excess"]) < 0.5
    assert abs(told["distinct_excess"]) < 0.5
    fitted.save(tmp_path)
    assert VAE().load(tmp_path, ctx).params.temperature == chosen
    found = []
    for wanted in (0.5, 0.9):
        own = replace(fitted, params=fitted.params.model_copy(update={"temperature": wanted}))
        labels = np.repeat(np.sort(panel.population), 2)
        made = np.concatenate(list(own.sample(SampleRequest(500, populations=labels), ctx)))
        again, _ = calibrated(fitted, made, fitted.populations.index(labels), ctx)
        found.append(again.params.temperature)
    assert found == pytest.approx([0.5, 0.9], abs=0.15)


def test_the_last_temperature_that_is_tried_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    panel = example_panel(n_samples=150, n_sites=60, seed=3)
    ctx = example_context(tmp_path, panel)
    params = {"window": 20, "codes": 16, "dimension": 16, "epochs": 1, "temperature": 1}
    fitted = VAE().fit(panel, VAEParams.model_validate(params), ctx)
    one = np.random.default_rng(0).integers(0, 2, (300, 1)).astype(np.int8)
    population = np.zeros(300, np.int64)
    again, excess = calibrated(fitted, np.repeat(one, 60, axis=1), population, ctx)
    assert again.params.temperature == 0.4
    assert excess["ld_excess"] < -0.1
    assert "temperature 0.40 is the last that is tried" in caplog.text
    caplog.clear()
    rare = np.zeros((300, 60), np.int8)
    again, excess = calibrated(fitted, rare, population, ctx)
    assert (again.params.temperature, excess) == (0.65, {})
    assert not caplog.text


def test_a_temperature_that_is_given_is_kept(tmp_path: Path) -> None:
    panel = example_panel(n_samples=30, n_sites=40)
    params = VAEParams.model_validate({"epochs": 1, "codes": 8, "temperature": 0.8})
    fitted = VAE().fit(panel, params, example_context(tmp_path, panel))
    assert fitted.params.temperature == 0.8


@pytest.fixture(scope="module")
def panel() -> Panel:
    return example_panel(n_samples=200, n_sites=200, seed=3)


@pytest.fixture(scope="module")
def ctx(panel: Panel, tmp_path_factory: pytest.TempPathFactory) -> RunContext:
    return example_context(tmp_path_factory.mktemp("fit"), panel)


@pytest.fixture(scope="module")
def fitted(panel: Panel, ctx: RunContext) -> FittedVAE:
    return VAE().fit(panel, VAEParams.model_validate(PARAMS), ctx)


def people(panel: Panel, group: str, n: int = 20) -> Panel:
    return panel.select_samples(np.flatnonzero(panel.superpopulation == group)[:n])


def test_alleles_are_drawn_with_the_probabilities(fitted: FittedVAE, ctx: RunContext) -> None:
    request = SampleRequest(3000, batch_size=700)
    alleles = np.concatenate(list(fitted.sample(request, ctx)))
    parts = list(fitted.probabilities(request, ctx))
    p = np.concatenate(parts)
    assert p.dtype == np.float32
    assert max(part.shape[0] for part in parts) <= 700
    assert p.shape == alleles.shape
    assert ((p >= 0) & (p <= 1)).all()
    # Calibrated: among alleles drawn at about the same probability, that share is alternate.
    bins = np.minimum((p * 10).astype(int), 9)
    for b in range(10):
        chosen = bins == b
        expected, n = p[chosen].mean(), chosen.sum()
        error = 5 * np.sqrt(max(expected * (1 - expected), 1e-4) / n)
        assert alleles[chosen].mean() == pytest.approx(expected, abs=error + 1e-3)


def test_probabilities_do_not_depend_on_the_cut(fitted: FittedVAE, ctx: RunContext) -> None:
    whole = np.concatenate(list(fitted.probabilities(SampleRequest(300), ctx)))
    part = np.concatenate(list(fitted.probabilities(SampleRequest(20, 250, 7), ctx)))
    np.testing.assert_array_equal(part, whole[250:270])


def test_codes_are_the_most_probable_and_carry_the_haplotype(
    fitted: FittedVAE, panel: Panel, ctx: RunContext
) -> None:
    assert isinstance(fitted, Explorable)
    codes = fitted.encode(panel, ctx)
    assert codes.shape == (panel.n_haplotypes, fitted.tiling.n_windows)
    tables = 1 / (1 + np.exp(-fitted.codebooks.logits.numpy().astype(float)))
    window = 3
    alleles = panel.haplotypes[:, window * 20 : (window + 1) * 20].astype(float)
    p = tables[window][:, :20]
    joint = alleles @ np.log(p).T + (1 - alleles) @ np.log1p(-p).T
    joint += fitted.codebooks.log_weights[window].numpy()
    np.testing.assert_array_equal(codes[:, window], joint.argmax(axis=1))
    # Both ends of a way are what its codes decode to: near the haplotype itself.
    back = fitted.interpolate(panel, panel, 2, ctx)
    np.testing.assert_array_equal(back[0], back[1])
    wrong = (back[0] != panel.haplotypes).mean()
    by_chance = (panel.haplotypes[::-1] != panel.haplotypes).mean()
    assert wrong < by_chance / 4


def test_points_on_the_way_lie_between_the_ends(
    fitted: FittedVAE, panel: Panel, ctx: RunContext
) -> None:
    groups = np.unique(panel.superpopulation)
    first, second = people(panel, groups[0]), people(panel, groups[1])
    way = fitted.interpolate(first, second, 9, ctx)
    assert way.shape == (9, first.n_haplotypes, panel.n_sites)

    def dosages(haplotypes: NDArray[np.int8]) -> NDArray[np.int64]:
        return haplotypes.reshape(-1, 2, panel.n_sites).sum(axis=1)

    pca = PCA(2, svd_solver="full").fit(dosages(panel.haplotypes))
    scores = np.array([pca.transform(dosages(step)) for step in way])
    start, end = scores[0], scores[-1]
    # Where each point lies on the straight line between its ends: 0 at the first, 1 at the last.
    along = ((scores - start) * (end - start)).sum(-1) / ((end - start) ** 2).sum(-1)
    mean = along.mean(axis=1)
    assert (np.diff(mean) > 0).all()
    assert mean[4] == pytest.approx(0.5, abs=0.2)
    assert ((along > -0.15) & (along < 1.15)).mean() > 0.95
    # And off it by less than the ends are apart.
    line = start + along[..., None] * (end - start)
    apart = np.linalg.norm(end - start, axis=-1)
    assert (np.linalg.norm(scores - line, axis=-1) / apart).mean() < 0.35
    # Step by step, fewer alleles are the first's and more the second's.
    differ = np.array([[(step != end).mean() for end in (way[0], way[-1])] for step in way])
    assert (np.diff(differ[:, 0]) >= 0).all()
    assert (np.diff(differ[:, 1]) <= 0).all()


def test_a_traversal_changes_one_window_and_what_follows_from_it(
    fitted: FittedVAE, panel: Panel, ctx: RunContext
) -> None:
    one = panel.select_samples([5])
    own = fitted.interpolate(one, one, 2, ctx)[0]
    made = fitted.traverse(one, 4, 12, ctx)
    assert made.shape == (12, 2, panel.n_sites)
    here = slice(80, 100)
    np.testing.assert_array_equal(made[:, :, :80], np.broadcast_to(own[:, :80], (12, 2, 80)))
    assert len(np.unique(made[:, 0, here], axis=0)) > 6
    # The other windows keep their codes: what changes there, the decoder's context changes.
    assert (made[:, :, 100:] != own[:, 100:]).mean() < (made[:, :, here] != own[:, here]).mean() / 4
    with pytest.raises(BenchError, match="no window 10; expected 0 to 9"):
        fitted.traverse(one, 10, 3, ctx)


def test_other_sites_are_refused(fitted: FittedVAE, ctx: RunContext) -> None:
    with pytest.raises(BenchError, match="found 50 sites, expected the 200"):
        fitted.encode(example_panel(n_sites=50), ctx)


def test_a_saved_model_answers_the_same(
    fitted: FittedVAE, panel: Panel, ctx: RunContext, tmp_path: Path
) -> None:
    fitted.save(tmp_path)
    again = VAE().load(tmp_path, ctx)
    np.testing.assert_array_equal(again.encode(panel, ctx), fitted.encode(panel, ctx))
    two = people(panel, "EUR", 2)
    np.testing.assert_array_equal(
        again.interpolate(two, two, 2, ctx), fitted.interpolate(two, two, 2, ctx)
    )
