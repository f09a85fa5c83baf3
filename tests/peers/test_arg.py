"""`tsinfer`: what is drawn through inferred trees, labels, fits that go on, what is refused."""

from __future__ import annotations

import shutil
from dataclasses import fields

import numpy as np
import pytest
from peer_cases import clusters, context, fitted, panel, sampled

from haplobench import PluginError
from haplobench.testing import example_panel
from haplobench_peers.genealogy import Genealogy

HERE = pytest.mark.skipif(shutil.which("tsinfer") is None, reason="no program tsinfer on PATH")


@HERE
def test_frequencies_and_which_sites_go_together(tmp_path):
    alleles, _ = clusters(200, 40)
    ctx = context(tmp_path)
    drawn = sampled(fitted("tsinfer", panel(alleles), ctx), ctx, 2000)
    assert np.abs(drawn.mean(axis=0) - alleles.mean(axis=0)).max() < 0.1
    real, made = (np.cov(rows.T)[np.triu_indices(40, 1)] for rows in (alleles, drawn))
    assert np.corrcoef(real, made)[0, 1] > 0.95


@HERE
def test_a_label_has_its_own_trees_and_a_fit_goes_on(tmp_path, monkeypatch):
    train = example_panel(n_samples=40, n_sites=60, populations=("YRI", "CEU"))
    kept = tmp_path / "kept"
    kept.mkdir()
    ctx = context(tmp_path, checkpoint=kept)
    model = fitted("tsinfer", train, ctx, within="population")
    n = 2000
    for label in ("YRI", "CEU"):
        frequencies = train.haplotypes[train.haplotype_populations == label].mean(axis=0)
        drawn = sampled(model, ctx, n, np.full(n, label)).mean(axis=0)
        assert np.corrcoef(drawn, frequencies)[0, 1] > 0.98
    monkeypatch.setenv("PATH", "")  # the trees are there
    again = fitted("tsinfer", train, ctx, within="population")
    for one, other in zip(model.genealogies, again.genealogies, strict=True):
        for part in fields(Genealogy):
            np.testing.assert_array_equal(getattr(one, part.name), getattr(other, part.name))


def test_without_the_program_it_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(PluginError, match=r"needs program tsinfer \(make tsinfer"):
        fitted("tsinfer", panel(clusters(8, 5)[0]), context(tmp_path))


@pytest.mark.parametrize(
    ("script", "message"),
    [("echo no module >&2; exit 3", "ended with 3: no module"), (None, "expected the Python of")],
)
def test_another_programs_python_is_told(script, message, tmp_path, monkeypatch):
    program = tmp_path / "tsinfer"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    if script:
        (tmp_path / "python").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "python").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(PluginError, match=message):
        fitted("tsinfer", panel(clusters(8, 5)[0]), context(tmp_path))
