"""Flower's strategies by name, and what they keep between rounds."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from flwr.serverapp.strategy import (
    DifferentialPrivacyServerSideFixedClipping,
    FedAdam,
    FedAvg,
    FedProx,
    Strategy,
)
from numpy.typing import NDArray

from haplobench_federated.accounting import Charge, noise_for
from haplobench_federated.params import FederatedParams


def clients_per_round(params: FederatedParams, clients: int) -> int:
    """How many clients are drawn for a round."""
    return max(1, math.floor(params.fraction * clients))


def central_noise(params: FederatedParams, delta: float) -> float:
    """Noise multiplier of the server's noise: given, or what all rounds need."""
    if params.noise_multiplier is not None:
        return params.noise_multiplier
    assert params.epsilon is not None  # checked by the parameters
    return 2 * noise_for(params.epsilon, delta, 1.0, params.rounds, params.accountant)


def central_charge(noise_multiplier: float) -> Charge:
    """What a person is charged for a round of central noise.

    The clipped update of a client lies in a ball of the clipping norm's radius; a person more or
    less may move it across, by twice the norm. So a person is protected by half the noise
    multiplier. Which clients are drawn is known to the server: no amplification.
    """
    return Charge(noise_multiplier / 2, 1.0)


def make_strategy(params: FederatedParams, clients: int, central_multiplier: float) -> Strategy:
    """The strategy that the parameters name, wrapped in central noise where they ask for it."""
    drawn = clients_per_round(params, clients)
    common = {
        "fraction_train": params.fraction,
        "fraction_evaluate": 0.0,  # an evaluation on people would be a release
        "min_train_nodes": drawn,
        "min_available_nodes": clients,
    }
    strategy: FedAvg
    if params.strategy == "fedprox":
        strategy = FedProx(proximal_mu=params.proximal_mu, **common)
    elif params.strategy == "fedadam":
        # Adam's own constants, for steps of the size that one client's Adam would take.
        strategy = FedAdam(
            eta=params.server_learning_rate, beta_1=0.9, beta_2=0.999, tau=1e-8, **common
        )
    else:
        strategy = FedAvg(**common)
    if params.privacy == "central" and params.noised:
        return DifferentialPrivacyServerSideFixedClipping(
            strategy, central_multiplier, params.clipping_norm, drawn
        )
    return strategy


def set_rate(strategy: Strategy, params: FederatedParams, round_number: int) -> None:
    """Set a server's learning rate for a round, counted from 1."""
    if isinstance(strategy, FedAdam):
        strategy.eta = params.server_learning_rate * params.rate_factor(round_number)


def strategy_state(strategy: Strategy) -> dict[str, NDArray[np.float32]]:
    """Arrays that a strategy keeps between rounds: FedAdam's moments."""
    if not isinstance(strategy, FedAdam):
        return {}
    moments = {"first": strategy.m_t or {}, "second": strategy.v_t or {}}
    return {f"{m}/{name}": value for m, held in moments.items() for name, value in held.items()}


def restore_strategy(strategy: Strategy, state: Mapping[str, NDArray[np.float32]]) -> None:
    """Undo `strategy_state`."""
    if isinstance(strategy, FedAdam) and state:
        strategy.m_t = _under("first/", state)
        strategy.v_t = _under("second/", state)


def _under(prefix: str, state: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
