"""A small model fitted to samples of a big one: cheaper to keep, to send and to sample from.

Samples of a differentially private model cost no more privacy, nor does what is fitted to them
(post-processing). The student is fitted to what the teacher draws at its own temperature, so that
its temperature is 1 (Hinton, Vinyals & Dean 2015, arXiv:1503.02531, fit a student to a teacher's
outputs; here they are haplotypes).
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from torch import nn

from haplobench import Populations, RunContext
from haplobench_federated.contract import ModelFamily, PublicFacts
from haplobench_federated.edge_params import StudentParams
from haplobench_federated.model_params import ModelParams
from haplobench_federated.params import FederatedParams
from haplobench_federated.training import LocalState, People, train_locally

_TAKEN = 0.1  # of the drawn people, in a step
_STEPS = 10  # between changes of the learning rate
_LEAST = 0.005  # frequency to begin with


def student_model(params: FederatedParams, student: StudentParams) -> ModelParams:
    """Parameters of the student's model: the teacher's, smaller, sampled as it was fitted."""
    sizes = {"window": student.window, "codes": student.codes, "temperature": 1.0}
    return params.model.model_copy(update=sizes)


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
    rows = family.sample(teacher, params.model, np.repeat(population, facts.ploidy), rng)
    haplotypes = rows.reshape(student.people, facts.ploidy, facts.n_sites)
    frequencies = np.clip(rows.mean(axis=0, dtype=np.float64), _LEAST, 1 - _LEAST)
    model = family.build(
        replace(facts, frequencies=frequencies),
        student_model(params, student),
        ctx.seed_for("federated", "student", "weights"),
    )
    rounds = math.ceil(student.steps / _STEPS)
    fitting = params.model_copy(
        update={
            "privacy": "none",
            "strategy": "fedavg",  # the schedule is then the steps' own
            "rounds": rounds,
            "local_steps": _STEPS,
            "learning_rate": student.learning_rate,
            "sampling_rate": _TAKEN,
            "optimiser": "adam",
            "schedule": "cosine",
        }
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
