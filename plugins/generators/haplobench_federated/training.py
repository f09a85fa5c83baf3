"""A client's part of a round: local steps on its own people, privately or not.

*Distillation* fits a small model to samples of a big one: cheaper to keep, to send and to sample
from. Samples of a differentially private model cost no more privacy, nor does what is fitted to
them (post-processing). The student is fitted to what the teacher draws at its own temperature, so
that its temperature is 1 (Hinton, Vinyals & Dean 2015, arXiv:1503.02531, fit a student to a
teacher's outputs; here they are haplotypes).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from haplobench import Populations, RunContext
from haplobench.noise import NoiseSource
from haplobench_federated.model import ModelFamily, PublicFacts, person_losses
from haplobench_federated.params import FederatedParams, ModelParams, StudentParams
from haplobench_federated.private_steps import PrivateSteps
from haplobench_federated.seeds import derive, global_seed


@dataclass(frozen=True, eq=False)
class People:
    """The people of one client.

    Attributes
    ----------
    haplotypes : (n, ploidy, n_sites) int8
        -1: missing.
    population : (n,) int64
    """

    haplotypes: NDArray[np.int8]
    population: NDArray[np.int64]

    def __len__(self) -> int:
        return int(self.population.size)


@dataclass
class LocalState:
    """What stays at the client between rounds.

    Attributes
    ----------
    optimiser : mapping of tensors
        Adam's moments, `parameter/name`.
    clipping_norm : float or None
        Where adaptive, as it stands.
    gradient : (n_parameters,) float64 or None
        Of the last private step, in the order of the model's parameters: noised, as the step
        took it, before it was rounded to the weights' type.
    """

    optimiser: dict[str, Tensor] = field(default_factory=dict)
    clipping_norm: float | None = None
    gradient: NDArray[np.float64] | None = None


def train_locally(
    model: nn.Module,
    people: People,
    params: FederatedParams,
    state: LocalState,
    *,
    round_number: int,
    noise_multiplier: float,
    proximal_mu: float,
    seed: int,
    noise: NoiseSource | None = None,
    grid_step: float | None = None,
    device: str = "cpu",
) -> LocalState:
    """Take `local_steps` steps on the model, in place; give back what stays at the client.

    Private steps take batches and noise from `noise` (None: the operating system), and sums in
    steps of `grid_step` (None: fine ones). `seed` is of what protects nobody: batches without
    privacy, and what the model itself draws.
    """
    model.train().to(device)
    parameters = dict(model.named_parameters())
    start = {name: value.detach().clone() for name, value in parameters.items()}
    training, privacy = params.training, params.privacy
    rate = params.client_rate(round_number)
    kind = torch.optim.Adam if training.optimiser == "adam" else torch.optim.SGD
    optimiser = kind(model.parameters(), lr=rate)
    _load_moments(optimiser, list(parameters), state.optimiser)
    expected = max(training.sampling_rate * len(people), 1.0)
    source = NoiseSource() if noise is None else noise
    steps = None
    if privacy.local:
        norm = {"clipping_norm": state.clipping_norm or privacy.clipping_norm}
        clipping = privacy.model_copy(update=norm)
        steps = PrivateSteps(
            model, optimiser, clipping, noise_multiplier, expected, source, grid_step
        )

    def pull() -> None:
        """FedProx' gradient: of the weights alone, so after the noise."""
        if proximal_mu:
            for name, value in parameters.items():
                assert value.grad is not None
                value.grad.add_(value.detach() - start[name], alpha=proximal_mu)

    gradient = None
    for step in range(training.local_steps):
        if privacy.local:
            chosen = source.batch(len(people), training.sampling_rate)
        else:
            rng = np.random.default_rng(derive(seed, "batch", round_number, step))
            chosen = np.flatnonzero(rng.random(len(people)) < training.sampling_rate)
        haplotypes = torch.from_numpy(people.haplotypes[chosen]).to(device)
        population = torch.from_numpy(people.population[chosen]).to(device)
        with global_seed(derive(seed, "model", round_number, step)):
            if steps is not None:
                gradient = steps.step(haplotypes, population, training.memory_batch, pull)
            else:
                optimiser.zero_grad()
                for first in range(0, max(chosen.size, 1), training.memory_batch):
                    chunk = slice(first, first + training.memory_batch)
                    _plain_backward(model, haplotypes[chunk], population[chunk], expected)
                pull()
                optimiser.step()
    left = LocalState(_moments(optimiser, list(parameters)), state.clipping_norm, gradient)
    if steps is not None:
        if privacy.clipping == "adaptive":
            left.clipping_norm = steps.clipping_norm
        steps.close()
    return left


def _plain_backward(
    model: nn.Module, haplotypes: Tensor, population: Tensor, expected: float
) -> None:
    if len(population):
        (person_losses(model, haplotypes, population).sum() / expected).backward()  # type: ignore[no-untyped-call]
        return
    for value in model.parameters():
        value.grad = torch.zeros_like(value) if value.grad is None else value.grad


def _moments(optimiser: torch.optim.Optimizer, names: list[str]) -> dict[str, Tensor]:
    return {
        f"{names[index]}/{key}": value.detach().cpu().clone()
        for index, state in optimiser.state_dict()["state"].items()
        for key, value in state.items()
        if isinstance(value, Tensor)
    }


def _load_moments(
    optimiser: torch.optim.Optimizer, names: list[str], moments: Mapping[str, Tensor]
) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for path, value in moments.items():
        name, _, key = path.rpartition("/")
        state.setdefault(names.index(name), {})[key] = value.clone()
    if state:
        optimiser.load_state_dict({**optimiser.state_dict(), "state": state})


_TAKEN = 0.1  # of the drawn people, in a step
_STEPS = 10  # between changes of the learning rate
_LEAST = 0.005  # frequency to begin with


def student_model(params: FederatedParams, student: StudentParams) -> ModelParams:
    """Parameters of the student's model: the teacher's, smaller, sampled as it was fitted."""
    sizes = {"window": student.window, "codes": student.codes, "temperature": 1.0}
    return params.training.model.model_copy(update=sizes)


def distil(
    teacher: nn.Module,
    facts: PublicFacts,
    populations: Populations,
    params: FederatedParams,
    student: StudentParams,
    family: ModelFamily,
    ctx: RunContext,
) -> nn.Module:
    """A student of `teacher`, whose people are drawn by their share of the training people."""
    rng = ctx.rng("federated", "student")
    population = populations.draw(None, rng.random(student.people))
    rows = family.sample(teacher, params.training.model, np.repeat(population, facts.ploidy), rng)
    haplotypes = rows.reshape(student.people, facts.ploidy, facts.n_sites)
    frequencies = np.clip(rows.mean(axis=0, dtype=np.float64), _LEAST, 1 - _LEAST)
    model = family.build(
        replace(facts, frequencies=frequencies),
        student_model(params, student),
        ctx.seed_for("federated", "student", "weights"),
    )
    rounds = math.ceil(student.steps / _STEPS)
    schedule = {
        "rounds": rounds,
        "local_steps": _STEPS,
        "learning_rate": student.learning_rate,
        "sampling_rate": _TAKEN,
        "optimiser": "adam",
        "schedule": "cosine",
    }
    fitting = params.changed(
        privacy={"kind": "none"},
        aggregation={"strategy": "fedavg"},  # the schedule is then the steps' own
        training=schedule,
    )
    state = LocalState()
    for number in range(1, rounds + 1):
        state = train_locally(
            model,
            People(np.ascontiguousarray(haplotypes), population),
            fitting,
            state,
            round_number=number,
            noise_multiplier=0.0,
            proximal_mu=0.0,
            seed=ctx.seed_for("federated", "student", "steps"),
            device=ctx.device,
        )
    return model.cpu()
