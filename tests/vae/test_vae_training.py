"""Validation by person, early stopping by window, reproducibility."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from haplobench import BenchError
from haplobench.testing import example_panel
from haplobench_vae.paper import BestByWindow, PaperShape, WindowVAEs, train_windows
from haplobench_vae.specs import TrainingParams
from haplobench_vae.training import cpu_generator, reproducible, validation_haplotypes


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


def test_each_window_keeps_its_own_best_epoch() -> None:
    model = torch.nn.Module()
    model.weight = torch.nn.Parameter(torch.zeros(3, 2))
    best = BestByWindow(model, 3)
    losses = [[3.0, 1.0, 5.0], [2.0, 4.0, 5.0], [2.5, 9.0, 4.0]]
    for epoch, loss in enumerate(losses):
        with torch.no_grad():
            model.weight.fill_(epoch)
        best.update(epoch, torch.tensor(loss), model)
    best.restore(model)
    assert model.weight[:, 0].tolist() == [1.0, 0.0, 2.0]
    assert best.loss.tolist() == [2.0, 1.0, 4.0]
    assert best.epoch.tolist() == [1, 0, 2]


def _trained(n_windows: int, seed: int, **changes: float) -> tuple[WindowVAEs, list[float], int]:
    """Windows whose haplotypes are one of two founders, and the losses reported."""
    rng = np.random.default_rng(0)
    founders = rng.integers(0, 2, (n_windows, 2, 16))
    which = rng.integers(0, 2, (n_windows, 80))
    alleles = torch.tensor(np.take_along_axis(founders, which[..., None], axis=1), dtype=torch.int8)
    frequencies = alleles.float().mean(1)
    generator = cpu_generator(seed)
    model = WindowVAEs(PaperShape(n_windows, 16, 2, (4, 4)), frequencies, generator)
    losses: list[float] = []
    held = np.arange(80) < 20
    params = TrainingParams.model_validate({"epochs": 40, "batch_size": 16} | changes)
    history = train_windows(
        model, alleles, held, params, generator, lambda epoch, loss: losses.append(loss)
    )
    assert history.epochs == len(losses)
    assert history.best_epoch.shape == history.validation_loss.shape == (n_windows,)
    return model, losses, history.epochs


def test_training_approaches_the_entropy_of_the_data() -> None:
    with reproducible(1):
        _, losses, _ = _trained(3, seed=0, learning_rate=0.02)
    # Two equally likely founders: no model can be below ln 2 nats.
    assert losses[0] > 4
    assert np.log(2) - 0.05 < min(losses) < 2


def test_patience_ends_training_early_but_never_during_the_warm_up() -> None:
    with reproducible(1):
        *_, epochs = _trained(2, seed=0, learning_rate=1e-9, patience=2, warm_up=7)
        *_, bounded = _trained(2, seed=0, epochs=3)
    assert 7 <= epochs < 20
    assert bounded == 3


def test_the_same_seed_gives_the_same_parameters() -> None:
    def state(seed: int) -> list[torch.Tensor]:
        with reproducible(1):
            return list(_trained(2, seed, epochs=3)[0].state_dict().values())

    once, again, other = state(5), state(5), state(6)
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(once, other, strict=True))


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
