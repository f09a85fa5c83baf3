"""What the federation asks of a model family, and that the window codes keep to it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from haplobench import Panel, Populations
from haplobench_federated.model import PublicFacts, WindowCodeFamily, person_losses
from haplobench_federated.params import ModelParams

PARAMS = ModelParams.model_validate({"window": 8, "codes": 4})


def facts_of(panel: Panel) -> PublicFacts:
    return PublicFacts(panel.positions, Populations.of(panel).names, panel.ploidy)


def state(model: nn.Module) -> bytes:
    return b"".join(value.numpy().tobytes() for value in model.state_dict().values())


def test_weights_to_begin_with_are_a_function_of_facts_and_seed_alone(people: Panel) -> None:
    facts, family = facts_of(people), WindowCodeFamily()
    one = family.build(facts, PARAMS, 3)
    torch.manual_seed(99)
    assert state(family.build(facts, PARAMS, 3)) == state(one)
    assert state(family.build(facts, PARAMS, 4)) != state(one)
    frequencies = np.linspace(0.1, 0.9, facts.n_sites)
    informed = family.build(replace(facts, frequencies=frequencies), PARAMS, 3)
    assert state(informed) != state(one)
    # Frequencies of 1/2, which stand for none, are the same as none.
    half = replace(facts, frequencies=np.full(facts.n_sites, 0.5))
    assert state(family.build(half, PARAMS, 3)) == state(one)


def test_samples_come_from_the_generator_alone(people: Panel) -> None:
    family = WindowCodeFamily()
    model = family.build(facts_of(people), PARAMS, 3)
    population = np.zeros(6, np.int64)
    one = family.sample(model, PARAMS, population, np.random.default_rng(1))
    torch.manual_seed(99)
    assert np.array_equal(family.sample(model, PARAMS, population, np.random.default_rng(1)), one)
    assert (one.shape, one.dtype) == ((6, people.n_sites), np.int8)
    assert set(np.unique(one)) <= {0, 1}


def test_a_model_without_a_loss_per_person_is_refused() -> None:
    class Summed(nn.Module):
        def forward(self, haplotypes: Tensor, population: Tensor) -> Tensor:
            return haplotypes.float().sum()

    with pytest.raises(ValueError, match=r"expected one per person: \(3,\)"):
        person_losses(Summed(), torch.zeros(3, 2, 5), torch.zeros(3, dtype=torch.int64))
