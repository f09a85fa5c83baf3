"""Demographies fitted to spectra, against moments' projection, msprime and demes."""

from __future__ import annotations

import demes
import moments
import msprime
import numpy as np
import pytest
from coalescent_cases import (
    MU,
    context,
    fitted,
    neutral_panel,
    people_of,
    region_panel,
    sampled,
)
from pydantic import ValidationError

from haplobench import Panel, PluginError
from haplobench_coalescent import MsprimeParams
from haplobench_coalescent.constant import Coalescent
from haplobench_coalescent.demography import Epochs, spectrum, three_epochs


def grown_panel(n_people: int, seed: int) -> Panel:
    """People of 2,000 ancestors that became 40,000, 1,000 generations ago; 4 Mb."""
    history = msprime.Demography.isolated_model([40_000])
    history.add_population_parameters_change(time=1_000, initial_size=2_000, population=0)
    return people_of(history, n_people, 4e6, seed)


GROWN = grown_panel(15, 3)
CONSTANT = neutral_panel(8_000, 100_000, 15, seed=11)


def test_a_large_panel_is_projected_as_moments_projects():
    rng = np.random.default_rng(1)
    n = 400
    minor = rng.integers(1, n // 2 + 1, 300)
    projected, first = spectrum(minor, n, 1)
    assert first == 1
    counts = np.bincount(minor, minlength=n + 1).astype(float)
    oracle = moments.Spectrum(counts, data_folded=True).project([200])
    classes = np.arange(1, 101)
    assert projected[classes] == pytest.approx(oracle.data[classes], rel=1e-6, abs=1e-9)


def test_classes_that_a_filter_empties_are_left_out():
    assert spectrum(np.array([5, 9]), 100, 5)[1] == 5
    _, first = spectrum(np.array([60, 900]), 4000, 40)
    assert 4 < first < 10


def test_growth_is_found_and_written_for_others(tmp_path):
    ctx = context(tmp_path)
    epochs = three_epochs(GROWN, 0.0, MU)
    assert epochs.log_likelihood > epochs.constant + 20
    generator = fitted("msprime", GROWN, ctx, demography="fitted", mutation_rate=MU)
    text = (tmp_path / "demography.yaml").read_text()
    assert text == generator.demography == epochs.demes()
    graph = demes.loads(text)
    assert graph.time_units == "generations"
    past, recent = graph["population"].size_at(20_000), graph["population"].size_at(10)
    assert past == pytest.approx(2_000, rel=0.5)
    assert recent > 5 * past
    assert generator.ne == epochs.sizes[-1] == recent
    # Its people have the panel's spectrum and diversity; those of a constant size haven't.
    real = shares(GROWN)
    constant = fitted("msprime", GROWN, ctx, mutation_rate=MU)
    away = {
        name: np.abs(shares(sampled(model, ctx, 30)) - real).sum()
        for name, model in (("fitted", generator), ("constant", constant))
    }
    assert away["fitted"] < 0.5 * away["constant"]
    assert sampled(generator, ctx, 30).n_sites == pytest.approx(GROWN.n_sites, rel=0.15)


def shares(panel: Panel) -> np.ndarray:
    counts = panel.haplotypes.sum(axis=0)
    folded = np.minimum(counts, panel.n_haplotypes - counts)
    return np.bincount(folded, minlength=16)[1:16] / panel.n_sites


def test_a_fitted_demography_is_saved_and_loaded(tmp_path):
    ctx = context(tmp_path)
    epochs = Epochs((9_000.0, 2_000.0, 40_000.0), (5_000.0, 1_000.0), 0.0, 0.0)
    generator = fitted("msprime", region_panel(1, 50_000), ctx, ne=10_000)
    generator = type(generator)(generator.region, 1.0, MU, "hudson", epochs.demes())
    generator.save(tmp_path)
    loaded = Coalescent().load(tmp_path, ctx)
    assert loaded.demography == generator.demography
    assert sampled(loaded, ctx, 20).digest == sampled(generator, ctx, 20).digest


def test_what_can_not_be_fitted_is_refused(tmp_path):
    with pytest.raises(PluginError, match="2 polymorphic sites.*at least 50"):
        fitted("msprime", region_panel(1, 400_000), context(tmp_path), demography="fitted")
    with pytest.raises(ValidationError, match="constant size"):
        MsprimeParams(ne=10_000, demography="fitted")


def test_it_says_what_it_needs():
    assert not MsprimeParams().needed()
    assert {need.name for need in MsprimeParams(demography="fitted").needed()} == {
        "moments",
        "scipy",
    }


def test_people_of_a_constant_size_keep_it():
    epochs = three_epochs(CONSTANT, 0.0, MU)
    assert len(set(epochs.sizes)) == 1
    assert epochs.log_likelihood == epochs.constant
    assert epochs.sizes[0] == pytest.approx(8_000, rel=0.35)
