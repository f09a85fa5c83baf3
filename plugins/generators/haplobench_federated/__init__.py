"""Federated, differentially private generators."""

from __future__ import annotations

import os

from haplobench import GeneratorSpec, Module, hookimpl
from haplobench_federated.params import FederatedParams

# Flower reads its variable on import and reports to its makers by default; Ray likewise. This
# package is imported before any of its modules imports them.
os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

VAE_FEDERATED = GeneratorSpec(
    name="vae-federated",
    version="3",
    target="haplobench_federated.generator:Federated",
    summary=(
        "Windowed VAE with an exact posterior, trained by a federation of clients that keep "
        "their people, with differential privacy for every person."
    ),
    params=FederatedParams,
    needs=tuple(
        Module(name, "haplobench[federated]") for name in ("torch", "flwr", "opacus", "safetensors")
    ),
    conditional=True,
    citations=(
        "mcmahan2017",
        "beutel2020",
        "abadi2016",
        "yousefpour2021",
        "gopi2021",
        "scheet2006",
    ),
)


@hookimpl
def haplobench_generators() -> list[GeneratorSpec]:
    """All federated generators."""
    return [VAE_FEDERATED]
