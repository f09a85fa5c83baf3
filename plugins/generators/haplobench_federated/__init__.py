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
        "McMahan et al. 2017, Communication-Efficient Learning of Deep Networks from "
        "Decentralized Data, AISTATS, arXiv:1602.05629",
        "Beutel et al. 2020, Flower: A Friendly Federated Learning Framework, arXiv:2007.14390",
        "Abadi et al. 2016, Deep Learning with Differential Privacy, CCS, arXiv:1607.00133",
        "Yousefpour et al. 2021, Opacus: User-Friendly Differential Privacy Library in PyTorch, "
        "arXiv:2109.12298",
        "Gopi, Lee & Wutschitz 2021, Numerical Composition of Differential Privacy, NeurIPS, "
        "arXiv:2106.02848",
        "Scheet & Stephens 2006, A Fast and Flexible Statistical Model for Large-Scale "
        "Population Genotype Data, Am. J. Hum. Genet. 78, doi:10.1086/502802 (the model)",
    ),
)


@hookimpl
def haplobench_generators() -> list[GeneratorSpec]:
    """All federated generators."""
    return [VAE_FEDERATED]
