"""Populations that conditional generators are asked for, where the training panel lacks some."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
import pytest

from haplobench import Panel
from haplobench.data.formats import write_panel
from haplobench.registry import load_registry
from haplobench.results.run_folder import RunFolder
from haplobench.runner.run import run_suite
from haplobench.suite.load import load_suite
from haplobench.testing import example_panel

SUITE = """
name: alone
seeds: [1]
datasets:
  - name: file
    params: {{path: {folder}/p.vcf.gz, panel_file: {folder}/p.tsv}}
    split: {{holdout: 0.25, validation: 0, seed: 1}}
generators: [markov]
metrics: [allele-frequency]
sample: {{draws: 1}}
floor: {{draws: 2}}
"""


@pytest.mark.parametrize("above", [2, 20])
def test_everybody_a_population_of_their_own(tmp_path: Path, above: int) -> None:
    panel = example_panel(20, n_sites=40)
    write_panel(panel, tmp_path / "p.vcf.gz")
    rows = (f"{name}\tP{i}\tS{i % above}\n" for i, name in enumerate(panel.samples))
    (tmp_path / "p.tsv").write_text("sample\tpop\tsuper_pop\n" + "".join(rows))
    (tmp_path / "suite.yaml").write_text(textwrap.dedent(SUITE.format(folder=tmp_path)))
    registry = load_registry()
    suite = load_suite(tmp_path / "suite.yaml", [], registry)
    outcome = run_suite(suite, registry, tmp_path / "out")
    records = RunFolder(outcome.run_folder).records()
    assert "failed" not in {record.status for record in records}
    (held,) = (tmp_path / "out").glob("alone/stages/prepare/*/holdout")
    copies = [Panel.load(p) for p in (tmp_path / "out").glob("alone/stages/sample/*/draw0")]
    (asked,) = [panel for panel in copies if (panel.population != "").any()]
    if above == 2:
        wanted = sorted(Panel.load(held).superpopulation)
        assert sorted(asked.superpopulation) == wanted
    # Stand-ins differ: nobody is asked for over and over while others are not.
    assert np.unique(asked.population).size == asked.n_samples
