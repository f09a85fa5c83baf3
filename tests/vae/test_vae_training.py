"""Validation by person, reproducibility."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from haplobench import BenchError
from haplobench.testing import example_context, example_panel
from haplobench_vae import PaperVAEParams, VAEParams
from haplobench_vae.paper import PaperVAE
from haplobench_vae.vae import VAE, reproducible, validation_haplotypes


def test_whole_people_are_held_out_for_validation() -> None:
    panel = example_panel(n_samples=60)
    held = validation_haplotypes(panel, 0.1, np.random.default_rng(0)).reshape(60, 2)
    assert held.sum() == 12
    np.testing.assert_array_equal(held[:, 0], held[:, 1])


def test_the_people_whom_the_suite_set_apart_are_held_out() -> None:
    given = np.array([3, 7])
    panel = example_panel(n_samples=10)
    held = validation_haplotypes(panel, 0.5, np.random.default_rng(0), given)
    assert np.flatnonzero(held).tolist() == [6, 7, 14, 15]


@pytest.mark.parametrize("share", [0.001, 0.999])
def test_validation_leaves_someone_on_both_sides(share: float) -> None:
    held = validation_haplotypes(example_panel(n_samples=3), share, np.random.default_rng(0))
    assert 0 < held.sum() < held.size


def test_one_person_is_too_few() -> None:
    with pytest.raises(BenchError, match="found 1 people, expected at least 2"):
        validation_haplotypes(example_panel(n_samples=1), 0.1, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("generator", "params"), [(VAE, VAEParams()), (PaperVAE, PaperVAEParams())]
)
def test_a_panel_without_sites_is_refused(
    generator: type[VAE] | type[PaperVAE], params: Any, tmp_path: Path
) -> None:
    panel = example_panel(n_samples=4, n_sites=5)
    bare = panel.select_sites(np.empty(0, np.int64))
    with pytest.raises(BenchError, match="found 0 sites, expected at least 1"):
        generator().fit(bare, params, example_context(tmp_path, panel))


def test_reproducible_restores_what_it_found() -> None:
    threads = torch.get_num_threads()

    def fail() -> None:
        with reproducible(1):
            assert torch.get_num_threads() == 1
            assert torch.are_deterministic_algorithms_enabled()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()
