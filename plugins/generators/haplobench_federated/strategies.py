"""Flower's strategies by name, and what they keep between rounds."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from flwr.serverapp.strategy import (
    FedAdam,
    FedAvg,
    FedProx,
    Strategy,
)
from numpy.typing import NDArray

from haplobench_federated.params import FederatedParams


def clients_per_round(params: FederatedParams, clients: int) -> int:
    """How many clients are drawn for a round."""
    return max(1, math.floor(params.fraction * clients))


def make_strategy(params: FederatedParams, clients: int) -> Strategy:
    """The strategy that the parameters name."""
    drawn = clients_per_round(params, clients)
    common = {
        "fraction_train": params.fraction,
        "fraction_evaluate": 0.0,  # an evaluation on people would be a release
        "min_train_nodes": drawn,
        "min_available_nodes": clients,
    }
    if params.strategy == "fedprox":
        return FedProx(proximal_mu=params.proximal_mu, **common)
    if params.strategy == "fedadam":
        # Adam's own constants, for steps of the size that one client's Adam would take.
        return FedAdam(
            eta=params.server_learning_rate, beta_1=0.9, beta_2=0.999, tau=1e-8, **common
        )
    return FedAvg(**common)


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
