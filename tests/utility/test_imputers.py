"""The copying model against every path written out, against Beagle and Minimac4, and in parts."""

from __future__ import annotations

import shutil
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from structured_people import people

from haplobench import PluginError, Reference, RunContext
from haplobench.data.split import split_panel
from haplobench.datasets import EmbeddedParams
from haplobench.datasets.embedded import Embedded
from haplobench.plugin.metrics import apply_metric
from haplobench.registry import resolve
from haplobench.runner.floor import floor_cohort
from haplobench.testing import example_context, example_panel
from haplobench_utility import copying_kernels, imputers
from haplobench_utility.imputation import masked
from haplobench_utility.imputers import CopyingModel
from haplobench_utility.specs_studies import IMPUTATION, ImputationParams

NE = 20_000


def every_path(
    panel: NDArray[np.int8],
    typed: NDArray[np.int64],
    morgans: NDArray[np.float64],
    seen: NDArray[np.int8],
    error: float,
    ne: float,
) -> NDArray[np.float64]:
    """The definition: sum over all paths through the panel, one after the other; all sites."""
    n, n_sites = panel.shape
    switch = 1 - np.exp(-4 * ne * np.diff(morgans) / n)
    alternate, total = np.zeros(n_sites), 0.0
    for path in product(range(n), repeat=n_sites):
        p = 1 / n
        for site in range(1, n_sites):
            p *= switch[site - 1] / n + (path[site] == path[site - 1]) * (1 - switch[site - 1])
        for k, site in enumerate(typed):
            if seen[k] >= 0:
                p *= 1 - error if panel[path[site], site] == seen[k] else error
        total += p
        alternate += p * panel[list(path), range(n_sites)]
    return alternate / total


def all_states(
    panel: NDArray[np.int8],
    typed: NDArray[np.int64],
    morgans: NDArray[np.float64],
    seen: NDArray[np.int8],
    error: float,
    ne: float,
) -> NDArray[np.float64]:
    """Forward-backward over all haplotypes and sites as textbooks have it, float64; all sites."""
    n, n_sites = panel.shape
    switch = 1 - np.exp(-4 * ne * np.diff(morgans) / n)
    emission = np.ones((n_sites, n))
    for k, site in enumerate(typed):
        if seen[k] >= 0:
            emission[site] = np.where(panel[:, site] == seen[k], 1 - error, error)
    forward, backward = np.empty((n_sites, n)), np.ones((n_sites, n))
    forward[0] = emission[0] / emission[0].sum()
    for site in range(1, n_sites):
        s = switch[site - 1]
        forward[site] = ((1 - s) * forward[site - 1] + s / n) * emission[site]
        forward[site] /= forward[site].sum()
    for site in range(n_sites - 1, 0, -1):
        s, after = switch[site - 1], backward[site] * emission[site]
        backward[site - 1] = (1 - s) * after + s / n * after.sum()
        backward[site - 1] /= backward[site - 1].sum()
    posterior = forward * backward
    posterior /= posterior.sum(axis=1, keepdims=True)
    return np.asarray((posterior * panel.T).sum(axis=1))


@st.composite
def cases(draw: st.DrawFn, most_haplotypes: int, most_sites: int):  # type: ignore[no-untyped-def]
    n = draw(st.integers(1, most_haplotypes))
    n_sites = draw(st.integers(2, most_sites))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    # Few founders, so that there are classes of more than one haplotype.
    founders = rng.integers(0, 2, (draw(st.integers(1, 4)), n_sites))
    panel = founders[rng.integers(0, len(founders), n)].astype(np.int8)
    panel ^= rng.random(panel.shape) < 0.1
    n_typed = draw(st.integers(1, n_sites))
    typed = np.sort(rng.choice(n_sites, n_typed, replace=False))
    # Some sites at one place: no switch between them.
    morgans = np.cumsum(rng.exponential(1e-5, n_sites) * (rng.random(n_sites) < 0.8))
    seen = rng.integers(-1, 2, (draw(st.integers(1, 20)), n_typed)).astype(np.int8)
    error = draw(st.sampled_from([1e-4, 1e-2, 0.2]))
    return panel, typed, morgans, seen, error


@settings(max_examples=40, deadline=None)
@given(cases(most_haplotypes=4, most_sites=5))
def test_tiny_panels_against_every_path(case) -> None:  # type: ignore[no-untyped-def]
    panel, typed, morgans, seen, error = case
    model = CopyingModel.of(panel, typed, morgans, error=error)
    found = model.impute(seen[:2])
    for row, alleles in zip(found, seen[:2], strict=True):
        expected = every_path(panel, typed, morgans, alleles, error, NE)
        np.testing.assert_allclose(row, expected[model.untyped], atol=2e-6)


@settings(max_examples=60, deadline=None)
@given(cases(most_haplotypes=40, most_sites=60))
def test_classes_give_what_all_states_give(case) -> None:  # type: ignore[no-untyped-def]
    panel, typed, morgans, seen, error = case
    model = CopyingModel.of(panel, typed, morgans, error=error, ne=30_000)
    found = model.impute(seen)
    assert found.shape == (len(seen), panel.shape[1] - typed.size)
    for row, alleles in zip(found, seen, strict=True):
        expected = all_states(panel, typed, morgans, alleles, error, 30_000)
        np.testing.assert_allclose(row, expected[model.untyped], atol=5e-6)


def mosaic_panel(n: int, n_sites: int, seed: int = 0) -> NDArray[np.int8]:
    """Mosaics of eight founders, as people's haplotypes are of their ancestors'."""
    rng = np.random.default_rng(seed)
    founders = (rng.random((8, n_sites)) < rng.beta(0.5, 1, n_sites)).astype(np.int8)
    switches = rng.random((n, n_sites)) < 0.02
    sources = np.cumsum(switches, axis=1) + rng.integers(0, 8, (n, 1))
    return founders[(sources * 5 + switches.cumsum(axis=1) ** 2) % 8, np.arange(n_sites)]


def test_many_blocks_few_kept_and_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept of the forward pass, and how many threads there are, changes no number."""
    panel = mosaic_panel(120, 800)
    typed, morgans = np.arange(3, 800, 7), np.arange(800) * 1e-5
    targets = mosaic_panel(50, 800, seed=1)[:, typed]
    model = CopyingModel.of(panel, typed, morgans)
    assert model._classes.size.size > 5
    whole = model.impute(targets)
    monkeypatch.setattr(imputers, "_WORK_BYTES", 0)
    assert len(model._space().near) < model._classes.size.size
    np.testing.assert_array_equal(model.impute(targets), whole)
    np.testing.assert_array_equal(model.impute(targets, threads=3), whole)
    expected = all_states(panel, typed, morgans, targets[0], model.error, NE)
    np.testing.assert_allclose(whole[0], expected[model.untyped], atol=1e-5)


def test_a_lane_does_not_depend_on_its_neighbours() -> None:
    panel, typed, morgans = mosaic_panel(60, 200), np.arange(0, 200, 5), np.arange(200) * 1e-5
    targets = mosaic_panel(2 * copying_kernels.LANES + 3, 200, seed=2)[:, typed]
    model = CopyingModel.of(panel, typed, morgans)
    whole = model.impute(targets)
    np.testing.assert_array_equal(model.impute(targets[20:21]), whole[20:21])


def test_nothing_seen_gives_the_panels_frequencies() -> None:
    panel, typed = mosaic_panel(30, 50), np.array([0, 25])
    model = CopyingModel.of(panel, typed, np.arange(50) * 1e-4)
    found = model.impute(np.full((1, 2), -1, np.int8))
    np.testing.assert_allclose(found[0], panel.mean(axis=0)[model.untyped], atol=1e-6)


def test_a_copy_is_imputed_from_itself() -> None:
    """With common typed sites and little recombination, a person in the panel is found there."""
    panel = mosaic_panel(40, 300)
    typed = np.arange(0, 300, 3)
    model = CopyingModel.of(panel, typed, np.arange(300) * 1e-8)
    found = model.impute(panel[:, typed])
    distinct = np.array(
        [(panel[:, typed] == row).all(axis=1).sum() == 1 for row in panel[:, typed]]
    )
    assert distinct.sum() > 20
    np.testing.assert_allclose(
        found[distinct], panel[:, model.untyped][distinct], atol=0.02
    )  # fmt: skip


def test_one_haplotype_gives_its_alleles() -> None:
    panel = mosaic_panel(1, 40)
    model = CopyingModel.of(panel, np.array([5]), np.arange(40) * 1e-5)
    for seen in (0, 1, -1):
        found = model.impute(np.array([[seen]], np.int8))
        np.testing.assert_allclose(found[0], panel[0, model.untyped], atol=1e-6)


def test_a_long_row_of_mismatches_stays_a_number() -> None:
    """Probabilities that a float32 couldn't hold: every typed allele is nobody's."""
    panel = np.zeros((50, 400), np.int8)
    panel[::2, 1::2] = 1
    typed = np.arange(0, 400, 2)
    model = CopyingModel.of(panel, typed, np.arange(400) * 1e-9, error=1e-7)
    found = model.impute(np.ones((1, 200), np.int8))
    np.testing.assert_allclose(found, 0.5, atol=1e-3)


@pytest.mark.parametrize(
    ("haplotypes", "typed", "morgans"),
    [
        (np.zeros((0, 5), np.int8), np.array([1]), np.zeros(5)),
        (np.zeros((3, 1), np.int8), np.array([0]), np.zeros(1)),
        (np.zeros((3, 5), np.int8), np.empty(0, np.int64), np.zeros(5)),
        (np.zeros((3, 5), np.int8), np.array([1]), np.zeros(4)),
        (np.full((3, 5), -1, np.int8), np.array([1]), np.zeros(5)),
    ],
)
def test_refusals(
    haplotypes: NDArray[np.int8], typed: NDArray[np.int64], morgans: NDArray[np.float64]
) -> None:
    with pytest.raises(ValueError, match="copying model"):
        CopyingModel.of(haplotypes, typed, morgans)


PROGRAMS = ("beagle", "minimac4")


def params(engine: str, **changes: object) -> ImputationParams:
    chosen = ImputationParams.model_validate({"engine": engine, **changes})
    missing = [need.missing() for need in chosen.needed() if need.missing()]
    if missing:
        pytest.skip(f"absent: {', '.join(missing)}")
    return chosen


@pytest.mark.parametrize("engine", PROGRAMS)
@pytest.mark.parametrize("ploidy", [2, 1])
def test_dosages_are_near_the_copying_models(engine: str, ploidy: int, tmp_path: Path) -> None:
    if ploidy == 1 and engine == "beagle":
        pytest.skip("one is enough of haploid panels: both are written alike")
    panel = people(40)
    panel = panel.select_sites(panel.maf > 0.05)
    if ploidy == 1:
        panel = panel.as_haploid().select_samples(np.arange(221))
    order = np.random.default_rng(0).permutation(panel.n_samples)
    few = panel.n_samples // 5
    real = Reference(panel.select_samples(order[few:]), panel.select_samples(order[:few]))
    # What nobody of the reference carries comes back, too.
    real.train.haplotypes[:, 1] = 0
    ctx = example_context(tmp_path, panel)
    chosen = params(engine, typed="random")
    task = masked(real, real.train, chosen, ctx)
    theirs = task.impute(real.train.haplotypes, chosen, ctx)
    mine = task.impute(real.train.haplotypes, params("own"), ctx)
    assert theirs.shape == mine.shape
    assert np.abs(theirs - mine).mean() < 0.02
    truth = task.holdout.haplotypes[:, task.untyped]
    assert np.corrcoef(theirs.ravel(), truth.ravel())[0, 1] > 0.8


def test_a_program_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "beagle"
    program.write_text("#!/bin/sh\necho no room for this >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    panel = example_panel(10, 30)
    with pytest.raises(PluginError, match="beagle ended with 3: no room for this"):
        imputers.impute(
            "beagle", panel.haplotypes, panel.haplotypes[:, :5], np.arange(5), panel.positions,
            np.arange(30) * 1e-5, 2e4, 1e-3, tmp_path,
        )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("typed", ["array", "random"])
@pytest.mark.parametrize("engine", PROGRAMS)
def test_mean_r2_on_real_people(engine: str, typed: str, tmp_path: Path) -> None:
    """Within .02 of the default's, on 1.5 Mb of the panel in the package and 120 haplotypes."""
    params(engine)
    dataset = Embedded().load(EmbeddedParams(region="20:1000000-2500000"), None)  # type: ignore[arg-type]
    split = split_panel(dataset.panel, 0.2)
    train = dataset.panel.select_samples(split.train)
    common = train.common_sites(0.01)
    holdout = dataset.panel.select_samples(split.holdout).select_sites(common)
    reference, cohort = floor_cohort(train.select_sites(common), holdout, "train", 0, 1)
    ctx = RunContext(1, tmp_path, tmp_path, recombination_map=dataset.recombination_map)
    means = []
    for who in ("own", engine):
        result = apply_metric(
            IMPUTATION,
            resolve(IMPUTATION.target),
            reference,
            cohort,
            params(who, typed=typed, real_panels=2),
            ctx,
        )
        means.append(result.measurements["r2"][0].value)
    assert means[1] == pytest.approx(means[0], abs=0.02)
    assert means[0] > 0.7


def test_programs_are_found_where_they_are_installed() -> None:
    for engine in PROGRAMS:
        missing = [need.missing() for need in ImputationParams(engine=engine).needed()]
        assert any(engine in text for text in missing) == (shutil.which(engine) is None)
