"""Beagle and Minimac4 beside the copying model: the same panels, typed sites, map and rates."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from structured_people import people

from haplobench import PluginError, Reference, RunContext
from haplobench.data.split import split_panel
from haplobench.datasets import EmbeddedParams
from haplobench.datasets.embedded import Embedded
from haplobench.plugin.metrics import apply_metric
from haplobench.registry import resolve
from haplobench.runner.floor import floor_cohort
from haplobench.testing import example_context, example_panel
from haplobench_utility import imputation_programs
from haplobench_utility.imputation import masked
from haplobench_utility.specs.studies import IMPUTATION, ImputationParams

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
        imputation_programs.impute(
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
