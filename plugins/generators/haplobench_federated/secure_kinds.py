"""Secure aggregation by the name that the parameters give."""

from __future__ import annotations

from haplobench_federated.homomorphic import HomomorphicSum
from haplobench_federated.params import FederatedParams
from haplobench_federated.secure_aggregation import SecAggPlus
from haplobench_federated.secure_aggregation_round import SecureAggregation


def secure_aggregation(params: FederatedParams) -> SecureAggregation | None:
    """The server's side, or None where it sees the updates."""
    if params.secure.kind == "secagg":
        return SecAggPlus(params)
    return HomomorphicSum(params) if params.secure.kind == "homomorphic" else None
