"""What a client does of itself: its noise, its counts, its bound."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from federation_fixture import run
from flwr.app import Message, RecordDict
from hypothesis import given, settings
from hypothesis import strategies as st
from secure_helpers import SIZE, Silent, honest, parameters, reply_of, start

from haplobench import Panel
from haplobench.noise import (
    deviation,
    fine_step,
)
from haplobench_federated import client_app
from haplobench_federated.accounting import noise_for
from haplobench_federated.aggregation import Quarantined, screen
from haplobench_federated.client_app import update_norm_mod
from haplobench_federated.grid import new_context, node_id
from haplobench_federated.updates import update_of


def screened(replies: list[Message], **changes: Any) -> list[Quarantined]:
    return screen(1, start(SIZE), replies, parameters(clients=8, **changes))[1]


def test_the_noise_is_searched_for_the_whole_schedule(tmp_path: Path, people: Panel) -> None:
    result = run(tmp_path, people, noise_multiplier=None, epsilon=3.0)
    assert result.report["rounds_done"] == 3
    assert 2.95 < result.statement.epsilon <= 3.0


def test_frequencies_and_steps_use_up_the_budget_together(tmp_path: Path, people: Panel) -> None:
    result = run(tmp_path, people, noise_multiplier=None, epsilon=3.0, frequencies_share=0.3)
    alone = noise_for(3.0, 1e-6, 1.0, 1, "rdp")
    assert f"Gaussian noise {alone / 0.3**0.5:.4g} on allele counts" in result.statement.mechanism
    assert 2.95 < result.statement.epsilon <= 3.0


@pytest.mark.parametrize("ploidy", [1, 2, 3])
@pytest.mark.parametrize("step", [None, 0.013])
def test_a_person_moves_allele_counts_by_half_a_root_of_the_sites(
    ploidy: int, step: float | None
) -> None:
    rng = np.random.default_rng(ploidy)
    haplotypes = rng.integers(-1, 2, (300, ploidy, 50)).astype(np.int8)
    source = Silent()
    whole = client_app.noised_counts(haplotypes, 1.0, source, step)
    worst = max(
        float(np.linalg.norm(whole - client_app.noised_counts(rest, 1.0, source, step)))
        for rest in (np.delete(haplotypes, person, axis=0) for person in range(300))
    )
    used = step or fine_step(math.sqrt(50) / 2, 50)
    assert deviation(1.0, worst / used) <= source.asked[0] * (1 + 1e-12)
    mean = np.ma.masked_less(haplotypes, 0).mean(axis=1) - 0.5
    expected = mean.filled(0).sum(axis=0)
    assert np.abs(whole - expected).max() <= 300 * used


@settings(deadline=None, max_examples=25)
@given(norm=st.floats(1e-3, 1e3), bound=st.floats(1e-2, 1e2))
def test_clients_keep_to_the_declared_bound(norm: float, bound: float) -> None:
    update = np.asarray(honest(1)[0])
    update *= norm / np.linalg.norm(update)
    message = Message(RecordDict({"arrays": start(SIZE)}), node_id(0), "train")
    mod = update_norm_mod(bound)
    reply = mod(message, new_context(0, {}), lambda m, c: reply_of(0, update))
    sent = update_of(reply, start(SIZE))
    assert np.allclose(sent, update * min(1, bound / norm), atol=1e-6 + 1e-6 * norm)
    assert not screened([reply], robust={"update_norm": bound}) or bound < 0.1
