"""The suite of the peers on real people, in its quick profile."""

from __future__ import annotations

from pathlib import Path

import pytest

from haplobench.registry import load_registry, missing_needs
from haplobench.report.summary import summarise
from haplobench.results.table import load_run
from haplobench.runner.run import run_suite
from haplobench.suite.load import load_suite

ROOT = Path(__file__).parents[2]
PEERS = load_registry(["haplobench_peers"]).generators
RUN = [name for name, spec in PEERS.items() if not missing_needs(spec.needs)]
POOR = {"gan"}  # minutes of a CPU are too few for it
COPIERS = {"admixture", "families"}  # of whole pieces: as near as real people are


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_peer_beats_sites_without_ld(
    tmp_path: Path,
) -> None:
    registry = load_registry()
    suite = load_suite(str(ROOT / "suites" / "peers.yaml"), ["profile=quick"], registry)
    assert set(PEERS) <= {generator.label for generator in suite.generators}
    outcome = run_suite(suite, registry, tmp_path)
    summary = summarise(load_run(outcome.run_folder))
    (dataset,) = summary.datasets.values()
    (column,) = (c for c in dataset.columns if c.key == ("ld-decay", "rmse", ()))
    rmse = {label: dataset.cell(label, column).value for label in (*RUN, "independent", "floor")}
    print(rmse)
    for name in set(RUN) - POOR:
        least = 0 if name in COPIERS else rmse["floor"]
        assert least < rmse[name] < 0.6 * rmse["independent"], rmse
