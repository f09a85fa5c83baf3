"""Which fitted generator of a run is meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from haplobench import BenchError
from haplobench.results.notes import find_model, note_model
from haplobench.results.run_folder import RunFolder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = RunFolder(tmp_path / "run")
    cells = [("vae", 2, 2), ("vae", 2, 1), ("vae", 1, 2), ("vae", 1, 1), ("markov", 1, 1)]
    for label, seed, ranks in cells:
        name = f"chr20/{label}/seed{seed}/ranks{ranks}"
        facts = {"dataset": "chr20", "generator": label, "name": label, "seed": seed,
                 "world_size": ranks}  # fmt: skip
        note_model(folder, name, tmp_path / name, tmp_path / "prepared", facts)
    return folder.path


def test_the_lowest_seed_and_the_fewest_ranks_are_meant(run: Path) -> None:
    found = find_model(run, generator="vae")
    assert (found.seed, found.world_size) == (1, 1)
    found = find_model(run, generator="vae", seed=2)
    assert (found.seed, found.world_size) == (2, 1)


def test_what_is_not_clear_is_asked_back(run: Path) -> None:
    with pytest.raises(BenchError, match=r"2 fitted generators fit: chr20/markov.*; chr20/vae"):
        find_model(run)
    with pytest.raises(BenchError, match="no fitted generator of that kind"):
        find_model(run, generator="vae", dataset="chr1")
